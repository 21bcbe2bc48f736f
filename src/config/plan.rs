//! The three modes as five numbers. The engine sees a [`Plan`]; a mode's name exists in config only.

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
