//! The status of a pool, its workers and its runs, for `queue:status` and `queue:why`.

use aint_queue_core::durations::millis;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::actor::Pool;
use super::lifetimes::LifetimeCounts;
use super::recycling::RecycleCounts;
use super::rollout::RolloutProgress;
use super::run_output::RunOutput;
use super::runs::{ActiveRun, CancelReason};
use super::sizing::decision::{SizingChanges, SizingDecision};
use super::workers::log_share::DroppedOutput;
use super::workers::state::WorkerState;
use super::workers::worker::Worker;
use crate::job::{JobId, JobOptions};
use crate::wire::RunId;

/// Most workers listed one by one.
const MAX_LISTED_WORKERS: usize = 500;
/// Most runs listed one by one.
const MAX_LISTED_RUNS: usize = 500;
/// Most handler names listed.
const MAX_LISTED_HANDLERS: usize = 1000;

/// Number of workers by activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCounts {
    /// Started, no hello yet.
    pub booting: usize,
    /// Ready, without a run.
    pub idle: usize,
    /// Running jobs.
    pub busy: usize,
    /// Running their last jobs: replaced, or at the end of `max_handle_number`.
    pub draining: usize,
    /// Waiting for the other runs of a worker with a stuck run.
    pub retiring: usize,
    /// Asked to stop, or being killed.
    pub leaving: usize,
    /// Slots whose run was asked to end and did not.
    pub stuck_slots: usize,
}

impl WorkerCounts {
    /// The number of workers for each activity, with its name.
    #[must_use]
    pub fn by_activity(&self) -> [(&'static str, usize); 6] {
        [
            ("booting", self.booting),
            ("idle", self.idle),
            ("busy", self.busy),
            ("draining", self.draining),
            ("retiring", self.retiring),
            ("leaving", self.leaving),
        ]
    }
}

/// The activity of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerActivity {
    /// Started, no hello yet.
    Booting,
    /// Ready, without a run.
    Idle,
    /// Running jobs.
    Busy,
    /// Running its last jobs.
    Draining,
    /// Finishing its other runs beside a stuck one.
    Retiring,
    /// Asked to stop, or being killed.
    Leaving,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The process id, once the guardian has reported it.
    pub pid: Option<i32>,
    /// The activity of the worker.
    pub state: WorkerActivity,
    /// The generation of the worker.
    pub generation: u64,
    /// The job that has been in it for longest.
    pub job: Option<WorkerJob>,
    /// Number of jobs in it.
    pub jobs: usize,
    /// Number of those that were asked to end and did not.
    pub stuck: usize,
    /// Number of jobs that have ended in it.
    pub done: u64,
    /// Resident bytes in the last sample.
    pub memory: Option<u64>,
    /// Milliseconds since its start.
    pub age_ms: u64,
    /// Why it was started.
    pub why: String,
    /// Why it is to be replaced, if it is.
    pub outgoing: Option<String>,
}

/// A job in a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerJob {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub name: String,
    /// Milliseconds since its dispatch.
    pub age_ms: u64,
    /// The progress in whole percent, if reported.
    pub progress: Option<u8>,
}

/// A decision that changed the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizingChange {
    /// Milliseconds since the decision.
    pub ago_ms: u64,
    /// The number of workers before.
    pub from: usize,
    /// The decision with its facts.
    pub decision: SizingDecision,
}

/// A pool and the reasons for its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolStatus {
    /// The workers, the oldest first, at most 500 of them.
    pub rows: Vec<WorkerStatus>,
    /// Number of serving workers there should be; absent where programs are started once per job.
    pub target: Option<usize>,
    /// The reason for that number.
    pub why: String,
    /// The last decisions that changed it, the oldest first.
    pub scaled: Vec<SizingChange>,
    /// How often it has risen.
    pub scaled_up: u64,
    /// How often it has fallen.
    pub scaled_down: u64,
    /// How often it has risen and fallen, by the reason of the decision.
    #[serde(skip_serializing_if = "SizingChanges::is_empty")]
    pub scaled_by: SizingChanges,
    /// Workers replaced, by reason.
    pub recycled: RecycleCounts,
    /// Jobs that the ready workers can run together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<usize>,
    /// Bytes that all workers may use together, if they have a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Workers started and ended, by cause.
    #[serde(skip_serializing_if = "LifetimeCounts::is_empty")]
    pub lifetimes: LifetimeCounts,
    /// Lines of workers that are not in the log.
    #[serde(skip_serializing_if = "DroppedOutput::is_empty")]
    pub dropped_output: DroppedOutput,
    /// The generation in force, from 1; every reload begins another.
    pub generation: u64,
    /// The progress of a reload, while one is under way.
    pub reload: Option<RolloutProgress>,
    /// Boots fail again and again and no worker is ready: no jobs are leased.
    pub degraded: bool,
    /// The error of the system while it has no room for another process; the channel serves with the workers it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_room: Option<String>,
    /// Milliseconds until the next boot, while it is delayed.
    pub next_boot_ms: Option<u64>,
}

/// A run in a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The process id of the worker, once the guardian has reported it.
    pub pid: Option<i32>,
    /// The worker boots for this run; the run has not begun.
    pub booting: bool,
    /// Milliseconds since its dispatch.
    pub ms: u64,
    /// The time limit of the run in milliseconds.
    pub limit_ms: Option<u64>,
    /// The progress in whole percent, if reported.
    pub progress: Option<u8>,
    /// Why it was asked to end, if it was.
    pub ending: Option<CancelReason>,
    /// Whether the job ignored a request to end; its worker is killed when the other runs there have ended.
    pub stuck: bool,
    /// Which attempt, from 1; absent in answers of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// A running job with its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub job: String,
    /// Resident bytes of the worker in the last sample.
    pub memory: Option<u64>,
    /// The run.
    #[serde(flatten)]
    pub run: RunStatus,
}

impl Pool {
    /// The options of a job's handler, from the last hello.
    #[must_use]
    pub fn job_options(&self, job: &str) -> JobOptions {
        self.generations.current().handlers.get(job).copied().unwrap_or_default()
    }

    /// The names of the jobs the workers have handlers for, sorted; `None` when the workers announced none, or more than
    /// can be listed.
    #[must_use]
    pub fn handlers(&self) -> Option<Vec<String>> {
        let handlers = &self.generations.current().handlers;
        if handlers.is_empty() || handlers.len() > MAX_LISTED_HANDLERS {
            return None;
        }
        let mut names: Vec<_> = handlers.keys().cloned().collect();
        names.sort_unstable();
        Some(names)
    }

    /// Whether a run has not ended yet.
    #[must_use]
    pub fn has_run(&self, run: RunId) -> bool {
        self.runs.get(run).is_some()
    }

    /// Whether no worker is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Why workers fail to start, as long as some are missing because of it.
    #[must_use]
    pub fn start_error(&self, now: Instant) -> Option<&str> {
        let spec = self.generations.spec();
        let is_short = spec.is_exec() || self.is_degraded(now) || {
            let is_permanent = |worker: &&Worker| worker.is_permanent(spec.plan.jobs_per_life);
            self.workers.serving().filter(is_permanent).count()
                < self.sizer.autoscaler.target() + spec.plan.spare
        };
        self.backoff.cause(now).filter(|_| is_short)
    }

    /// Whether boots fail again and again and no worker is ready: jobs should not be leased.
    #[must_use]
    pub fn is_degraded(&self, now: Instant) -> bool {
        self.backoff.is_crash_loop(now) && !self.is_served(now)
    }

    /// Whether there is a worker that takes jobs, or would if it had a free slot.
    pub(super) fn is_served(&self, now: Instant) -> bool {
        let takes_jobs = |worker: &Worker| !self.backoff.is_on_probation(worker.origin.started_at, now);
        !self.generations.spec().is_exec() && self.workers.serving().any(takes_jobs)
    }

    /// Number of workers by activity.
    #[must_use]
    pub fn worker_counts(&self) -> WorkerCounts {
        let mut counts = WorkerCounts { stuck_slots: self.runs.stuck(), ..WorkerCounts::default() };
        for worker in self.workers.iter() {
            *match self.activity(worker) {
                WorkerActivity::Booting => &mut counts.booting,
                WorkerActivity::Idle => &mut counts.idle,
                WorkerActivity::Busy => &mut counts.busy,
                WorkerActivity::Draining => &mut counts.draining,
                WorkerActivity::Retiring => &mut counts.retiring,
                WorkerActivity::Leaving => &mut counts.leaving,
            } += 1;
        }
        counts
    }

    /// The process ids of the workers that take runs.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let serving = self.workers.iter().filter(|worker| worker.state.is_serving());
        serving.filter_map(Worker::pid).collect()
    }

    /// The workers, and the reasons for their number.
    #[must_use]
    pub fn status(&self, now: Instant) -> PoolStatus {
        let is_exec = self.generations.spec().is_exec();
        let autoscaler = &self.sizer.autoscaler;
        let changes = autoscaler.changes();
        let scaled = autoscaler.applied().map(|change| SizingChange {
            ago_ms: millis(now.duration_since(change.at)),
            from: change.from,
            decision: change.decision,
        });
        let rows = self.workers.iter().take(MAX_LISTED_WORKERS).map(|worker| self.worker_status(worker, now));
        PoolStatus {
            rows: rows.collect(),
            target: (!is_exec).then(|| autoscaler.target()),
            why: if is_exec { "one per job".to_owned() } else { autoscaler.decision().to_string() },
            scaled: scaled.collect(),
            scaled_up: changes.up(),
            scaled_down: changes.down(),
            scaled_by: changes.clone(),
            slots: Some(self.usable_slots(now)),
            memory_limit: autoscaler.memory_limit(),
            recycled: self.recycled,
            lifetimes: self.lifetimes.clone(),
            dropped_output: self.launcher.drops.counts(),
            generation: self.generations.number(),
            reload: self.rollout_progress(),
            degraded: self.is_degraded(now),
            no_room: self.room.cause().map(str::to_owned),
            next_boot_ms: self.backoff.delayed_until(now).map(|at| millis(at - now)),
        }
    }

    fn activity(&self, worker: &Worker) -> WorkerActivity {
        let plan = self.generations.spec().plan;
        match worker.state {
            WorkerState::Booting { .. } => WorkerActivity::Booting,
            WorkerState::Serving if worker.runs().is_empty() => WorkerActivity::Idle,
            // With one slot, the last job takes the whole worker, as every job before it.
            WorkerState::Serving if plan.slots > 1 && worker.is_spent(plan.jobs_per_life) => {
                WorkerActivity::Draining
            }
            WorkerState::Serving => WorkerActivity::Busy,
            WorkerState::Draining { .. } => WorkerActivity::Draining,
            WorkerState::Retiring { .. } => WorkerActivity::Retiring,
            WorkerState::Stopping { .. } | WorkerState::Dying { .. } => WorkerActivity::Leaving,
        }
    }

    fn worker_status(&self, worker: &Worker, now: Instant) -> WorkerStatus {
        let runs = || worker.runs().iter().filter_map(|run| self.runs.get(*run));
        let oldest = runs().min_by_key(|run| (run.began, run.id));
        WorkerStatus {
            pid: worker.pid(),
            state: self.activity(worker),
            generation: worker.origin.generation,
            job: oldest.map(|run| WorkerJob {
                id: run.id,
                name: run.job.clone(),
                age_ms: millis(now.duration_since(run.began)),
                progress: run.progress.map(whole_percent),
            }),
            jobs: worker.runs().len(),
            stuck: runs().filter(|run| run.is_stuck()).count(),
            done: worker.runs_taken() - worker.runs().len() as u64,
            memory: worker.memory,
            age_ms: millis(now.duration_since(worker.origin.started_at)),
            why: worker.origin.reason.to_string(),
            outgoing: worker.replacement.map(|replacement| replacement.reason.to_string()),
        }
    }

    /// The status of a run; `None` when it has ended.
    #[must_use]
    pub fn run_status(&self, run: RunId, now: Instant) -> Option<RunStatus> {
        Some(self.status_of(self.runs.get(run)?, now))
    }

    /// The longest running jobs, longest first, at most [`MAX_LISTED_RUNS`].
    #[must_use]
    pub fn running(&self, now: Instant) -> Vec<RunningJob> {
        let mut runs: Vec<_> = self.runs.iter().collect();
        runs.sort_unstable_by_key(|run| (run.began, run.id));
        runs.truncate(MAX_LISTED_RUNS);
        let job = |run: &ActiveRun| RunningJob {
            id: run.id,
            job: run.job.clone(),
            memory: self.workers.get(run.child).and_then(|worker| worker.memory),
            run: self.status_of(run, now),
        };
        runs.into_iter().map(job).collect()
    }

    /// The output of a run that has not ended.
    #[must_use]
    pub fn run_output(&self, run: RunId) -> Option<RunOutput> {
        self.runs.get(run).map(|run| run.output.clone())
    }

    fn status_of(&self, entry: &ActiveRun, now: Instant) -> RunStatus {
        let worker = self.workers.get(entry.child);
        RunStatus {
            pid: worker.and_then(Worker::pid),
            booting: worker.is_some_and(|worker| worker.state.is_booting()),
            ms: millis(now.duration_since(entry.began)),
            limit_ms: entry.limit.map(millis),
            progress: entry.progress.map(whole_percent),
            ending: entry.cancel_reason(),
            stuck: entry.is_stuck(),
            attempt: Some(entry.attempt),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
fn whole_percent(percent: f64) -> u8 {
    percent.clamp(0.0, 100.0) as u8
}
