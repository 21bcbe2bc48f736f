//! The end of workers, and of the pool: stop when idle, interrupt, kill.

use tokio::time::Instant;

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::pool::workers::state::{KillReason, WorkerState};
use crate::wire::FromMaster;

impl Pool {
    /// No new workers and no new runs; idle workers stop, runs may finish.
    pub fn close(&mut self, now: Instant) {
        self.is_closing = true;
        self.generations.abandon();
        for child in self.workers.ids_where(|worker| worker.runs().is_empty()) {
            self.stop_worker(child, now);
        }
    }

    /// Asks every worker to end now and kills it after the grace; its runs end as interrupted.
    pub fn interrupt(&mut self, now: Instant) {
        self.is_closing = true;
        self.generations.abandon();
        for child in self.workers.ids() {
            self.interrupt_worker(child, now);
        }
    }

    /// Asks a worker to end now and kills it after the grace; its runs end as interrupted. A run of a worker that boots
    /// has not begun, so that worker is killed at once.
    pub(super) fn interrupt_worker(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        if worker.state.is_leaving() {
            return;
        }
        if worker.state.is_booting() {
            return self.kill(child, KillReason::Stopping, now);
        }
        let spec = self.generations.spec();
        worker.state = WorkerState::Stopping { deadline: now + spec.stop_grace };
        if spec.is_exec() {
            return self.generations.current().guardian.terminate(child);
        }
        let runs: Vec<_> = worker.runs().iter().copied().collect();
        for run in runs {
            self.workers.send(child, &FromMaster::Cancel { run, grace: spec.stop_grace });
        }
        self.workers.send(child, &FromMaster::Stop);
    }

    /// Kills every worker at once. With `forget`, their runs end without an [`EndedRun`](crate::pool::EndedRun).
    pub fn kill_all(&mut self, forget: bool, now: Instant) {
        if forget {
            self.runs.forget();
            self.requests.clear();
            self.workers.iter_mut().for_each(|worker| worker.forget_runs());
        }
        for child in self.workers.ids() {
            self.kill(child, KillReason::Stopping, now);
        }
    }

    /// Asks an idle worker to stop; it is killed when it does not within the grace. A worker that boots, and a program
    /// that is started per job, are killed at once.
    pub(super) fn stop_worker(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        if !worker.state.is_staying() {
            return;
        }
        let spec = self.generations.spec();
        if spec.is_exec() || worker.state.is_booting() {
            return self.kill(child, KillReason::Stopping, now);
        }
        worker.state = WorkerState::Stopping { deadline: now + spec.stop_grace };
        self.workers.send(child, &FromMaster::Stop);
    }

    /// Gives a worker no more runs; it stops when it has none.
    pub(super) fn drain(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        if worker.runs().is_empty() {
            return self.stop_worker(child, now);
        }
        let stop_wait = self.generations.spec().stop_wait;
        let deadline = worker.is_replaced_by_reload().then(|| now + stop_wait);
        worker.state = WorkerState::Draining { deadline };
    }

    /// Kills a worker and its process tree. The first reason decides the outcome of its runs.
    pub(super) fn kill(&mut self, child: ChildId, reason: KillReason, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        if worker.state.is_dying() {
            return;
        }
        self.lifetimes.killed(reason);
        let reason = worker.state.kill_reason().unwrap_or(reason);
        worker.state = WorkerState::Dying { reason, boot_failure: None };
        worker.killed_at = Some(now);
        self.generations.current().guardian.kill(child);
    }

    /// Kills a worker that is of no use. A worker that never was has failed to boot, for the reason `why`.
    pub(super) fn discard(&mut self, child: ChildId, why: &str, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        let is_failed_boot = worker.state.kill_reason().is_none() && worker.is_unstable(now);
        self.kill(child, KillReason::Broken, now);
        if is_failed_boot {
            self.note_failed_boot(child, why, now);
        }
    }
}
