//! The three worker modes as five numbers, and the rules for the number and the life of workers. The engine sees a
//! [`Plan`]; the name of a mode exists in the configuration only.

use std::time::Duration;

/// The shape of a worker pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Jobs one worker runs at once.
    pub slots: usize,
    /// Jobs one worker runs in its life; 0 for no limit.
    pub jobs_per_life: u64,
    /// Fewest serving workers.
    pub min: usize,
    /// Most serving workers.
    pub max: usize,
    /// Workers booted ahead of need.
    pub spare: usize,
}

impl Plan {
    /// A fresh worker per job, one job at a time, the next worker already warm.
    pub const PROCESS: Self = Self { slots: 1, jobs_per_life: 1, min: 1, max: 1, spare: 1 };

    /// Between `min` and `max` long-lived workers, one job each.
    #[must_use]
    pub fn process_pool(min: usize, max: usize, jobs_per_life: u64) -> Self {
        Self { slots: 1, jobs_per_life, min, max, spare: 0 }
    }

    /// A worker that runs up to `slots` jobs at once.
    #[must_use]
    pub fn coroutine(slots: usize, jobs_per_life: u64) -> Self {
        Self { slots, jobs_per_life, min: 1, max: 1, spare: 0 }
    }
}

/// The rules for the number of workers between the plan's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Whether the number changes at all; otherwise the pool stays at the plan's minimum.
    pub dynamic: bool,
    /// Time between two decisions when no push triggers one earlier.
    pub flex_interval: Duration,
    /// Time within which a backlog should be finished.
    pub target_wait: Duration,
    /// Waiting jobs per additional worker, as long as no run time has been measured.
    pub capacity: u64,
    /// Time for which fewer workers must have been enough before some are stopped.
    pub cool_down: Duration,
    /// Bytes that all workers may use together; `None` for no limit.
    pub memory_limit: Option<u64>,
}

/// The rules for replacing a long-lived worker between two jobs, or killing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// Longest life of a worker; `None` for no limit.
    pub max_life: Option<Duration>,
    /// Bytes above which a worker is replaced between two jobs; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// Bytes above which a worker is killed, even during a job; `None` for no limit.
    pub memory_hard_limit: Option<u64>,
}
