//! What a pool can be asked about itself.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::generation::RolloutProgress;
use super::memory_sampling::RecycleCounts;
use super::sizing::decision::SizingDecision;
use super::worker::{Role, Worker, WorkerState};
use super::{Pool, Program};
use crate::job::{JobId, JobOptions};
use crate::wire::RunId;

/// So many workers are shown one by one.
const MAX_LISTED_WORKERS: usize = 500;

/// How many workers there are, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCounts {
    /// Started, not yet said hello.
    pub booting: usize,
    /// Ready, with nothing to do.
    pub idle: usize,
    /// Running jobs.
    pub busy: usize,
    /// Running their last jobs: their replacement is at work, or what they have run is all they may run.
    pub draining: usize,
    /// Waiting for a job that does not end when told to.
    pub retiring: usize,
    /// On their way out: told to stop, being killed.
    pub leaving: usize,
    /// Slots whose job does not end although it was told to.
    pub stuck_slots: usize,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerActivity {
    /// Started, not yet said hello.
    Booting,
    /// Ready, with nothing to do.
    Idle,
    /// Running jobs.
    Busy,
    /// Running its last jobs.
    Draining,
    /// Waiting for a job that does not end when told to.
    Retiring,
    /// Told to stop, or being killed.
    Leaving,
}

/// One worker, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its process id, once it has one.
    pub pid: Option<i32>,
    /// What it is doing.
    pub state: WorkerActivity,
    /// Which generation of workers it belongs to.
    pub generation: u64,
    /// The job aboard for longest.
    pub job: Option<WorkerJob>,
    /// Jobs aboard.
    pub jobs: usize,
    /// Those of them that do not end although they were told to.
    pub stuck: usize,
    /// Jobs that have ended in it.
    pub done: u64,
    /// Bytes it used when last looked at.
    pub memory: Option<u64>,
    /// Milliseconds since its start.
    pub age_ms: u64,
    /// Why it was started.
    pub why: String,
    /// Why it is to be replaced, if it is.
    pub outgoing: Option<String>,
}

/// A job aboard a worker, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerJob {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Milliseconds since it was handed to the worker.
    pub age_ms: u64,
    /// How far it says it is, in whole percent.
    pub progress: Option<u8>,
}

/// A decision that changed the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizingChange {
    /// Milliseconds since then.
    pub ago_ms: u64,
    /// How many there were to be before.
    pub from: usize,
    /// What was decided, and from which numbers.
    pub decision: SizingDecision,
}

/// A pool and why it is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolStatus {
    /// The workers, the oldest first, at most 500 of them.
    pub rows: Vec<WorkerStatus>,
    /// How many serving workers there should be; absent where programs are started once per job.
    pub target: Option<usize>,
    /// Why that many, in words.
    pub why: String,
    /// The last decisions that changed it, the oldest first.
    pub scaled: Vec<SizingChange>,
    /// How often it was raised.
    pub scaled_up: u64,
    /// How often it was lowered.
    pub scaled_down: u64,
    /// How many workers were replaced.
    pub recycled: RecycleCounts,
    /// The generation that workers are started as, from 1; every reload begins another.
    pub generation: u64,
    /// How far a reload is, while there is one.
    pub reload: Option<RolloutProgress>,
    /// Boots fail again and again and no worker is ready: no job is taken.
    pub degraded: bool,
    /// Milliseconds until the next boot is tried, while one is put off.
    pub next_boot_ms: Option<u64>,
}

impl Pool {
    /// What the handler of this job wants, as far as a worker has said.
    #[must_use]
    pub fn job_options(&self, job: &str) -> JobOptions {
        self.jobs.get(job).copied().unwrap_or_default()
    }

    /// Whether a run has not ended yet.
    #[must_use]
    pub fn has_run(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// How far a run says it is, in percent.
    #[must_use]
    pub fn progress(&self, run: RunId) -> Option<f64> {
        self.runs.get(&run)?.progress
    }

    /// Whether no worker is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Why no worker can be started now, for people; absent when they can.
    #[must_use]
    pub fn start_error(&self, now: tokio::time::Instant) -> Option<&str> {
        let is_missed = matches!(self.spec.program, Program::Exec(_)) || self.is_degraded(now) || {
            let plan = self.spec.plan;
            let ready =
                self.workers.values().filter(|w| w.role == Role::Plan && w.state == WorkerState::Serving);
            ready.filter(|w| w.is_permanent(plan.jobs_per_life)).count() < self.scaler.target() + plan.spare
        };
        self.respawn.trouble(now.into_std()).filter(|_| is_missed)
    }

    /// Whether boots fail again and again and no worker is ready: jobs that wait should not be taken.
    #[must_use]
    pub fn is_degraded(&self, now: tokio::time::Instant) -> bool {
        let now = now.into_std();
        self.respawn.is_looping(now) && !self.is_served(now)
    }

    /// Whether a worker is there that takes jobs, or would if it had a slot free.
    pub(super) fn is_served(&self, now: Instant) -> bool {
        let ready =
            |w: &Worker| w.role == Role::Plan && w.state == WorkerState::Serving && w.kill_reason.is_none();
        let takes = |w: &Worker| ready(w) && !self.respawn.is_on_probation(w.started_at, now);
        matches!(self.spec.program, Program::Wire(_)) && self.workers.values().any(takes)
    }

    /// Whether a worker has yet to show that it can be started.
    pub(super) fn is_unproved_boot(&self, worker: &Worker, now: Instant) -> bool {
        let on_probation =
            || worker.state == WorkerState::Serving && self.respawn.is_on_probation(worker.started_at, now);
        worker.state == WorkerState::Booting || on_probation()
    }

    /// Counts the workers.
    #[must_use]
    pub fn worker_counts(&self) -> WorkerCounts {
        let mut census = WorkerCounts { stuck_slots: self.stuck_runs.len(), ..WorkerCounts::default() };
        for worker in self.workers.values() {
            *match self.doing(worker) {
                WorkerActivity::Booting => &mut census.booting,
                WorkerActivity::Idle => &mut census.idle,
                WorkerActivity::Busy => &mut census.busy,
                WorkerActivity::Draining => &mut census.draining,
                WorkerActivity::Retiring => &mut census.retiring,
                WorkerActivity::Leaving => &mut census.leaving,
            } += 1;
        }
        census
    }

    /// The process ids of the workers that run or are ready to run jobs.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.workers.values().filter(|w| w.state == WorkerState::Serving).filter_map(|w| w.pid).collect()
    }

    /// Each worker, and why there are so many.
    #[must_use]
    pub fn status(&self, now: tokio::time::Instant) -> PoolStatus {
        let (moment, now) = (now, now.into_std());
        let wire = matches!(self.spec.program, Program::Wire(_));
        let (scaled_up, scaled_down) = self.scaler.changes();
        let scaled = self.scaler.taken().map(|taken| SizingChange {
            ago_ms: millis(now.duration_since(taken.at)),
            from: taken.from,
            decision: taken.decision,
        });
        PoolStatus {
            rows: self
                .workers
                .values()
                .take(MAX_LISTED_WORKERS)
                .map(|worker| self.row(worker, now))
                .collect(),
            target: wire.then(|| self.scaler.target()),
            why: if wire { self.scaler.decision().to_string() } else { "one per job".to_owned() },
            scaled: scaled.collect(),
            scaled_up,
            scaled_down,
            recycled: self.recycled,
            generation: self.generation,
            reload: self.reloading(),
            degraded: self.is_degraded(moment),
            next_boot_ms: self.respawn.waits_until(now).map(|at| millis(at - now)),
        }
    }

    fn doing(&self, worker: &Worker) -> WorkerActivity {
        let plan = self.spec.plan;
        match worker.state {
            WorkerState::Booting => WorkerActivity::Booting,
            WorkerState::Serving if worker.runs.is_empty() => WorkerActivity::Idle,
            // With one slot, the last job takes all there is, as every other one does.
            WorkerState::Serving if plan.slots > 1 && worker.is_spent(plan.jobs_per_life) => {
                WorkerActivity::Draining
            }
            WorkerState::Serving => WorkerActivity::Busy,
            WorkerState::Draining => WorkerActivity::Draining,
            WorkerState::Retiring => WorkerActivity::Retiring,
            WorkerState::Stopping | WorkerState::Dying => WorkerActivity::Leaving,
        }
    }

    fn row(&self, worker: &Worker, now: Instant) -> WorkerStatus {
        let runs = || worker.runs.iter().filter_map(|run| self.runs.get(run));
        let oldest = runs().min_by_key(|run| (run.began, run.id));
        WorkerStatus {
            pid: worker.pid,
            state: self.doing(worker),
            generation: worker.generation,
            job: oldest.map(|run| WorkerJob {
                id: run.id,
                name: run.job.clone(),
                age_ms: millis(now.duration_since(run.began)),
                progress: run.progress.map(whole),
            }),
            jobs: worker.runs.len(),
            stuck: worker.runs.iter().filter(|run| self.stuck_runs.contains(run)).count(),
            done: worker.taken - worker.runs.len() as u64,
            memory: worker.memory,
            age_ms: millis(now.duration_since(worker.started_at)),
            why: worker.why.clone(),
            outgoing: worker.outgoing.map(|why| why.to_string()),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
pub(super) fn whole(percent: f64) -> u8 {
    percent.clamp(0.0, 100.0) as u8
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
