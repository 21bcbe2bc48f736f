//! How much memory workers use: looked at once when they say hello, and now and then while they work, off the thread that
//! serves them.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use tracing::warn;

use super::sizing::decision::SizingReason;
use super::timers::Timer;
use super::worker::{KillReason, Worker, WorkerState};
use super::worker_io::IoEvent;
use super::{Pool, Program, recycling};
use crate::guardian::handle::ChildId;
use crate::guardian::procfs;

/// How often it is looked at while anything runs.
const SAMPLING_INTERVAL: Duration = Duration::from_millis(250);

/// Whether a look is due or under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SamplingState {
    /// Nothing has run since the last one.
    #[default]
    Idle,
    /// The timer is set.
    Set,
    /// The timer is set or has fired, and something has run since.
    SetAgain,
}

/// How many workers were replaced, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecycleCounts {
    /// They had run their number of jobs.
    pub jobs: u64,
    /// They were old.
    pub life: u64,
    /// They used more than `memory_limit`.
    pub memory: u64,
    /// They used more than `memory_hard_limit` and were killed.
    pub memory_hard: u64,
}

impl RecycleCounts {
    pub(super) fn count(&mut self, why: recycling::RecycleReason) {
        *match why {
            recycling::RecycleReason::Jobs(_) => &mut self.jobs,
            recycling::RecycleReason::Life(_) => &mut self.life,
            recycling::RecycleReason::Memory(_) => &mut self.memory,
            // Those are no limits.
            recycling::RecycleReason::Changed
            | recycling::RecycleReason::Reload
            | recycling::RecycleReason::TurnedBack => return,
        } += 1;
    }
}

impl Pool {
    /// Something runs or has run: memory is looked at soon.
    pub(super) fn memory_may_change(&mut self) {
        match self.look {
            SamplingState::Idle => {
                self.look = SamplingState::Set;
                self.timers.set(Instant::now() + SAMPLING_INTERVAL, Timer::Memory);
            }
            SamplingState::Set => self.look = SamplingState::SetAgain,
            SamplingState::SetAgain => {}
        }
    }

    /// Reads what the workers use, without keeping anybody waiting.
    pub(super) fn sample_memory(&mut self) {
        let pids: Vec<_> = self.workers.values().filter_map(|w| Some((w.child, w.pid?))).collect();
        let events = self.to_io.clone();
        tokio::spawn(async move {
            let read = move || {
                pids.into_iter().filter_map(|(child, pid)| Some((child, procfs::resident(pid)?))).collect()
            };
            if let Ok(used) = tokio::task::spawn_blocking(read).await {
                // Nobody listens when the pool is gone.
                let _ = events.send(IoEvent::Memory(used)).await;
            }
        });
        let again = self.look == SamplingState::SetAgain || !self.runs.is_empty();
        self.look = SamplingState::Idle;
        if again {
            self.memory_may_change();
        }
    }

    /// Decides anew how many workers there should be, where their memory has a say in it.
    pub(super) fn rescale_for_memory(&mut self) {
        if self.scaler.is_bounded() && !self.closing && matches!(self.spec.program, Program::Wire(_)) {
            self.rescale();
        }
    }

    /// Memory does not wait for somebody to be idle, which under load nobody ever is: so many take no more runs, the
    /// largest first.
    pub(super) fn drain_for_memory(&mut self, surplus: usize) {
        if self.scaler.decision().why != SizingReason::Memory {
            return;
        }
        let life = self.spec.plan.jobs_per_life;
        let ready = |w: &&Worker| w.state == WorkerState::Serving && w.is_permanent(life);
        let mut busy: Vec<_> = self.workers.values().filter(ready).map(|w| (w.memory, w.child)).collect();
        busy.sort_unstable_by_key(|(memory, _)| Reverse(*memory));
        for (_, child) in busy.into_iter().take(surplus) {
            self.drain(child);
        }
    }

    /// What the workers use: those past the hard limit are killed; the soft one is seen to between jobs.
    pub(super) fn on_memory(&mut self, used: Vec<(ChildId, u64)>) {
        let mut over_limit = Vec::new();
        self.largest = used.iter().map(|(_, bytes)| *bytes).max().or(self.largest);
        for (child, bytes) in used {
            let hard_limit = self.spec_of(child).recycling.memory_hard_limit;
            let Some(worker) = self.workers.get_mut(&child) else { continue };
            worker.memory = Some(bytes);
            if let Some(limit) = hard_limit.filter(|limit| bytes > *limit)
                && worker.exit.is_none()
                && worker.state != WorkerState::Dying
            {
                over_limit.push((child, bytes, limit));
            }
        }
        self.rescale_for_memory();
        for (child, bytes, limit) in over_limit {
            self.kill_over_limit(child, bytes, limit);
        }
    }

    /// A worker that is about to be ready, and has had no job: whether the hard limit leaves it alive. One whose program
    /// alone is beyond it would be killed with its first job, which would have crashed for nothing, and so would the next.
    pub(super) fn fits_at_hello(&mut self, child: ChildId) -> bool {
        let Some(limit) = self.spec_of(child).recycling.memory_hard_limit else { return true };
        let Some(worker) = self.workers.get_mut(&child) else { return false };
        // One short read, once in a life: an answer that came later would come after the first job.
        worker.memory = worker.pid.and_then(procfs::resident);
        let Some(bytes) = worker.memory.filter(|bytes| *bytes > limit) else { return true };
        self.kill_over_limit(child, bytes, limit);
        false
    }

    fn kill_over_limit(&mut self, child: ChildId, bytes: u64, limit: u64) {
        let Some(worker) = self.workers.get(&child) else { return };
        let (used_mib, limit_mib) = (bytes >> 20, limit >> 20);
        warn!(channel = %self.spec.channel, pid = worker.pid, used_mib, limit_mib, "a worker uses more than memory_hard_limit: it is killed");
        let is_failed_boot = worker.state.is_staying() && (worker.ready_at.is_none() || worker.taken == 0);
        self.kill(child, KillReason::Memory(bytes, limit));
        if is_failed_boot {
            let why = format!(
                "it used {used_mib} MiB before its first job, more than memory_hard_limit = {limit_mib} MiB"
            );
            self.note_failed_boot(child, &why);
        } else {
            self.recycled.memory_hard += 1;
        }
    }
}
