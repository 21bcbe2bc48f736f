//! The end of a run by its worker's answer, and the end of a worker with the runs it leaves behind.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Pool;
use crate::guardian::Exit;
use crate::guardian::handle::ChildId;
use crate::job::{Outcome, RetryDecision};
use crate::pool::exit_outcome::{self, WorkerDeath};
use crate::pool::lifetimes::EndFacts;
use crate::pool::run_process::RunProcess;
use crate::pool::runs::ActiveRun;
use crate::pool::sizing::decision::shown;
use crate::pool::workers::state::{FailedBoot, KillReason, Role, WorkerEnd, WorkerState};
use crate::pool::workers::worker::Worker;
use crate::wire::RunId;

/// The remedy for a program that speaks no protocol. Such a program ends without an error.
const EXEC_HINT: &str = " (a worker sends a hello and waits for jobs; for a program that runs one job and ends, set protocol = \"exec\")";
/// Delay before a job is tried again that only the newest generation has a handler for.
const UNKNOWN_JOB_RETRY: Duration = Duration::from_secs(1);

impl Pool {
    /// A worker has answered a run: its slot is free.
    pub(super) fn on_outcome(&mut self, child: ChildId, run: RunId, outcome: Outcome, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        let is_interrupted = worker.is_interrupted();
        let outcome = self.retry_unknown_job(worker, outcome);
        let process = self.process(worker, None);
        self.end_run(run, child, process, now, |entry| entry.after_outcome(outcome, is_interrupted));
        self.sizer.run_ended(now);
        self.sampler.activity(now);
        let life = self.generations.spec().plan.jobs_per_life;
        let Some(worker) = self.workers.get_mut(child) else { return };
        self.backoff.succeeded(worker.origin.started_at);
        if let Some(last) = worker.remove_run(run) {
            worker.tag_run(self.runs.get(last).map(ActiveRun::tag));
        }
        let stops = match worker.state {
            WorkerState::Serving => self.is_closing || worker.is_spent(life),
            _ => worker.state.is_draining(),
        };
        if stops && worker.runs().is_empty() {
            self.stop_worker(child, now);
        } else if worker.state.is_retiring() {
            self.on_stuck(child, now);
        }
    }

    fn end_run(
        &mut self,
        run: RunId,
        child: ChildId,
        process: RunProcess,
        now: Instant,
        outcome: impl FnOnce(&ActiveRun) -> Outcome,
    ) {
        let ended = self.runs.end(run, process, now, outcome);
        if ended.is_some_and(|ended| ended.outcome == Outcome::Interrupted) {
            self.generations.count_interrupted(child);
        }
    }

    /// The process of a worker whose run ends.
    fn process(&self, worker: &Worker, exit: Option<Exit>) -> RunProcess {
        let spec = self.generations.spec_of(worker.origin.generation);
        RunProcess {
            pid: worker.pid(),
            exit,
            rss_peak: match worker.state.kill_reason() {
                Some(KillReason::Memory { used, .. }) => Some(used),
                _ => None,
            },
            memory_limit: spec.recycling.memory_hard_limit,
            asked_at: None,
            killed_at: worker.killed_at,
            others: u32::try_from(worker.runs().len().saturating_sub(1)).unwrap_or(u32::MAX),
        }
    }

    /// The meaning of an outcome while another generation takes over: an unknown job may have a handler there.
    fn retry_unknown_job(&self, worker: &Worker, outcome: Outcome) -> Outcome {
        let is_old = worker.origin.generation != self.generations.newest();
        match outcome {
            Outcome::Failed { next: RetryDecision::UnknownJob, .. } if is_old => {
                Outcome::Released { after: UNKNOWN_JOB_RETRY }
            }
            other => other,
        }
    }

    /// A process tree has ended, and all its output is read: its runs end with it. `tail` is the end of its stderr.
    pub(super) fn remove_worker(&mut self, child: ChildId, end: WorkerEnd, tail: &str, now: Instant) {
        let Some(worker) = self.workers.remove(child) else { return };
        let is_exec = self.generations.spec().is_exec();
        let with_others = worker.runs().len() > 1;
        let kill_reason = worker.state.kill_reason();
        let process = self.process(&worker, exit_of(end));
        for run in worker.runs() {
            self.end_run(*run, child, process, now, |entry| {
                let overdue = entry.passed_limit();
                let begun = worker.ready_at.is_some();
                let death = WorkerDeath { end, kill_reason, overdue, with_others, begun };
                let outcome =
                    if is_exec { exit_outcome::exec(&death, tail) } else { exit_outcome::wire(&death, tail) };
                entry.after_death(outcome, kill_reason.is_some() || end == WorkerEnd::GuardianDied)
            });
        }
        let is_failed_boot = matches!(&worker.state, WorkerState::Dying { boot_failure: Some(_), .. })
            || worker.is_failed_boot(exit_of(end), now);
        self.lifetimes.ended(EndFacts {
            end,
            kill_reason,
            replaced: worker.replacement.map(|replacement| replacement.reason),
            is_failed_boot,
            is_exec,
        });
        self.judge_boot(&worker, end, tail, now);
    }

    /// Whether the end of a worker means that its boot has failed.
    fn judge_boot(&mut self, worker: &Worker, end: WorkerEnd, tail: &str, now: Instant) {
        let spec = self.generations.spec();
        let (channel, pid) = (&spec.channel, worker.pid());
        let exit = exit_of(end);
        let how = exit.map_or_else(|| "ended".to_owned(), exit_outcome::describe);
        let generation = worker.origin.generation;
        if let WorkerState::Dying { boot_failure: Some(failed), .. } = &worker.state {
            let whole = with_last_line(&failed.reason, tail);
            if failed.is_counted {
                self.backoff.explain(&failed.reason, whole);
            } else {
                self.on_boot_failed(generation, &whole, now);
            }
        } else if worker.is_failed_boot(exit, now) {
            let is_configured = spec.cwd.is_some();
            let when = match worker.ready_at.map(|at| now.duration_since(at)) {
                // A program for one job has nothing to do without one, so it exits at once.
                None if is_configured && exit == Some(Exit::Code(0)) => {
                    format!("before it was ready{EXEC_HINT}")
                }
                None => "before it was ready".to_owned(),
                Some(ago) if ago.as_secs() == 0 => "right after its hello".to_owned(),
                Some(ago) => format!("{} after its hello, without having had a job", shown(ago)),
            };
            warn!(%channel, pid, "worker {how} {when}");
            self.on_boot_failed(generation, &with_last_line(&format!("it {how} {when}"), tail), now);
        } else if exit.is_some() && worker.state.is_serving() && !spec.is_exec() {
            info!(%channel, pid, jobs = worker.runs().len(), "worker {how}");
        }
    }

    /// Notes that a worker which is being killed is a failed boot, so that its program is not started again at once.
    pub(super) fn note_failed_boot(&mut self, child: ChildId, why: &str, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        let generation = worker.origin.generation;
        // No other worker boots in the place of a canary before it has ended, and its last output may say more.
        let is_counted = worker.origin.role != Role::Canary;
        if let WorkerState::Dying { boot_failure, .. } = &mut worker.state {
            boot_failure.get_or_insert_with(|| FailedBoot { reason: why.to_owned(), is_counted });
            if !is_counted {
                return;
            }
        }
        self.on_boot_failed(generation, why, now);
    }
}

fn exit_of(end: WorkerEnd) -> Option<Exit> {
    match end {
        WorkerEnd::Exited(exit) => Some(exit),
        WorkerEnd::NotStarted | WorkerEnd::NoRoom | WorkerEnd::GuardianDied => None,
    }
}

fn with_last_line(why: &str, tail: &str) -> String {
    match exit_outcome::last_line(tail) {
        Some(last) => format!("{why}: {last}"),
        None => why.to_owned(),
    }
}
