//! The pool: one channel's workers, from boot to death.
//!
//! Duties: keep as many workers as the plan says, hand runs to free slots, enforce time limits, judge
//! deaths, end everything when told to. It answers every run it was given with exactly one [`Ended`]. It
//! knows no store: what an ending means for the job is decided by the channel.
//!
//! A run's life: [`Pool::dispatch`] → the worker's answer, or its time-out, or its worker's death → [`Ended`].
//! A worker's life is in `worker`; its socket and output are served by a task of its own, in `io`.

mod asks;
mod ends;
mod events;
mod io;
mod judge;
mod launch;
mod limits;
mod output;
pub use crate::config::plan;
mod respawn;
mod timers;
mod worker;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::guardian::Handle;
use crate::guardian::handle::{ChildEvent, ChildId};
use crate::job::{Failure, JobId, JobOptions, Outcome, Payload};
use crate::wire::{self, FromMaster, RunFrame, RunId};
pub use asks::{Asked, Question, ReplyTo};
use io::FromIo;
use plan::Plan;
use respawn::Respawn;
use timers::{Timer, Timers};
use worker::{Doom, Phase, Role, Worker};

/// What a pool starts and how it treats it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The channel's name, for logs and for the workers.
    pub channel: Arc<str>,
    /// What runs the jobs.
    pub program: Program,
    /// How many of it.
    pub plan: Plan,
    /// Variables set for workers.
    pub env: Vec<(String, String)>,
    /// Working directory of workers; the master's when absent.
    pub cwd: Option<PathBuf>,
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
pub struct Ended {
    /// The delivery.
    pub run: RunId,
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// From dispatch to end.
    pub took: Duration,
}

/// How many workers there are, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Census {
    /// Started, not yet said hello.
    pub booting: usize,
    /// Ready, with nothing to do.
    pub idle: usize,
    /// Running jobs.
    pub busy: usize,
    /// On their way out: stopping, retiring, being killed.
    pub leaving: usize,
}

/// One channel's workers.
#[derive(Debug)]
pub struct Pool {
    spec: Spec,
    guardian: Handle,
    workers: BTreeMap<ChildId, Worker>,
    runs: HashMap<RunId, InRun>,
    timers: Timers,
    respawn: Respawn,
    max_isolated: usize,
    /// No new workers, no new runs.
    closing: bool,
    /// Workers whose outgoing frames wait for [`Pool::flush`].
    unflushed: Vec<ChildId>,
    ended: Vec<Ended>,
    asked: Vec<Asked>,
    /// What the handlers of the workers want, by the name of the job, as their last hello said.
    jobs: HashMap<String, JobOptions>,
    /// Whether any worker has said hello.
    introduced: bool,
    children: mpsc::UnboundedReceiver<(ChildId, ChildEvent)>,
    to_children: mpsc::UnboundedSender<(ChildId, ChildEvent)>,
    io: mpsc::Receiver<FromIo>,
    to_io: mpsc::Sender<FromIo>,
}

/// A run that is aboard a worker.
#[derive(Debug)]
struct InRun {
    id: JobId,
    child: ChildId,
    began: Instant,
    limit: Option<Duration>,
    /// When its timer fires next.
    due: Option<Instant>,
    /// Its time limit has passed and it was asked to end.
    overdue: bool,
    /// How far it says it is, in percent.
    progress: Option<f64>,
}

impl Pool {
    /// A pool without workers; [`Pool::next`] boots them.
    #[must_use]
    pub fn new(spec: Spec, guardian: Handle) -> Self {
        // Events of children are few and bounded by the number of workers; frames are held back by
        // the bounded channel.
        let (to_children, children) = mpsc::unbounded_channel();
        let (to_io, io) = mpsc::channel(256);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            spec,
            guardian,
            workers: BTreeMap::new(),
            runs: HashMap::new(),
            timers: Timers::default(),
            respawn: Respawn::default(),
            max_isolated: cores.min(4),
            closing: false,
            unflushed: Vec::new(),
            ended: Vec::new(),
            asked: Vec::new(),
            jobs: HashMap::new(),
            introduced: false,
            children,
            to_children,
            io,
            to_io,
        }
    }

    /// How many more runs can be dispatched now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        if self.closing {
            return 0;
        }
        let plan = &self.spec.plan;
        let planned = self.workers.values().filter(|w| w.role == Role::Plan);
        let aboard: usize = planned.clone().map(|w| w.aboard.len()).sum();
        let allowed = (plan.max * plan.slots).saturating_sub(aboard);
        match self.spec.program {
            Program::Exec(_) if self.respawn.is_waiting(Instant::now()) => 0,
            // Leaving ones still occupy their place until their tree is gone.
            Program::Exec(_) => allowed.min((plan.max + surge(plan)).saturating_sub(self.workers.len())),
            Program::Wire(_) => allowed.min(planned.map(|w| w.free_slots(plan.jobs_per_life)).sum()),
        }
    }

    /// How many runs the workers that are ready now can have aboard together.
    #[must_use]
    pub fn slots(&self) -> usize {
        let plan = &self.spec.plan;
        match self.spec.program {
            _ if self.closing => 0,
            Program::Exec(_) => plan.max * plan.slots,
            Program::Wire(_) => {
                let ready = self.workers.values().filter(|w| w.role == Role::Plan && w.phase == Phase::Ready);
                ready.map(|w| w.slots).sum::<usize>().min(plan.max * plan.slots)
            }
        }
    }

    /// Whether a run that must be alone in its worker can be dispatched now.
    #[must_use]
    pub fn can_isolate(&self) -> bool {
        if self.is_alone_anyway() {
            return self.capacity() > 0;
        }
        if !self.introduced {
            // What the handlers want, and whether they have failed callbacks, decides over runs before they begin.
            return false;
        }
        let isolated = self.workers.values().filter(|w| w.role == Role::Isolated);
        let (busy, all) = isolated.fold((0, 0), |(b, a), w| (b + usize::from(!w.is_idle()), a + 1));
        !self.closing && !self.respawn.is_waiting(Instant::now()) && (busy < all || all < self.max_isolated)
    }

    /// Hands a run to a free slot. The caller has asked [`Pool::capacity`] before.
    pub fn dispatch(&mut self, run: Run) {
        match &self.spec.program {
            Program::Exec(_) => self.launch_exec(run),
            Program::Wire(_) => {
                let life = self.spec.plan.jobs_per_life;
                let free = |w: &&Worker| w.role == Role::Plan && w.free_slots(life) > 0;
                let child = self.workers.values().find(free).map(|w| w.child);
                self.board(run, child.expect("the caller checked the capacity"));
            }
        }
    }

    /// Hands a run to a worker of its own. The caller has asked [`Pool::can_isolate`] before.
    pub fn dispatch_alone(&mut self, run: Run) {
        if self.is_alone_anyway() {
            return self.dispatch(run);
        }
        let idle = |w: &&Worker| w.role == Role::Isolated && w.is_idle();
        let child = self.workers.values().find(idle).map(|w| w.child);
        let child = child.unwrap_or_else(|| self.launch_wire(Role::Isolated));
        self.board(run, child);
    }

    /// Ends a run that no longer matters, killing its worker where asking does not help.
    pub fn cancel(&mut self, run: RunId) {
        if let Some(entry) = self.runs.get(&run) {
            self.overdue(run, entry.child);
        }
    }

    /// No new workers and no new runs; what is idle leaves, what runs may finish.
    pub fn close(&mut self) {
        self.closing = true;
        let idle: Vec<_> = self.workers.values().filter(|w| w.aboard.is_empty()).map(|w| w.child).collect();
        for child in idle {
            self.dismiss(child);
        }
    }

    /// Asks every worker to end now and kills it after the grace; its runs end as interrupted.
    pub fn interrupt(&mut self) {
        self.closing = true;
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&child) else { continue };
            worker.doom.get_or_insert(Doom::Stopping);
            match self.spec.program {
                Program::Exec(_) => self.guardian.terminate(child),
                Program::Wire(_) => {
                    for run in &worker.aboard {
                        let cancel = FromMaster::Cancel { run: *run, grace: self.spec.stop_grace };
                        wire::encode_to_worker(&cancel, &mut worker.out);
                    }
                    wire::encode_to_worker(&FromMaster::Stop, &mut worker.out);
                    self.unflushed.push(child);
                }
            }
            self.set_worker_timer(child, self.spec.stop_grace);
        }
    }

    /// Kills every worker at once. With `forget`, their runs end without an [`Ended`].
    pub fn kill_all(&mut self, forget: bool) {
        if forget {
            self.runs.clear();
            self.ended.clear();
            self.asked.clear();
            self.workers.values_mut().for_each(|w| w.aboard.clear());
        }
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            self.doom(child, Doom::Stopping);
        }
    }

    /// What the handler of this job wants, as far as a worker has said.
    #[must_use]
    pub fn options(&self, job: &str) -> JobOptions {
        self.jobs.get(job).copied().unwrap_or_default()
    }

    /// Whether a run has not ended yet.
    #[must_use]
    pub fn is_aboard(&self, run: RunId) -> bool {
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
    pub fn trouble(&self) -> Option<&str> {
        self.respawn.trouble()
    }

    /// Counts the workers.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for worker in self.workers.values() {
            match worker.phase {
                Phase::Booting => census.booting += 1,
                Phase::Ready if worker.aboard.is_empty() => census.idle += 1,
                Phase::Ready => census.busy += 1,
                Phase::Retiring | Phase::Leaving | Phase::Dying => census.leaving += 1,
            }
        }
        census
    }

    /// The process ids of the workers that run or are ready to run jobs.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.workers.values().filter(|w| w.phase == Phase::Ready).filter_map(|w| w.pid).collect()
    }

    /// Keeps the pool as planned until something happened, then answers the runs that have ended.
    /// An empty answer means that the capacity may have changed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Vec<Ended> {
        self.tidy();
        self.flush();
        if self.ended.is_empty() {
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

    /// Whether every run is alone in its worker by the plan itself.
    fn is_alone_anyway(&self) -> bool {
        self.spec.plan.slots == 1 || matches!(self.spec.program, Program::Exec(_))
    }

    /// Boots what is missing and sends away what is not needed.
    fn tidy(&mut self) {
        if self.closing {
            return;
        }
        let idle_isolated = |w: &&Worker| w.role == Role::Isolated && w.is_idle();
        for child in self.workers.values().filter(idle_isolated).map(|w| w.child).collect::<Vec<_>>() {
            self.dismiss(child);
        }
        if let Some(at) = self.respawn.waits_until(Instant::now()) {
            // Whoever waits with a run for the next start hears of its time.
            self.timers.set(at, Timer::Boot);
            return;
        }
        if matches!(self.spec.program, Program::Exec(_)) {
            return;
        }
        let plan = self.spec.plan;
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        // One that has taken its last run is replaced while it still works on it.
        let serves = |w: &&Worker| w.phase.is_staying() && !w.is_spent(plan.jobs_per_life);
        let mut alive = planned().filter(serves).count();
        // Those that wait for a stuck run serve nobody, and are few: each has a worker in its place.
        let mut total = planned().filter(|w| w.phase != Phase::Retiring).count();
        while alive < plan.min + plan.spare && total < plan.max + surge(&plan) {
            self.launch_wire(Role::Plan);
            (alive, total) = (alive + 1, total + 1);
        }
    }

    /// Sends what was queued for the workers.
    fn flush(&mut self) {
        for child in self.unflushed.drain(..) {
            if let Some(worker) = self.workers.get_mut(&child) {
                worker.flush();
            }
        }
    }

    /// Puts a run aboard a worker that speaks the protocol.
    fn board(&mut self, run: Run, child: ChildId) {
        let frame = RunFrame {
            run: run.run,
            id: run.id.0,
            job: run.job.as_str().into(),
            attempt: run.attempt,
            max_attempts: run.max_attempts,
            timeout_ms: run.timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1)),
            headers: Cow::Borrowed(&run.headers),
            payload: run.payload.as_raw(),
        };
        let frame = match &run.failure {
            None => FromMaster::Run(frame),
            Some(failure) => FromMaster::Failed(frame, failure.clone()),
        };
        let worker = self.workers.get_mut(&child).expect("the caller found it in the table");
        if worker.out.is_empty() {
            self.unflushed.push(child);
        }
        wire::encode_to_worker(&frame, &mut worker.out);
        self.track(&run, child);
    }

    /// Notes a run as aboard.
    fn track(&mut self, run: &Run, child: ChildId) {
        let began = Instant::now();
        let entry =
            InRun { id: run.id, child, began, limit: run.timeout, due: None, overdue: false, progress: None };
        self.runs.insert(run.run, entry);
        let worker = self.workers.get_mut(&child).expect("the caller found it in the table");
        worker.take(run.run, run.id);
        // A run that waits for its worker's hello has not begun.
        if worker.phase != Phase::Booting {
            self.start_clock(run.run);
        }
    }

    /// Begins the time a run may take.
    fn start_clock(&mut self, run: RunId) {
        let Some(entry) = self.runs.get_mut(&run).filter(|entry| !entry.overdue) else { return };
        entry.began = Instant::now();
        entry.due = entry.limit.map(|limit| entry.began + limit);
        if let Some(due) = entry.due {
            self.timers.set(due, Timer::Run(run));
        }
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
