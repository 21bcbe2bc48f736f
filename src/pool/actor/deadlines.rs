//! Deadlines that have passed: of runs, of boots, of stops.
//!
//! The ladder: ask, wait for the grace, kill. A worker with other runs is killed only after those have finished, for which
//! they have `stop_wait`.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::pool::memory_sampler::MemorySampler;
use crate::pool::runs::{CancelReason, RunExpiry};
use crate::pool::workers::state::{KillReason, WorkerState};
use crate::wire::{FromMaster, RunId};

/// Most workers that finish their last runs beside a stuck one.
const MAX_RETIRING: usize = 2;

impl Pool {
    pub(super) fn on_deadlines(&mut self, now: Instant) {
        for expiry in self.runs.expired(now) {
            match expiry {
                RunExpiry::TimeLimit(run) => self.ask_to_end(run, CancelReason::TimedOut, now),
                RunExpiry::Grace(child) => self.on_stuck(child, now),
            }
        }
        // Each of these workers changes its state, or its deadline would end every wait at once.
        for child in self.workers.ids_where(|worker| worker.deadline().is_some_and(|at| at <= now)) {
            self.on_worker_deadline(child, now);
        }
        if self.sizer.take_review(now) {
            self.review_size(now);
        }
        if self.sampler.take_due(!self.runs.is_empty(), now) {
            MemorySampler::sample(&self.workers, self.launcher.io.clone());
        }
    }

    /// A worker has not booted, finished or stopped in time.
    fn on_worker_deadline(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        if worker.is_hung_up() {
            let why = "it closed its socket and did not exit";
            self.on_violation(child, why, now);
            self.discard(child, why, now);
        } else if worker.state.is_booting() {
            let limit = self.generations.spec_of(worker.origin.generation).boot_timeout;
            let channel = &self.generations.spec().channel;
            warn!(%channel, pid = worker.pid(), "worker sent no hello within {limit:?}: killing it");
            self.discard(child, &format!("it sent no hello within {limit:?}"), now);
        } else if worker.state.is_draining() {
            self.interrupt_outlasting(child, now);
        } else {
            self.kill(child, KillReason::Stopping, now);
        }
    }

    /// Asks a run to end, and kills its worker when it does not: at once when the run is alone there, otherwise when the
    /// other runs have finished or `stop_wait` is over. A run that succeeds in the meantime ends as done.
    pub fn cancel(&mut self, run: RunId, now: Instant) {
        self.ask_to_end(run, CancelReason::Cancelled, now);
    }

    /// Kills the worker of a run with its whole process tree, without asking first. Other runs of the worker are interrupted: their jobs
    /// run again, and the attempt does not count.
    pub fn kill_run(&mut self, run: RunId, now: Instant) {
        self.runs.begin_end(run, CancelReason::Cancelled, Duration::ZERO, now);
        if let Some(child) = self.runs.get(run).map(|run| run.child) {
            self.kill(child, KillReason::Ordered, now);
        }
    }

    /// Ends the worker with this process id, for an operator: kills it at once, or gives it no more runs, so that it stops after those
    /// it has. Returns whether there is such a worker.
    pub fn end_worker(&mut self, pid: i32, kill: bool, now: Instant) -> bool {
        let found = self.workers.ids_where(|worker| worker.pid() == Some(pid));
        for child in &found {
            if kill {
                self.kill(*child, KillReason::Ordered, now);
            } else if self.workers.get(*child).is_some_and(|worker| worker.state.is_staying()) {
                self.drain(*child, now);
            }
        }
        !found.is_empty()
    }

    fn ask_to_end(&mut self, run: RunId, reason: CancelReason, now: Instant) {
        let spec = self.generations.spec();
        let grace = spec.timeout_grace;
        let Some(child) = self.runs.begin_end(run, reason, grace, now) else { return };
        if spec.is_exec() {
            self.generations.current().guardian.terminate(child);
        } else {
            self.workers.send(child, &FromMaster::Cancel { run, grace });
        }
    }

    /// A run of this worker did not end when asked. Its worker is killed: at once when it has no other runs, otherwise
    /// when those have ended.
    pub(super) fn on_stuck(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        let spec = self.generations.spec();
        let stop_deadline = now + spec.stop_wait;
        let is_ending = |run: &RunId| self.runs.is_ending(*run);
        if worker.runs().iter().all(is_ending) {
            return self.kill(child, KillReason::Stuck, now);
        }
        match worker.state {
            WorkerState::Retiring { .. } if !self.is_closing && !worker.runs().iter().any(is_ending) => {
                // The stuck run has ended after all: the others may take their time.
                let deadline = worker.is_replaced_by_reload().then_some(stop_deadline);
                worker.state = WorkerState::Draining { deadline };
                return;
            }
            WorkerState::Serving | WorkerState::Draining { .. } => {
                warn!(
                    channel = %spec.channel, pid = worker.pid(),
                    "run does not end when cancelled: its worker finishes its other runs and is replaced"
                );
                worker.state = WorkerState::Retiring { deadline: stop_deadline };
            }
            _ => {}
        }
        let retiring = self.workers.ids_where(|worker| worker.state.is_retiring());
        if let [oldest, ..] = retiring[..]
            && retiring.len() > MAX_RETIRING
        {
            self.kill(oldest, KillReason::Stuck, now);
        }
    }
}
