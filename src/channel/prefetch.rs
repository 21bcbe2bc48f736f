//! How many jobs to lease ahead of free slots. Pure.
//!
//! A slot that ends its job while a call to the store is under way would wait for the next one. So many jobs as the slots
//! finish during one call are therefore leased ahead; none where jobs take so much longer than a call that hardly a slot
//! would wait.

use std::time::Duration;

use crate::job::Outcome;
use crate::store::MAX_BATCH;

/// Weight of the newest observation in the running averages.
const WEIGHT: f64 = 0.2;
/// With fewer ends than this during one call, on average, nothing is leased ahead: of all time, slots wait a tenth at most.
const MIN_ENDS_PER_TURN: f64 = 0.1;
/// Leased jobs that no slot has taken for this long are handed back: the jobs before them turned out long, and
/// another master may have slots.
pub(super) const PREFETCH_MAX_WAIT: Duration = Duration::from_millis(500);

/// Running averages of what happens in a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefetch {
    /// Seconds from dispatch to end of a run; `None` before the first one.
    run: Option<f64>,
    /// Seconds a turn takes.
    turn: Option<f64>,
    /// No slot was free for [`PREFETCH_MAX_WAIT`], and no run has ended since.
    blocked: bool,
}

impl Prefetch {
    /// A run ended so. One that was not let run, or not to its end, says nothing.
    pub(super) fn ended(&mut self, outcome: &Outcome, took: Duration) {
        self.blocked = false;
        if *outcome != Outcome::Interrupted {
            self.ran(took);
        }
    }

    /// No slot was free for [`PREFETCH_MAX_WAIT`]. How much longer it has been is not asked: a master that had no worker or no store
    /// for an hour has no jobs of an hour.
    pub(super) fn blocked(&mut self) {
        self.blocked = true;
        self.ran(PREFETCH_MAX_WAIT);
    }

    fn ran(&mut self, took: Duration) {
        average(&mut self.run, took);
    }

    /// A turn took this long.
    pub(super) fn turned(&mut self, took: Duration) {
        average(&mut self.turn, took);
    }

    /// How long a run takes; `None` before the first has ended.
    pub(super) fn run(&self) -> Option<Duration> {
        self.run.map(Duration::from_secs_f64)
    }

    /// How many jobs `slots` slots finish during one turn, rounded up; at most [`MAX_BATCH`].
    pub(super) fn ahead(&self, slots: usize) -> usize {
        let (Some(run), Some(turn), false) = (self.run, self.turn, self.blocked) else { return 0 };
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

fn average(average: &mut Option<f64>, new: Duration) {
    let new = new.as_secs_f64();
    *average = Some(average.map_or(new, |old| old + WEIGHT * (new - old)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn prefetch(run: Duration, turn: Duration) -> Prefetch {
        let mut prefetch = Prefetch::default();
        prefetch.ran(run);
        prefetch.turned(turn);
        prefetch
    }

    #[test]
    fn prefetch_matches_runs_ending_per_turn() {
        assert_eq!(prefetch(MS, 5 * MS).ahead(4), 20);
        assert_eq!(prefetch(5 * MS, 5 * MS).ahead(4), 4);
        assert_eq!(prefetch(8 * MS, 5 * MS).ahead(4), 3);
        assert_eq!(prefetch(40 * MS, 5 * MS).ahead(1), 1);
        assert_eq!(prefetch(60 * MS, 5 * MS).ahead(1), 0);
        assert_eq!(prefetch(Duration::ZERO, 5 * MS).ahead(4), MAX_BATCH);
    }

    #[test]
    fn no_prefetch_without_measurements() {
        assert_eq!(Prefetch::default().ahead(100), 0);
        let mut prefetch = Prefetch::default();
        prefetch.turned(MS);
        assert_eq!(prefetch.ahead(100), 0);
    }

    #[test]
    fn aborted_runs_are_not_measured() {
        let mut prefetch = prefetch(MS, 5 * MS);
        prefetch.ended(&Outcome::Interrupted, 3_600_000 * MS);
        assert_eq!(prefetch.run(), Some(MS));
        prefetch.ended(&Outcome::Done, 6 * MS);
        assert_eq!(prefetch.run(), Some(2 * MS));
        prefetch.blocked();
        assert!(prefetch.run().unwrap() < PREFETCH_MAX_WAIT && prefetch.ahead(4) == 0);
        prefetch.ended(&Outcome::Done, MS);
        assert!(prefetch.ahead(4) > 0, "the slots move again");
    }

    #[test]
    fn few_long_jobs_stop_prefetch() {
        let mut prefetch = prefetch(MS, 5 * MS);
        prefetch.ran(1000 * MS);
        assert_eq!(prefetch.ahead(4), 0);
    }
}
