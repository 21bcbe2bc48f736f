//! The end of a pool: quiet, interrupt, kill.

use super::worker::KillReason;
use super::{Pool, Program};
use crate::guardian::handle::ChildId;
use crate::wire::{self, FromMaster};

impl Pool {
    /// No new workers and no new runs; what is idle leaves, what runs may finish.
    pub fn close(&mut self, _now: tokio::time::Instant) {
        self.closing = true;
        self.abandon_rollout();
        let idle: Vec<_> = self.workers.values().filter(|w| w.runs.is_empty()).map(|w| w.child).collect();
        for child in idle {
            self.stop_worker(child);
        }
    }

    /// Asks every worker to end now and kills it after the grace; its runs end as interrupted.
    pub fn interrupt(&mut self, _now: tokio::time::Instant) {
        self.closing = true;
        self.abandon_rollout();
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            self.interrupt_worker(child);
        }
    }

    /// Asks a worker to end now and kills it after the grace; its runs end as interrupted.
    pub(super) fn interrupt_worker(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.kill_reason.get_or_insert(KillReason::Stopping);
        match self.spec.program {
            Program::Exec(_) => self.guardian.terminate(child),
            Program::Wire(_) => {
                for run in &worker.runs {
                    let cancel = FromMaster::Cancel { run: *run, grace: self.spec.stop_grace };
                    wire::encode_to_worker(&cancel, &mut worker.out);
                }
                wire::encode_to_worker(&FromMaster::Stop, &mut worker.out);
                self.unflushed.push(child);
            }
        }
        self.set_worker_timer(child, self.spec.stop_grace);
    }

    /// Kills every worker at once. With `forget`, their runs end without an [`EndedRun`](super::EndedRun).
    pub fn kill_all(&mut self, forget: bool) {
        if forget {
            self.runs.clear();
            self.stuck_runs.clear();
            self.ended.clear();
            self.asked.clear();
            self.workers.values_mut().for_each(|w| w.runs.clear());
        }
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            self.kill(child, KillReason::Stopping);
        }
    }
}
