//! Time limits: of runs, of boots, of stops.
//!
//! The ladder: ask, wait for the grace, kill. In a worker with other runs aboard the killing waits until those have
//! finished, for `stop_wait` at most.

use std::time::{Duration, Instant};

use tracing::warn;

use super::timers::Timer;
use super::worker::{KillReason, WorkerState};
use super::{Pool, Program, recycling};
use crate::guardian::handle::ChildId;
use crate::wire::{self, FromMaster, RunId};

/// Most workers that finish their last jobs while a stuck one among them is waited for.
const MAX_RETIRING: usize = 2;

impl Pool {
    pub(super) fn on_timers(&mut self) {
        for timer in self.timers.due(Instant::now()) {
            match timer {
                Timer::Run(run) => {
                    let Some(entry) = self.runs.get(&run) else { continue };
                    let (child, overdue) = (entry.child, entry.overdue);
                    if overdue {
                        self.stuck_runs.insert(run);
                        self.stuck(child);
                    } else {
                        self.ask_to_end(run, child)
                    }
                }
                Timer::Worker(child) => self.on_worker_deadline(child),
                // `tend` runs before every wait.
                Timer::Boot | Timer::Age => {}
                Timer::Flex => self.flex(),
                Timer::Memory => self.sample_memory(),
            }
        }
    }

    /// Gives a worker this long for what it is about to do, instead of what it had before.
    pub(super) fn set_worker_timer(&mut self, child: ChildId, limit: Duration) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        let due = Instant::now() + limit;
        if let Some(earlier) = worker.due.replace(due) {
            self.timers.unset(earlier, Timer::Worker(child));
        }
        self.timers.set(due, Timer::Worker(child));
    }

    /// A worker has not done in time what it was given time for: boot, end, stop.
    fn on_worker_deadline(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get(&child) else { return };
        let (pid, limit) = (worker.pid, self.spec_of(child).boot_timeout);
        if worker.socket_closed {
            let why = "it closed its socket and lives on";
            self.on_violation(child, why);
            self.discard(child, why);
        } else if worker.state == WorkerState::Booting && worker.kill_reason.is_none() {
            warn!(channel = %self.spec.channel, pid, "a worker did not say hello within {limit:?}");
            self.discard(child, &format!("it did not say hello within {limit:?}"));
        } else if worker.state == WorkerState::Draining && worker.kill_reason.is_none() {
            self.outlasted(child);
        } else {
            self.kill(child, KillReason::Stopping);
        }
    }

    /// The run's time is up: ask it to end, and look again after the grace.
    pub(super) fn ask_to_end(&mut self, run: RunId, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        match self.spec.program {
            Program::Exec(_) => self.guardian.terminate(child),
            Program::Wire(_) => {
                let cancel = FromMaster::Cancel { run, grace: self.spec.timeout_grace };
                wire::encode_to_worker(&cancel, &mut worker.out);
                self.unflushed.push(child);
            }
        }
        let due = Instant::now() + self.spec.timeout_grace;
        let entry = self.runs.get_mut(&run).expect("the caller found it in the table");
        if let Some(earlier) = entry.due.replace(due) {
            self.timers.unset(earlier, Timer::Run(run));
        }
        entry.overdue = true;
        self.timers.set(due, Timer::Run(run));
    }

    /// A run did not end when asked: its worker dies, at once when it is alone, else after its siblings.
    pub(super) fn stuck(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        let overdue = |run: &RunId| self.runs.get(run).is_none_or(|r| r.overdue);
        if worker.runs.iter().all(overdue) {
            return self.kill(child, KillReason::Stuck);
        }
        if worker.state == WorkerState::Retiring && !self.closing && !worker.runs.iter().any(overdue) {
            // It has ended after all: the others have all the time they need.
            (worker.state, worker.kill_reason) = (WorkerState::Draining, None);
            let is_reload = worker.outgoing.is_some_and(recycling::RecycleReason::is_reload);
            if let Some(due) = worker.due.take() {
                self.timers.unset(due, Timer::Worker(child));
            }
            if is_reload {
                self.set_worker_timer(child, self.spec.stop_wait);
            }
            return;
        }
        if matches!(worker.state, WorkerState::Serving | WorkerState::Draining) {
            warn!(channel = %self.spec.channel, pid = worker.pid, "a run does not end when cancelled: its worker retires");
            worker.state = WorkerState::Retiring;
            worker.kill_reason = Some(KillReason::Stuck);
            self.set_worker_timer(child, self.spec.stop_wait);
        }
        let retiring: Vec<_> =
            self.workers.values().filter(|w| w.state == WorkerState::Retiring).map(|w| w.child).collect();
        if retiring.len() > MAX_RETIRING {
            self.kill(retiring[0], KillReason::Stuck);
        }
    }
}
