//! When a long-lived worker is replaced between two jobs. Pure.
//!
//! Each worker lowers the limits of jobs and of age by its own share of up to a tenth, so that workers that were started
//! together are not replaced together.

use std::fmt;
use std::time::Duration;

use crate::config::plan::Recycling;

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecycleReason {
    /// The worker has taken this many jobs.
    Jobs(u64),
    /// The worker has reached this age.
    Life(Duration),
    /// The worker uses this many bytes.
    Memory(u64),
    /// The program of the worker has changed on disk.
    Changed,
    /// Another generation takes over.
    Reload,
    /// The generation of the worker failed to take over.
    RolledBack,
}

impl RecycleReason {
    /// Whether a reload is the reason.
    pub(super) fn is_reload(self) -> bool {
        matches!(self, Self::Reload | Self::RolledBack)
    }
}

/// The facts about a worker that decide whether it is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerFacts {
    /// The number of the worker, which decides its share of the jitter.
    pub(super) number: u64,
    /// Runs it has taken.
    pub(super) runs_taken: u64,
    /// The age of the worker.
    pub(super) age: Duration,
    /// Resident bytes, when sampled.
    pub(super) memory: Option<u64>,
}

/// Why a worker should be replaced now, if it should. `jobs_per_life` is 0 for no limit.
pub(super) fn due(worker: WorkerFacts, jobs_per_life: u64, limits: &Recycling) -> Option<RecycleReason> {
    // A worker that has run nothing is as good as its replacement.
    if worker.runs_taken == 0 && limits.max_life.is_none() {
        return None;
    }
    let memory = worker.memory.filter(|used| limits.memory_limit.is_some_and(|limit| *used > limit));
    if let (Some(used), 1..) = (memory, worker.runs_taken) {
        return Some(RecycleReason::Memory(used));
    }
    if jobs_per_life > 0 && worker.runs_taken >= max_jobs(worker.number, jobs_per_life) {
        return Some(RecycleReason::Jobs(worker.runs_taken));
    }
    let old = max_age(worker.number, limits).is_some_and(|life| worker.age >= life);
    old.then_some(RecycleReason::Life(worker.age))
}

/// Number of jobs a worker takes before it is replaced.
pub(super) fn max_jobs(number: u64, jobs_per_life: u64) -> u64 {
    jobs_per_life - mixed(number) % (jobs_per_life / 10 + 1)
}

/// The age at which a worker is replaced.
pub(super) fn max_age(number: u64, limits: &Recycling) -> Option<Duration> {
    let share = mixed(number) % 1_000;
    #[expect(clippy::cast_precision_loss, reason = "below a thousand")]
    limits.max_life.map(|life| life.mul_f64(1.0 - share as f64 / 10_000.0))
}

/// Number of workers that may be replaced at the same time, out of so many.
pub(super) fn wave_size(serving: usize) -> usize {
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
            Self::RolledBack => f.write_str("the reload failed"),
        }
    }
}

/// Workers replaced since the start of the pool, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecycleCounts {
    /// By number of jobs (`max_handle_number`).
    pub jobs: u64,
    /// By age (`max_life_seconds`).
    pub life: u64,
    /// By `memory_limit`.
    pub memory: u64,
    /// Killed for exceeding `memory_hard_limit`.
    pub memory_hard: u64,
}

impl RecycleCounts {
    pub(super) fn count(&mut self, why: RecycleReason) {
        *match why {
            RecycleReason::Jobs(_) => &mut self.jobs,
            RecycleReason::Life(_) => &mut self.life,
            RecycleReason::Memory(_) => &mut self.memory,
            // Only limits are counted.
            RecycleReason::Changed | RecycleReason::Reload | RecycleReason::RolledBack => return,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIB: u64 = 1 << 20;
    const FRESH: WorkerFacts =
        WorkerFacts { number: 1, runs_taken: 1, age: Duration::ZERO, memory: Some(10 * MIB) };

    #[test]
    fn worker_is_replaced_by_jobs_age_or_memory() {
        let hour = Duration::from_secs(3600);
        let limits = Recycling { max_life: Some(hour), memory_limit: Some(96 * MIB), ..Recycling::default() };
        let spent = WorkerFacts { runs_taken: 1000, ..FRESH };
        let old = WorkerFacts { age: hour, runs_taken: 0, ..FRESH };
        assert_eq!(due(FRESH, 1000, &limits), None);
        assert_eq!(due(spent, 1000, &limits), Some(RecycleReason::Jobs(1000)));
        assert_eq!(due(spent, 0, &limits), None);
        assert_eq!(due(old, 0, &limits), Some(RecycleReason::Life(hour)));
        let large = WorkerFacts { memory: Some(120 * MIB), ..FRESH };
        assert_eq!(due(large, 0, &limits).unwrap().to_string(), "memory 120 MiB");
        let unused = WorkerFacts { runs_taken: 0, ..large };
        assert_eq!(due(unused, 0, &limits), None, "a new worker would be no better");
        assert_eq!(due(large, 0, &Recycling::default()), None);
    }

    #[test]
    fn limits_of_each_worker_are_jittered_downwards() {
        let all: BTreeSet<_> = (0..1000).map(|number| max_jobs(number, 1000)).collect();
        assert!(all.iter().all(|n| (900..=1000).contains(n)) && all.len() > 90, "{all:?}");
        assert_eq!(max_jobs(7, 1000), max_jobs(7, 1000));
        for few in 1..10 {
            assert!((0..100).all(|number| max_jobs(number, few) == few), "{few} has no tenth");
        }
        let limits = Recycling { max_life: Some(Duration::from_secs(100)), ..Recycling::default() };
        let all: BTreeSet<_> = (0..1000).filter_map(|number| max_age(number, &limits)).collect();
        let (first, last) = (all.first().unwrap().as_secs(), all.last().unwrap().as_secs());
        assert!(first >= 90 && last <= 100 && all.len() > 500);
    }

    #[test]
    fn replacement_wave_is_a_quarter_of_the_workers() {
        assert_eq!([0, 1, 4, 7, 8, 50].map(wave_size), [1, 1, 1, 1, 2, 12]);
    }
}
