//! The pool: one channel's workers, from boot to death.
//!
//! Duties: keep as many workers as the plan says, hand runs to free slots, enforce time limits, judge
//! deaths, end everything when told to. It answers every run it was given with exactly one [`EndedRun`]. It
//! knows no store: what an ending means for the job is decided by the channel.
//!
//! A run's life: [`Pool::dispatch`] → the worker's answer, or its time-out, or its worker's death → [`EndedRun`].
//! A worker's life is in `worker`; its socket and output are served by a task of its own, in `io`.

mod boot;
mod cancel;
mod deadlines;
mod dispatch;
mod event_handlers;
mod exit_outcome;
mod generation;
mod job_requests;
mod launch;
mod manual_minimum;
mod memory_sampling;
mod program_files;
mod run_end;
mod run_status;
mod worker_io;
mod worker_output;
pub use crate::config::plan;
mod boot_backoff;
mod canary;
mod reconcile;
mod recycling;
mod rollout;
mod shutdown;
mod sizing;
mod status;
mod timers;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::guardian::GuardianHandle;
use crate::guardian::handle::{ChildEvent, ChildId};
use crate::job::{Failure, JobId, JobOptions, Outcome, Payload};
use crate::wire::RunId;
use boot_backoff::BootBackoff;
pub use generation::{
    GenerationSpec, RolloutError, RolloutProgress, RolloutSummary, WorkerRef, WorkerReplacement,
};
pub use job_requests::{ReplyTo, RequestKind, RunRequest};
pub use memory_sampling::RecycleCounts;
use memory_sampling::SamplingState;
use plan::{Plan, Recycling, Scaling};
pub use reconcile::Demand;
use rollout::Reload;
pub use run_status::{CancelReason, RunStatus};
use sizing::autoscaler::Autoscaler;
pub use sizing::autoscaler::{MinWorkers, ScaleOrder};
pub use sizing::decision::{SizingDecision, SizingInput, SizingReason};
pub use status::{PoolStatus, SizingChange, WorkerActivity, WorkerCounts, WorkerJob, WorkerStatus};
use timers::Timers;
use worker::Worker;
use worker_io::IoEvent;

/// What a pool starts and how it treats it.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// The channel's name, for logs and for the workers.
    pub channel: Arc<str>,
    /// What runs the jobs.
    pub program: Program,
    /// How many of it.
    pub plan: Plan,
    /// When that changes.
    pub scaling: Scaling,
    /// When one of them is replaced.
    pub recycling: Recycling,
    /// Variables set for workers.
    pub env: Vec<(String, String)>,
    /// Working directory of workers; the master's when absent.
    pub cwd: Option<PathBuf>,
    /// The files the program consists of, as far as its command line names them.
    pub files: Vec<PathBuf>,
    /// From start to hello.
    pub boot_timeout: Duration,
    /// From asking a timed-out run to end to killing its worker.
    pub timeout_grace: Duration,
    /// From asking a worker to stop to killing it.
    pub stop_grace: Duration,
    /// How long the siblings of a stuck run may take to finish.
    pub stop_wait: Duration,
}

/// The program behind a channel's jobs.
#[derive(Clone, Debug)]
pub enum Program {
    /// Long-lived, speaks the worker protocol.
    Wire(Vec<String>),
    /// Started once per job.
    Exec(Vec<String>),
}

/// One delivery of a job.
#[derive(Clone, Debug)]
pub struct Run {
    /// The delivery's number, unique within this pool.
    pub run: RunId,
    /// The job.
    pub id: JobId,
    /// The job's name.
    pub job: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How many attempts there are.
    pub max_attempts: u32,
    /// From dispatch, or from the hello of a worker that boots for it; `None` for no limit.
    pub timeout: Option<Duration>,
    /// What the producer sent along.
    pub headers: BTreeMap<String, String>,
    /// Why the job has failed for good, when this is for its failed callback and not for the job itself.
    pub failure: Option<Failure>,
    /// The job's data.
    pub payload: Payload,
}

/// The end of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRun {
    /// The delivery.
    pub run: RunId,
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// From dispatch to end.
    pub took: Duration,
}

/// One channel's workers.
#[derive(Debug)]
pub struct Pool {
    spec: PoolSpec,
    guardian: GuardianHandle,
    /// The generation that workers are started as.
    generation: u64,
    /// The last number that was given to one.
    newest_generation: u64,
    reload: Option<Reload>,
    /// How the last reload ended, until somebody asks.
    reloaded: Option<Result<RolloutSummary, RolloutError>>,
    workers: BTreeMap<ChildId, Worker>,
    runs: HashMap<RunId, ActiveRun>,
    timers: Timers,
    respawn: BootBackoff,
    scaler: Autoscaler,
    demand: Demand,
    /// When a run last began or ended.
    last_progress: Instant,
    /// When it is decided anew how many workers there should be.
    flex_at: Option<Instant>,
    /// When the next worker is too old.
    age_at: Option<Instant>,
    look: SamplingState,
    /// What the largest worker used when it was looked at last, also when that one has gone.
    largest: Option<u64>,
    recycled: RecycleCounts,
    /// What was said last about boots.
    was_degraded: bool,
    /// See [`Pool::boot_missing`]: nobody takes runs, and there is no room for somebody who would.
    is_stalled: bool,
    /// Runs that have not ended although they were told to.
    stuck_runs: HashSet<RunId>,
    max_isolated: usize,
    /// No new workers, no new runs.
    closing: bool,
    /// Workers whose outgoing frames wait for [`Pool::flush`].
    unflushed: Vec<ChildId>,
    ended: Vec<EndedRun>,
    asked: Vec<RunRequest>,
    /// What the handlers of the workers want, by the name of the job, as their last hello said.
    jobs: HashMap<String, JobOptions>,
    /// Whether any worker has said hello.
    is_introduced: bool,
    children: mpsc::UnboundedReceiver<(ChildId, ChildEvent)>,
    to_children: mpsc::UnboundedSender<(ChildId, ChildEvent)>,
    io: mpsc::Receiver<IoEvent>,
    to_io: mpsc::Sender<IoEvent>,
}

/// A run that is aboard a worker.
#[derive(Debug)]
struct ActiveRun {
    id: JobId,
    /// The job's name.
    job: String,
    child: ChildId,
    began: Instant,
    limit: Option<Duration>,
    /// When its timer fires next.
    due: Option<Instant>,
    /// Its time limit has passed and it was asked to end.
    overdue: bool,
    /// It was cancelled: whatever it ends with but success is due to that.
    cancelled: bool,
    /// How far it says it is, in percent.
    progress: Option<f64>,
}

impl Pool {
    /// A pool without workers; [`Pool::next`] boots them.
    #[must_use]
    pub fn new(GenerationSpec { spec, guardian }: GenerationSpec, _now: tokio::time::Instant) -> Self {
        // Events of children are few and bounded by the number of workers; frames are held back by
        // the bounded channel.
        let (to_children, children) = mpsc::unbounded_channel();
        let (to_io, io) = mpsc::channel(256);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let scaler = Autoscaler::new(&spec.plan, spec.scaling);
        let mut pool = Self {
            spec,
            guardian,
            generation: 1,
            newest_generation: 1,
            reload: None,
            reloaded: None,
            workers: BTreeMap::new(),
            runs: HashMap::new(),
            timers: Timers::default(),
            respawn: BootBackoff::default(),
            scaler,
            demand: Demand::default(),
            last_progress: Instant::now(),
            flex_at: None,
            age_at: None,
            look: SamplingState::default(),
            largest: None,
            recycled: RecycleCounts::default(),
            was_degraded: false,
            is_stalled: false,
            stuck_runs: HashSet::new(),
            max_isolated: cores.min(4),
            closing: false,
            unflushed: Vec::new(),
            ended: Vec::new(),
            asked: Vec::new(),
            jobs: HashMap::new(),
            is_introduced: false,
            children,
            to_children,
            io,
            to_io,
        };
        // Where all of them may not fit, not all are started only to be sent away.
        pool.rescale_for_memory();
        pool
    }

    /// Keeps the pool as planned until something happened, then answers the runs that have ended.
    /// An empty answer means that the capacity may have changed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Vec<EndedRun> {
        self.reconcile();
        self.flush();
        if self.ended.is_empty() && self.reloaded.is_none() {
            let due = self.timers.next();
            tokio::select! {
                biased;
                Some((child, event)) = self.children.recv() => self.on_child(child, event),
                Some(event) = self.io.recv() => self.on_io(event),
                () = sleep_until(due) => self.on_timers(),
            }
            // Whatever else is there already belongs to the same batch.
            while let Ok((child, event)) = self.children.try_recv() {
                self.on_child(child, event);
            }
            while let Ok(event) = self.io.try_recv() {
                self.on_io(event);
            }
        }
        std::mem::take(&mut self.ended)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A channel ends with an empty pool. One that breaks off must leave nothing running either: its lock goes
        // with it, and a free lock means that the old work is dead.
        for child in self.workers.keys() {
            self.guardian.kill(*child);
        }
    }
}

/// How many workers beside the serving ones there may be: booting, spare, on their way out.
fn surge(plan: &Plan) -> usize {
    (plan.max / 4).max(1)
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
