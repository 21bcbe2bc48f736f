//! The three modes as five numbers, and the rules by which their workers come and go. The engine sees a [`Plan`]; a
//! mode's name exists in config only.

use std::time::Duration;

use super::build;
use super::keys::KEYS;
use super::spanned::Table;
use super::typed::TypedTable;

/// How a pool runs jobs.
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
    /// One fresh worker per job, one job at a time, the next worker already warm.
    pub const PROCESS: Self = Self { slots: 1, jobs_per_life: 1, min: 1, max: 1, spare: 1 };

    /// Between `min` and `max` long-lived workers, one job each.
    #[must_use]
    pub fn process_pool(min: usize, max: usize, jobs_per_life: u64) -> Self {
        Self { slots: 1, jobs_per_life, min, max, spare: 0 }
    }

    /// One worker that runs up to `slots` jobs at once.
    #[must_use]
    pub fn coroutine(slots: usize, jobs_per_life: u64) -> Self {
        Self { slots, jobs_per_life, min: 1, max: 1, spare: 0 }
    }
}

/// When the number of workers between the plan's bounds changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// Whether it does at all; else the plan's fewest are held.
    pub dynamic: bool,
    /// How often it is looked at while nothing else gives a reason to.
    pub flex_interval: Duration,
    /// How soon a backlog should be worked off.
    pub target_wait: Duration,
    /// Waiting jobs that ask for one more worker, as long as it is not known how long a job takes.
    pub capacity: u64,
    /// How long fewer workers must have been enough before some are let go.
    pub cool_down: Duration,
    /// Bytes that all workers may use together; `None` for no limit.
    pub memory_limit: Option<u64>,
}

impl Default for Scaling {
    fn default() -> Self {
        build::scaling(&TypedTable::new(&Table::new(), KEYS))
    }
}

/// When a long-lived worker is replaced between two jobs, or killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// How old it may get; `None` for no limit.
    pub max_life: Option<Duration>,
    /// Bytes beyond which it is replaced; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// Bytes beyond which it is killed, whatever it does; `None` for no limit.
    pub memory_hard_limit: Option<u64>,
}
