//! What the pool is told of the work to come, and what becomes of jobs that it cannot start.

use std::time::Instant;

use super::Channel;
use crate::pool::Demand;

impl Channel {
    /// When to ask how many jobs wait although none can be leased: the pool grows by it.
    pub(super) fn next_count(&self) -> Option<Instant> {
        if !self.turns.work_expected
            || self.quiet
            || self.stopping.is_some()
            || !self.pool.is_elastic()
            || self.want() > 0
        {
            return None;
        }
        let regular = self.turns.counted_at.map(|at| at + self.pool.flex_interval());
        Some(regular.filter(|_| !self.turns.woken).unwrap_or_else(Instant::now))
    }

    /// Tells the pool what work is to come.
    pub(super) fn expect_work(&mut self) {
        let ready = self.held_jobs.ready() + self.held_jobs.ready_alone();
        // What waits in the store is for others while we are quiet.
        let left = if self.quiet { 0 } else { self.turns.waiting };
        let waiting = left + ready as u64;
        self.pool.set_demand(Demand { waiting, job: self.prefetch.run() }, tokio::time::Instant::now());
    }

    /// Jobs that cannot be started soon are not kept from other masters.
    pub(super) fn hand_back_when_degraded(&mut self) {
        if self.pool.is_degraded(tokio::time::Instant::now())
            && self.held_jobs.ready() + self.held_jobs.ready_alone() > 0
        {
            self.hand_back_ready();
        }
    }
}
