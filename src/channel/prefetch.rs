//! Number of jobs to lease ahead of free slots.
//!
//! A slot that ends its job during a call to the store waits for the next call. The channel therefore leases as many
//! jobs ahead as the slots finish during one call, and none where jobs take so much longer than a call that slots
//! hardly wait. Owns: running averages of runs and turns, and the time of the last dispatch.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::Outcome;
use crate::store::MAX_BATCH;

/// Weight of the newest observation in the running averages.
const AVERAGE_WEIGHT: f64 = 0.2;
/// Average number of runs that must end during one call before jobs are leased ahead: with fewer, slots wait for a
/// tenth of the time at most.
const MIN_ENDS_PER_TURN: f64 = 0.1;
/// Longest time that leased jobs wait for a slot before they are returned: the jobs before them turned out to be
/// long, and another master may have free slots.
pub(super) const MAX_READY_TIME: Duration = Duration::from_millis(500);

/// The observations that decide how many jobs to lease ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefetch {
    /// Average seconds from dispatch to end of a run; `None` before the first end.
    run_seconds: Option<f64>,
    /// Average seconds of a turn; `None` before the first turn.
    turn_seconds: Option<f64>,
    /// No slot became free for [`MAX_READY_TIME`], and no run has ended since.
    is_blocked: bool,
    /// When a job last moved into a slot, or ready jobs were last returned.
    last_dispatch: Instant,
}

impl Prefetch {
    pub(super) fn new(now: Instant) -> Self {
        Self { run_seconds: None, turn_seconds: None, is_blocked: false, last_dispatch: now }
    }

    /// Records a dispatch.
    pub(super) fn dispatched(&mut self, now: Instant) {
        self.last_dispatch = now;
    }

    /// When ready jobs must be returned unless a slot becomes free.
    pub(super) fn return_at(&self) -> Instant {
        self.last_dispatch + MAX_READY_TIME
    }

    /// Records that ready jobs are returned because no slot became free. Nothing is leased ahead until a run ends.
    ///
    /// The runs are counted as if they took [`MAX_READY_TIME`], however long the wait was: a master that had no
    /// worker or no store for an hour does not have jobs of an hour.
    pub(super) fn returned(&mut self, now: Instant) {
        self.is_blocked = true;
        self.last_dispatch = now;
        update(&mut self.run_seconds, MAX_READY_TIME);
    }

    /// Records the end of a run. The duration of an interrupted or lost run says nothing about the job.
    pub(super) fn ended(&mut self, outcome: &Outcome, took: Duration) {
        self.is_blocked = false;
        if !matches!(outcome, Outcome::Interrupted | Outcome::Lost) {
            update(&mut self.run_seconds, took);
        }
    }

    /// Records the duration of a turn.
    pub(super) fn turned(&mut self, took: Duration) {
        update(&mut self.turn_seconds, took);
    }

    /// Average duration of a run; `None` before the first end.
    pub(super) fn run_time(&self) -> Option<Duration> {
        self.run_seconds.map(Duration::from_secs_f64)
    }

    /// Number of jobs that `slots` slots finish during one turn, rounded up; at most [`MAX_BATCH`].
    pub(super) fn ahead(&self, slots: usize) -> usize {
        let (Some(run), Some(turn), false) = (self.run_seconds, self.turn_seconds, self.is_blocked) else {
            return 0;
        };
        let ends = slots as f64 * turn / run.max(1e-6);
        if ends < MIN_ENDS_PER_TURN {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the batch size"
        )]
        let jobs = ends.ceil().min(MAX_BATCH as f64) as usize;
        jobs
    }
}

fn update(average: &mut Option<f64>, new: Duration) {
    let new = new.as_secs_f64();
    *average = Some(average.map_or(new, |old| old + AVERAGE_WEIGHT * (new - old)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn observed(run: Duration, turn: Duration) -> Prefetch {
        let mut prefetch = Prefetch::new(Instant::now());
        prefetch.ended(&Outcome::Done, run);
        prefetch.turned(turn);
        prefetch
    }

    #[test]
    fn prefetch_covers_the_runs_that_end_during_a_turn() {
        assert_eq!(observed(MS, 5 * MS).ahead(4), 20);
        assert_eq!(observed(5 * MS, 5 * MS).ahead(4), 4);
        assert_eq!(observed(8 * MS, 5 * MS).ahead(4), 3);
        assert_eq!(observed(40 * MS, 5 * MS).ahead(1), 1);
        assert_eq!(observed(60 * MS, 5 * MS).ahead(1), 0);
        assert_eq!(observed(Duration::ZERO, 5 * MS).ahead(4), MAX_BATCH);
    }

    #[test]
    fn nothing_is_leased_ahead_without_observations() {
        let mut prefetch = Prefetch::new(Instant::now());
        assert_eq!(prefetch.ahead(100), 0);
        prefetch.turned(MS);
        assert_eq!(prefetch.ahead(100), 0);
    }

    #[test]
    fn interrupted_runs_do_not_count() {
        let mut prefetch = observed(MS, 5 * MS);
        prefetch.ended(&Outcome::Interrupted, 3_600_000 * MS);
        assert_eq!(prefetch.run_time(), Some(MS));
        prefetch.ended(&Outcome::Done, 6 * MS);
        assert_eq!(prefetch.run_time(), Some(2 * MS));
    }

    #[test]
    fn returned_jobs_stop_the_prefetch_until_a_run_ends() {
        let mut prefetch = observed(MS, 5 * MS);
        let later = Instant::now() + 3_600_000 * MS;
        prefetch.returned(later);
        assert_eq!((prefetch.return_at(), prefetch.ahead(4)), (later + MAX_READY_TIME, 0));
        assert!(prefetch.run_time().unwrap() < MAX_READY_TIME);
        prefetch.ended(&Outcome::Done, MS);
        assert!(prefetch.ahead(4) > 0, "the slots move again");
    }

    #[test]
    fn a_few_long_runs_end_the_prefetch() {
        let mut prefetch = observed(MS, 5 * MS);
        prefetch.ended(&Outcome::Done, 1000 * MS);
        assert_eq!(prefetch.ahead(4), 0);
    }

    #[test]
    fn ready_jobs_are_due_half_a_second_after_the_last_dispatch() {
        let now = Instant::now();
        let mut prefetch = Prefetch::new(now);
        assert_eq!(prefetch.return_at(), now + 500 * MS);
        prefetch.dispatched(now + 100 * MS);
        assert_eq!(prefetch.return_at(), now + 600 * MS);
    }
}
