//! Ends: of a run, of a worker's service, of a worker.

use std::time::Instant;

use tracing::{info, warn};

use super::sizing::decision::shown;
use super::timers::Timer;
use super::worker::{KillReason, Role, WorkerState};
use super::{EndedRun, Pool, Program, exit_outcome};
use crate::guardian::handle::{ChildId, Exit};
use crate::job::Outcome;
use crate::wire::{self, FromMaster, RunId};

impl Pool {
    /// Ends a run and frees its slot.
    pub(super) fn finish(&mut self, run: RunId, outcome: Outcome) {
        let entry = self.runs.remove(&run).expect("the caller found it in the table");
        if let Some(due) = entry.due {
            self.timers.unset(due, Timer::Run(run));
        }
        // A run that was asked to end and then failed did so because it was asked.
        let outcome = match self.retry_unknown_job(entry.child, outcome) {
            Outcome::Done => Outcome::Done,
            _ if entry.cancelled => Outcome::Cancelled { killed: false },
            _ if entry.overdue => Outcome::TimedOut { limit: entry.limit.unwrap_or_default() },
            _ if self
                .workers
                .get(&entry.child)
                .is_some_and(|w| w.kill_reason == Some(KillReason::Stopping)) =>
            {
                Outcome::Interrupted
            }
            other => other,
        };
        self.count_handed_back(entry.child, &outcome);
        self.ended.push(EndedRun { run, id: entry.id, outcome, took: entry.began.elapsed() });
        self.stuck_runs.remove(&run);
        self.last_progress = Instant::now();
        self.memory_may_change();
        let life = self.spec.plan.jobs_per_life;
        let Some(worker) = self.workers.get_mut(&entry.child) else { return };
        self.respawn.succeeded(worker.started_at);
        worker.leave(run);
        if worker.runs.len() == 1 {
            let last = worker.runs.iter().next().and_then(|run| self.runs.get(run));
            worker.tag_job(last.map(|entry| entry.id));
        }
        let goes = match worker.state {
            WorkerState::Serving => self.closing || worker.is_spent(life),
            state => state == WorkerState::Draining,
        };
        if goes && worker.runs.is_empty() {
            self.stop_worker(entry.child);
        } else if self.workers.get(&entry.child).is_some_and(|w| w.state == WorkerState::Retiring) {
            self.stuck(entry.child);
        }
    }

    /// Tells an idle worker to go; it is killed when it does not within the grace.
    pub(super) fn stop_worker(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if !worker.state.is_staying() {
            return;
        }
        if matches!(self.spec.program, Program::Exec(_)) || worker.state == WorkerState::Booting {
            return self.kill(child, KillReason::Stopping);
        }
        worker.state = WorkerState::Stopping;
        wire::encode_to_worker(&FromMaster::Stop, &mut worker.out);
        self.unflushed.push(child);
        self.set_worker_timer(child, self.spec.stop_grace);
    }

    /// Kills a worker and its tree. Its death is judged by `why`.
    pub(super) fn kill(&mut self, child: ChildId, why: KillReason) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.kill_reason.get_or_insert(why);
        if worker.state != WorkerState::Dying {
            worker.state = WorkerState::Dying;
            self.guardian.kill(child);
        }
    }

    /// Kills a worker that is of no use. One that never was has not booted, for the reason that `why` gives.
    pub(super) fn discard(&mut self, child: ChildId, why: &str) {
        let Some(worker) = self.workers.get(&child) else { return };
        let is_failed_boot = worker.kill_reason.is_none() && worker.is_unproved();
        self.kill(child, KillReason::Broken);
        if is_failed_boot {
            self.note_failed_boot(child, why);
        }
    }

    /// Notes that a worker which is being killed is a boot that failed: such a program is not started again at once.
    pub(super) fn note_failed_boot(&mut self, child: ChildId, why: &str) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.role == Role::Canary {
            // Nothing takes its place before it is gone, and what it printed may tell more.
            worker.failed.get_or_insert_with(|| why.to_owned());
        } else {
            let generation = worker.generation;
            self.boot_failed(generation, why);
        }
    }

    /// A worker is gone, and all it said is read: end what was aboard.
    pub(super) fn remove_worker(&mut self, child: ChildId, exit: Option<Exit>, tail: &str) {
        let Some(worker) = self.workers.remove(&child) else { return };
        let company = worker.runs.len() > 1;
        for run in &worker.runs {
            let Some(entry) = self.runs.get(run) else { continue };
            let death = exit_outcome::WorkerDeath {
                exit,
                kill_reason: worker.kill_reason,
                overdue: entry.overdue.then(|| entry.limit.unwrap_or_default()),
                company,
                begun: worker.ready_at.is_some() || matches!(self.spec.program, Program::Exec(_)),
            };
            let outcome = match self.spec.program {
                Program::Exec(_) => exit_outcome::exec(&death, tail),
                Program::Wire(_) => exit_outcome::wire(&death),
            };
            let outcome = entry.after_death(outcome, worker.kill_reason.is_some());
            let (run, began) = (*run, entry.began);
            let entry = self.runs.remove(&run).expect("found above");
            self.stuck_runs.remove(&run);
            if let Some(due) = entry.due {
                self.timers.unset(due, Timer::Run(run));
            }
            self.count_handed_back(child, &outcome);
            self.ended.push(EndedRun { run, id: entry.id, outcome, took: began.elapsed() });
        }
        let last_words = |why: String| match tail.lines().last() {
            Some(last) => format!("{why}: {last}"),
            None => why,
        };
        if let Some(why) = worker.failed {
            self.boot_failed(worker.generation, &last_words(why));
        } else if worker.is_failed_start(exit) {
            let how = exit.map_or_else(|| "ended".to_owned(), exit_outcome::describe);
            let when = match worker.ready_at.map(|at| at.elapsed()) {
                None => "before it was ready".to_owned(),
                Some(ago) if ago.as_secs() == 0 => "right after its hello".to_owned(),
                Some(ago) => format!("{} after its hello, without having had a job", shown(ago)),
            };
            warn!(channel = %self.spec.channel, pid = worker.pid, "a worker {how} {when}");
            self.boot_failed(worker.generation, &last_words(format!("it {how} {when}")));
        } else if let (Program::Wire(_), None, WorkerState::Serving, Some(exit)) =
            (&self.spec.program, worker.kill_reason, worker.state, exit)
        {
            let how = exit_outcome::describe(exit);
            info!(channel = %self.spec.channel, pid = worker.pid, jobs = worker.runs.len(), "a worker {how}");
        }
    }
}
