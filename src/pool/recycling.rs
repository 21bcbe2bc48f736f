//! When a long-lived worker is replaced between two jobs. Pure.
//!
//! The limits of jobs and of life are each lowered by up to a tenth, by an amount that is the worker's own, so that
//! workers that were started together are not replaced together.

use std::fmt;
use std::time::Duration;

use super::plan::Recycling;

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecycleReason {
    /// It has run so many jobs.
    Jobs(u64),
    /// It is this old.
    Life(Duration),
    /// It uses so many bytes.
    Memory(u64),
    /// Its program has changed on disk.
    Changed,
    /// Another generation takes over.
    Reload,
    /// Its generation could not take over.
    TurnedBack,
}

impl RecycleReason {
    /// Whether a reload is the reason.
    pub(super) fn is_reload(self) -> bool {
        matches!(self, Self::Reload | Self::TurnedBack)
    }
}

/// What is known of a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerFacts {
    /// Its number, which decides its share of the jitter.
    pub(super) number: u64,
    /// Runs it has taken.
    pub(super) taken: u64,
    /// Its age.
    pub(super) age: Duration,
    /// Bytes it uses, when that is known.
    pub(super) memory: Option<u64>,
}

/// Whether a worker should be replaced now, and why. `jobs_per_life` is 0 for no limit.
pub(super) fn due(worker: WorkerFacts, jobs_per_life: u64, limits: &Recycling) -> Option<RecycleReason> {
    // One that has run nothing is as good as its replacement.
    if worker.taken == 0 && limits.max_life.is_none() {
        return None;
    }
    let memory = worker.memory.filter(|used| limits.memory_limit.is_some_and(|limit| *used > limit));
    if let (Some(used), 1..) = (memory, worker.taken) {
        return Some(RecycleReason::Memory(used));
    }
    if jobs_per_life > 0 && worker.taken >= jobs(worker.number, jobs_per_life) {
        return Some(RecycleReason::Jobs(worker.taken));
    }
    let old = life(worker.number, limits).is_some_and(|life| worker.age >= life);
    old.then_some(RecycleReason::Life(worker.age))
}

/// How many jobs this worker takes before it is to be replaced.
pub(super) fn jobs(number: u64, jobs_per_life: u64) -> u64 {
    jobs_per_life - mixed(number) % (jobs_per_life / 10 + 1)
}

/// How old this worker gets before it is to be replaced.
pub(super) fn life(number: u64, limits: &Recycling) -> Option<Duration> {
    let share = mixed(number) % 1_000;
    #[expect(clippy::cast_precision_loss, reason = "below a thousand")]
    limits.max_life.map(|life| life.mul_f64(1.0 - share as f64 / 10_000.0))
}

/// How many of so many workers may be on their way out at a time.
pub(super) fn at_once(serving: usize) -> usize {
    (serving / 4).max(1)
}

/// Spreads neighbouring numbers (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// "memory 120 MiB"
impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(jobs) => write!(f, "{jobs} jobs"),
            Self::Life(age) => write!(f, "life {} s", age.as_secs()),
            Self::Memory(bytes) => write!(f, "memory {} MiB", bytes >> 20),
            Self::Changed => f.write_str("its program has changed on disk"),
            Self::Reload => f.write_str("reload"),
            Self::TurnedBack => f.write_str("the reload failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIB: u64 = 1 << 20;
    const FRESH: WorkerFacts =
        WorkerFacts { number: 1, taken: 1, age: Duration::ZERO, memory: Some(10 * MIB) };

    #[test]
    fn worker_is_recycled_by_jobs_age_or_memory() {
        let hour = Duration::from_secs(3600);
        let limits = Recycling { max_life: Some(hour), memory_limit: Some(96 * MIB), ..Recycling::default() };
        assert_eq!(due(FRESH, 1000, &limits), None);
        assert_eq!(due(WorkerFacts { taken: 1000, ..FRESH }, 1000, &limits), Some(RecycleReason::Jobs(1000)));
        assert_eq!(due(WorkerFacts { taken: 1000, ..FRESH }, 0, &limits), None);
        assert_eq!(
            due(WorkerFacts { age: hour, taken: 0, ..FRESH }, 0, &limits),
            Some(RecycleReason::Life(hour))
        );
        let fat = WorkerFacts { memory: Some(120 * MIB), ..FRESH };
        assert_eq!(due(fat, 0, &limits).unwrap().to_string(), "memory 120 MiB");
        assert_eq!(due(WorkerFacts { taken: 0, ..fat }, 0, &limits), None, "a fresh one would be no better");
        assert_eq!(due(fat, 0, &Recycling::default()), None);
    }

    #[test]
    fn jittered_worker_limits_stay_within_configured() {
        let all: BTreeSet<_> = (0..1000).map(|number| jobs(number, 1000)).collect();
        assert!(all.iter().all(|n| (900..=1000).contains(n)) && all.len() > 90, "{all:?}");
        assert_eq!(jobs(7, 1000), jobs(7, 1000));
        for few in 1..10 {
            assert!((0..100).all(|number| jobs(number, few) == few), "there is no tenth of {few}");
        }
        let limits = Recycling { max_life: Some(Duration::from_secs(100)), ..Recycling::default() };
        let all: BTreeSet<_> = (0..1000).filter_map(|number| life(number, &limits)).collect();
        assert!(
            all.first().unwrap().as_secs() >= 90 && all.last().unwrap().as_secs() <= 100 && all.len() > 500
        );
    }

    #[test]
    fn recycling_takes_a_quarter_at_a_time() {
        assert_eq!([0, 1, 4, 7, 8, 50].map(at_once), [1, 1, 1, 1, 2, 12]);
    }
}
