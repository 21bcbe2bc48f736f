//! Quiet: this master takes no more jobs of the channel. All else goes on: what runs ends in its own time, leases are
//! renewed, ends are told to the store, workers stay or go by the usual settings.
//!
//! It is a state of this master only. A pause, which is one of the store, holds for every master.

use tracing::info;

use super::Channel;

/// What a channel that was told to be quiet answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QuietReply {
    /// Whether it was quiet already.
    pub was_quiet: bool,
    /// Jobs that go on in workers.
    pub running: usize,
    /// Jobs that had not begun, and wait again.
    pub handed_back: usize,
}

impl Channel {
    /// Takes no more jobs from now on.
    pub(super) fn quiet(&mut self) -> QuietReply {
        let was_quiet = std::mem::replace(&mut self.quiet, true);
        let (running, handed_back) = (self.held_jobs.running(), self.waiting_for_slots());
        if !was_quiet {
            info!(channel = %self.name, running, handed_back, "quiet: no more jobs are taken");
            self.hand_back_ready();
            // No work is to come, as far as the pool is concerned.
            self.expect_work();
        }
        QuietReply { was_quiet, running, handed_back }
    }

    /// Takes jobs again; whether it had not.
    pub(super) fn resume(&mut self) -> bool {
        let was_quiet = std::mem::take(&mut self.quiet);
        if was_quiet {
            info!(channel = %self.name, "no longer quiet: jobs are taken again");
            // Whatever came meanwhile has woken nobody here.
            (self.turns.work_expected, self.turns.woken) = (true, true);
        }
        was_quiet
    }

    /// How many jobs are leased and not aboard.
    pub(super) fn waiting_for_slots(&self) -> usize {
        self.held_jobs.ready() + self.held_jobs.ready_alone() + self.held_jobs.freeing()
    }
}
