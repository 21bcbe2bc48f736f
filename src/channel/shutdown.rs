//! How a channel ends: quiet, wait, interrupt, kill, leave.
//!
//! 1. Nothing is leased any more; jobs that wait for a slot are handed back, idle workers go.
//! 2. What runs may finish within the stop wait, its lease renewed.
//! 3. What still runs is asked to end, and killed after the grace; it is handed back uncounted.
//! 4. The store hears all ends, the owner leaves.
//!
//! One by force goes to the killing at once, also behind another. If the store cannot be reached at the end, the
//! channel gives up after a while: the lease runs out by itself and nothing is lost.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Channel;
use crate::job::Outcome;
use crate::store::{Destination, Settlement};

/// How long a stop tries to tell the store what happened.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How far a stop is.
#[derive(Debug)]
pub(super) struct Shutdown {
    /// When what runs is interrupted.
    deadline: Instant,
    interrupted: bool,
    /// When the store is given up, once all workers are gone.
    give_up_at: Option<Instant>,
    handed_back: usize,
}

impl Shutdown {
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let deadline = (!self.interrupted).then_some(self.deadline);
        self.give_up_at.into_iter().chain(deadline).min()
    }

    /// How long what runs may still take.
    pub(super) fn left(&self) -> Duration {
        if self.interrupted {
            Duration::ZERO
        } else {
            self.deadline.saturating_duration_since(Instant::now())
        }
    }
}

/// How a channel ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Jobs handed back to waiting, uncounted.
    pub handed_back: usize,
    /// Whether the store heard everything, the farewell included.
    pub settled: bool,
    /// Whether it heard how every job ended.
    pub jobs_settled: bool,
    /// Whether it was quiet.
    pub quiet: bool,
    /// The fewest workers, if they were set by hand.
    pub fewest: Option<usize>,
    /// How the run of a scoped channel ended; `None` when it ran nothing.
    pub outcome: Option<Outcome>,
    /// Which job that was.
    pub job: Option<crate::job::JobId>,
}

impl Channel {
    pub(super) fn stop(&mut self, force: bool) {
        if self.stopping.is_none() {
            info!(channel = %self.name, running = self.held_jobs.running(), "stopping");
            let deadline = Instant::now() + self.settings.stop_wait;
            self.stopping = Some(Shutdown { deadline, interrupted: false, give_up_at: None, handed_back: 0 });
            self.hand_back_ready();
            self.pool.close(tokio::time::Instant::now());
            self.end_reload();
        }
        if force {
            if let Some(stopping) = &mut self.stopping {
                stopping.interrupted = true;
            }
            self.pool.kill_all(false);
        }
    }

    /// Puts jobs that wait for a slot back to waiting, in their order.
    pub(super) fn hand_back_ready(&mut self) {
        let ready = self.held_jobs.take_ready();
        // None of them begins now, so they keep the keys that the store has not been told to free.
        self.job_requests.keep_keys(&ready.iter().map(|(id, _)| *id).collect());
        for (id, meta) in ready {
            let unique = meta.unique.clone();
            self.held_jobs.settle(Settlement { id, unique, to: Destination::Front(meta) });
            self.count_handed_back(&Outcome::Interrupted);
        }
    }

    /// Interrupts what runs once the stop has waited long enough.
    pub(super) fn interrupt_at_deadline(&mut self) {
        let now = Instant::now();
        let Some(stopping) = &mut self.stopping else { return };
        if !stopping.interrupted && stopping.deadline <= now {
            stopping.interrupted = true;
            if !self.pool.is_empty() {
                warn!(channel = %self.name, running = self.held_jobs.running(), "the stop wait is over: interrupting what runs");
                self.pool.interrupt(tokio::time::Instant::now());
            }
        }
    }

    /// Counts a job that was handed back because of the stop.
    pub(super) fn count_handed_back(&mut self, outcome: &Outcome) {
        if let (Some(stopping), Outcome::Interrupted) = (&mut self.stopping, outcome) {
            stopping.handed_back += 1;
        }
    }

    /// Whether only the farewell is left.
    pub(super) fn is_finished(&self) -> bool {
        self.stopping.is_some() && self.pool.is_empty() && self.held_jobs.len() == 0
    }

    /// The end, if it is reached.
    pub(super) fn stopped(&mut self) -> Option<Stopped> {
        let stopping = self.stopping.as_mut()?;
        if !self.pool.is_empty() {
            return None;
        }
        // An owner that is not yet freed must stay written down where the next master finds it.
        let settled = self.store_calls.owner.is_none() && self.held_jobs.len() == 0 && self.dead.is_empty();
        let give_up_at = *stopping.give_up_at.get_or_insert_with(|| Instant::now() + LEAVE_TIMEOUT);
        if !settled && Instant::now() < give_up_at {
            return None;
        }
        if !settled {
            let unsettled = self.held_jobs.len();
            warn!(channel = %self.name, unsettled, "stopped without the store: its leases run out by themselves");
        }
        Some(Stopped {
            handed_back: stopping.handed_back,
            settled,
            jobs_settled: self.held_jobs.len() == 0,
            quiet: self.quiet,
            fewest: self.pool.manual_minimum(),
            outcome: self.scope.outcome.clone(),
            job: self.scope.job,
        })
    }
}
