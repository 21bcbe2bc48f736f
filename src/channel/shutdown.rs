//! The escalation of a stopping channel.
//!
//! 1. Draining: nothing is leased; jobs that wait for a slot are returned, idle workers end, running jobs may finish
//!    within the stop wait while their lease is renewed.
//! 2. Interrupted: running jobs are asked to end, are killed after the grace, and are returned without a counted attempt.
//! 3. Leaving: all workers have ended; the store records all settlements and the owner leaves.
//!
//! A forced stop kills at once, also after a stop without force. If the store does not answer at the
//! end, the channel gives up after [`LEAVE_TIMEOUT`]: its lease expires and no job is lost.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::{JobId, Outcome};

/// Longest time that a stop tries to settle and to leave after the last worker has ended.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The end of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Jobs returned to waiting, uncounted, also those that had not begun.
    pub handed_back: usize,
    /// Returned jobs that ran.
    pub interrupted: usize,
    /// Whether the store recorded everything, including that the owner left.
    pub settled: bool,
    /// Whether the store recorded the settlement of every job.
    pub jobs_settled: bool,
    /// Whether the channel was quiet.
    pub quiet: bool,
    /// Manual minimum worker count, if `queue:scale` set one.
    pub manual_minimum: Option<usize>,
    /// Outcome of the run of a channel with a scope; `None` when it ran nothing.
    pub outcome: Option<Outcome>,
    /// The job of that run.
    pub job: Option<JobId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Draining { interrupt_at: Instant },
    Interrupted,
    Leaving { give_up_at: Instant },
}

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct Shutdown {
    stage: Stage,
    /// Number of jobs returned because of the stop.
    pub(super) returned: usize,
    /// Number of those that ran.
    pub(super) interrupted: usize,
}

impl Shutdown {
    /// Starts a stop that lets running jobs finish within `stop_wait`.
    pub(super) fn new(stop_wait: Duration, now: Instant) -> Self {
        Self { stage: Stage::Draining { interrupt_at: now + stop_wait }, returned: 0, interrupted: 0 }
    }

    /// When the stop needs its next step, if nothing happens before.
    pub(super) fn next_step_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Draining { interrupt_at } => Some(interrupt_at),
            Stage::Interrupted => None,
            Stage::Leaving { give_up_at } => Some(give_up_at),
        }
    }

    /// How long running jobs may still take before they are interrupted.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        match self.stage {
            Stage::Draining { interrupt_at } => interrupt_at.saturating_duration_since(now),
            Stage::Interrupted | Stage::Leaving { .. } => Duration::ZERO,
        }
    }

    /// Whether the stop wait is over; true once. The caller interrupts the running jobs.
    pub(super) fn interrupts_now(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.stage, Stage::Draining { interrupt_at } if interrupt_at <= now);
        if is_due {
            self.stage = Stage::Interrupted;
        }
        is_due
    }

    /// Skips the stop wait. The caller kills the running jobs.
    pub(super) fn force(&mut self) {
        if let Stage::Draining { .. } = self.stage {
            self.stage = Stage::Interrupted;
        }
    }

    /// Records that no worker is left. Returns whether to give up on the store.
    pub(super) fn gives_up(&mut self, now: Instant) -> bool {
        match self.stage {
            Stage::Leaving { give_up_at } => give_up_at <= now,
            Stage::Draining { .. } | Stage::Interrupted => {
                self.stage = Stage::Leaving { give_up_at: now + LEAVE_TIMEOUT };
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ladder_drains_interrupts_and_leaves() {
        let start = Instant::now();
        let mut stop = Shutdown::new(30 * SECOND, start);
        assert_eq!(stop.next_step_at(), Some(start + 30 * SECOND));
        assert_eq!(stop.time_left(start + 10 * SECOND), 20 * SECOND);
        assert!(!stop.interrupts_now(start + 29 * SECOND));
        assert!(stop.interrupts_now(start + 30 * SECOND) && !stop.interrupts_now(start + 31 * SECOND));
        assert_eq!((stop.next_step_at(), stop.time_left(start)), (None, Duration::ZERO));
        let ended = start + 32 * SECOND;
        assert!(!stop.gives_up(ended));
        assert_eq!(stop.next_step_at(), Some(ended + LEAVE_TIMEOUT));
        assert!(!stop.gives_up(ended + 4 * SECOND) && stop.gives_up(ended + LEAVE_TIMEOUT));
    }

    #[test]
    fn forced_stop_skips_the_wait() {
        let start = Instant::now();
        let mut stop = Shutdown::new(30 * SECOND, start);
        stop.force();
        assert_eq!((stop.next_step_at(), stop.time_left(start)), (None, Duration::ZERO));
        assert!(!stop.interrupts_now(start + 60 * SECOND));
    }

    #[test]
    fn force_does_not_extend_the_time_for_leaving() {
        let start = Instant::now();
        let mut stop = Shutdown::new(SECOND, start);
        stop.gives_up(start);
        stop.force();
        assert!(stop.gives_up(start + LEAVE_TIMEOUT));
    }
}
