//! Ends: of a run, of a worker's service, of a worker.

use std::time::Instant;

use tracing::{info, warn};

use super::scale::shown;
use super::timers::Timer;
use super::worker::{Doom, Phase, Role};
use super::{Ended, Pool, Program, judge};
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
        let outcome = match self.in_this_generation(entry.child, outcome) {
            Outcome::Done => Outcome::Done,
            _ if entry.cancelled => Outcome::Cancelled { killed: false },
            _ if entry.overdue => Outcome::TimedOut { limit: entry.limit.unwrap_or_default() },
            _ if self.workers.get(&entry.child).is_some_and(|w| w.doom == Some(Doom::Stopping)) => {
                Outcome::Interrupted
            }
            other => other,
        };
        self.count_handed_back(entry.child, &outcome);
        self.ended.push(Ended { run, id: entry.id, outcome, took: entry.began.elapsed() });
        self.stuck_runs.remove(&run);
        self.moved = Instant::now();
        self.memory_may_change();
        let life = self.spec.plan.jobs_per_life;
        let Some(worker) = self.workers.get_mut(&entry.child) else { return };
        self.respawn.succeeded(worker.born);
        worker.leave(run);
        if worker.aboard.len() == 1 {
            let last = worker.aboard.iter().next().and_then(|run| self.runs.get(run));
            worker.tag_job(last.map(|entry| entry.id));
        }
        let goes = match worker.phase {
            Phase::Ready => self.closing || worker.is_spent(life),
            phase => phase == Phase::Draining,
        };
        if goes && worker.aboard.is_empty() {
            self.dismiss(entry.child);
        } else if self.workers.get(&entry.child).is_some_and(|w| w.phase == Phase::Retiring) {
            self.stuck(entry.child);
        }
    }

    /// Tells an idle worker to go; it is killed when it does not within the grace.
    pub(super) fn dismiss(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if !worker.phase.is_staying() {
            return;
        }
        if matches!(self.spec.program, Program::Exec(_)) || worker.phase == Phase::Booting {
            return self.doom(child, Doom::Stopping);
        }
        worker.phase = Phase::Leaving;
        wire::encode_to_worker(&FromMaster::Stop, &mut worker.out);
        self.unflushed.push(child);
        self.set_worker_timer(child, self.spec.stop_grace);
    }

    /// Kills a worker and its tree. Its death is judged by `why`.
    pub(super) fn doom(&mut self, child: ChildId, why: Doom) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.doom.get_or_insert(why);
        if worker.phase != Phase::Dying {
            worker.phase = Phase::Dying;
            self.guardian.kill(child);
        }
    }

    /// Kills a worker that is of no use. One that never was has not booted, for the reason that `why` gives.
    pub(super) fn give_up(&mut self, child: ChildId, why: &str) {
        let Some(worker) = self.workers.get(&child) else { return };
        let in_vain = worker.doom.is_none() && worker.is_unproved();
        self.doom(child, Doom::Broken);
        if in_vain {
            self.booted_in_vain(child, why);
        }
    }

    /// Notes that a worker which is being killed is a boot that failed: such a program is not started again at once.
    pub(super) fn booted_in_vain(&mut self, child: ChildId, why: &str) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.role == Role::Trial {
            // Nothing takes its place before it is gone, and what it printed may tell more.
            worker.failed.get_or_insert_with(|| why.to_owned());
        } else {
            let generation = worker.generation;
            self.boot_failed(generation, why);
        }
    }

    /// A worker is gone, and all it said is read: end what was aboard.
    pub(super) fn bury(&mut self, child: ChildId, exit: Option<Exit>, tail: &str) {
        let Some(worker) = self.workers.remove(&child) else { return };
        let company = worker.aboard.len() > 1;
        for run in &worker.aboard {
            let Some(entry) = self.runs.get(run) else { continue };
            let death = judge::Death {
                exit,
                doom: worker.doom,
                overdue: entry.overdue.then(|| entry.limit.unwrap_or_default()),
                company,
                begun: worker.ready_at.is_some() || matches!(self.spec.program, Program::Exec(_)),
            };
            let outcome = match self.spec.program {
                Program::Exec(_) => judge::exec(&death, tail),
                Program::Wire(_) => judge::wire(&death),
            };
            let outcome = entry.after_death(outcome, worker.doom.is_some());
            let (run, began) = (*run, entry.began);
            let entry = self.runs.remove(&run).expect("found above");
            self.stuck_runs.remove(&run);
            if let Some(due) = entry.due {
                self.timers.unset(due, Timer::Run(run));
            }
            self.count_handed_back(child, &outcome);
            self.ended.push(Ended { run, id: entry.id, outcome, took: began.elapsed() });
        }
        let last_words = |why: String| match tail.lines().last() {
            Some(last) => format!("{why}: {last}"),
            None => why,
        };
        if let Some(why) = worker.failed {
            self.boot_failed(worker.generation, &last_words(why));
        } else if worker.died_young(exit) {
            let how = exit.map_or_else(|| "ended".to_owned(), judge::describe);
            let when = match worker.ready_at.map(|at| at.elapsed()) {
                None => "before it was ready".to_owned(),
                Some(ago) if ago.as_secs() == 0 => "right after its hello".to_owned(),
                Some(ago) => format!("{} after its hello, without having had a job", shown(ago)),
            };
            warn!(channel = %self.spec.channel, pid = worker.pid, "a worker {how} {when}");
            self.boot_failed(worker.generation, &last_words(format!("it {how} {when}")));
        } else if let (Program::Wire(_), None, Phase::Ready, Some(exit)) =
            (&self.spec.program, worker.doom, worker.phase, exit)
        {
            let how = judge::describe(exit);
            info!(channel = %self.spec.channel, pid = worker.pid, jobs = worker.aboard.len(), "a worker {how}");
        }
    }
}
