//! The turn to run a job that may have killed a guardian.
//!
//! When a guardian dies, every run under it is lost, and any of them may be the cause. Before the last loss that a job is
//! allowed, it runs under a guardian of its own, one such job of the master after the other: its next loss has no other cause.

use crate::guardian::handle::{ExclusiveRun, GuardianHandle};

/// The turn of one pool.
#[derive(Debug, Default)]
pub(super) enum ExclusiveTurn {
    /// No job needs it.
    #[default]
    Unused,
    /// A job needs it, and another job of the master has it.
    Wanted,
    /// The next run of this pool takes it.
    Held(ExclusiveRun),
}

impl ExclusiveTurn {
    /// Takes the turn if it is free; otherwise [`wait`](Self::wait) gets it later.
    pub(super) fn claim(&mut self, guardian: &GuardianHandle) -> bool {
        if !matches!(self, Self::Held(_)) {
            *self = guardian.try_exclusive_run().map_or(Self::Wanted, Self::Held);
        }
        matches!(self, Self::Held(_))
    }

    /// The turn, for a run.
    pub(super) fn take(&mut self) -> Option<ExclusiveRun> {
        match std::mem::take(self) {
            Self::Held(turn) => Some(turn),
            Self::Unused | Self::Wanted => None,
        }
    }

    /// Waits for the turn, if it is wanted.
    pub(super) async fn wait(&mut self, guardian: &GuardianHandle) {
        match self {
            Self::Wanted => *self = Self::Held(guardian.exclusive_run().await),
            Self::Unused | Self::Held(_) => std::future::pending().await,
        }
    }
}
