//! The memory limits of workers: samples, the check at the hello, the kill above `memory_hard_limit`.

use std::cmp::Reverse;

use tokio::time::Instant;
use tracing::warn;

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::guardian::procfs;
use crate::pool::sizing::decision::SizingReason;
use crate::pool::workers::state::KillReason;

impl Pool {
    /// A sample has arrived: workers above the hard limit are killed; the soft limit acts between jobs.
    pub(super) fn on_memory(&mut self, used: &[(ChildId, u64)], now: Instant) {
        let mut over_limit = Vec::new();
        self.sampler.note(used);
        for (child, bytes) in used.iter().copied() {
            let Some(worker) = self.workers.get_mut(child) else { continue };
            worker.memory = Some(bytes);
            self.runs.note_memory(worker.runs(), bytes);
            let spec = self.generations.spec_of(worker.origin.generation);
            if let Some(limit) = spec.recycling.memory_hard_limit.filter(|limit| bytes > *limit)
                && worker.end().is_none()
                && !worker.state.is_dying()
            {
                over_limit.push((child, bytes, limit));
            }
        }
        self.resize_for_memory(now);
        for (child, bytes, limit) in over_limit {
            self.kill_over_limit(child, bytes, limit, now);
        }
    }

    /// Whether a worker that sends its hello is within the hard limit. A program that exceeds the limit by itself would be
    /// killed during its first job, which would count as a crash of that job, and so for every job after it.
    pub(super) fn fits_at_hello(&mut self, child: ChildId, now: Instant) -> bool {
        let Some(worker) = self.workers.get_mut(child) else { return false };
        let spec = self.generations.spec_of(worker.origin.generation);
        let Some(limit) = spec.recycling.memory_hard_limit else { return true };
        // A short read, once per worker: the answer of another thread would come after the first job.
        worker.memory = worker.pid().and_then(procfs::resident);
        let Some(bytes) = worker.memory.filter(|bytes| *bytes > limit) else { return true };
        self.kill_over_limit(child, bytes, limit, now);
        false
    }

    fn kill_over_limit(&mut self, child: ChildId, used: u64, limit: u64, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        let (used_mib, limit_mib) = (used >> 20, limit >> 20);
        warn!(
            channel = %self.generations.spec().channel, pid = worker.pid(), used_mib, limit_mib,
            "worker above memory_hard_limit: killing it"
        );
        let is_unused = worker.ready_at.is_none() || worker.runs_taken() == 0;
        let is_failed_boot = worker.state.is_staying() && is_unused;
        self.kill(child, KillReason::Memory { used, limit }, now);
        if is_failed_boot {
            let why = format!(
                "it used {used_mib} MiB before its first job, more than memory_hard_limit = {limit_mib} MiB"
            );
            self.note_failed_boot(child, &why, now);
        } else {
            self.recycled.memory_hard += 1;
        }
    }

    /// Makes so many workers take no more runs, the largest first: above the memory limit the pool does not wait for idle
    /// workers, because under load there are none.
    pub(super) fn drain_for_memory(&mut self, surplus: usize, now: Instant) {
        if self.sizer.autoscaler.decision().why != SizingReason::Memory {
            return;
        }
        let life = self.generations.spec().plan.jobs_per_life;
        let permanent = self.workers.serving().filter(|worker| worker.is_permanent(life));
        let mut busy: Vec<_> = permanent.map(|worker| (worker.memory, worker.child)).collect();
        busy.sort_unstable_by_key(|(memory, _)| Reverse(*memory));
        for (_, child) in busy.into_iter().take(surplus) {
            self.drain(child, now);
        }
    }
}
