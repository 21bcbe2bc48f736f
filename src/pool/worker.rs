//! One worker as the pool sees it.
//!
//! ```text
//! Booting ── hello ──► Ready ── spent, idle and not needed ──────────► Leaving ─┐
//!    │                   ├── to be replaced ──► Draining ── idle ──────────┘      │
//!    │                   └── a run is stuck beside others ──────────────► Retiring ─┤
//!    └────────────── too late, broken, stop, too fat ───────────► Dying ◄──────────┘
//! ```
//! A worker is removed once its tree is gone and all it said is read.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::program_files::ProgramFiles;
use super::worker_io::IoCommand;
use super::worker_output::LogTag;
use super::{boot_backoff, recycling};
use crate::guardian::handle::{ChildId, Exit};
use crate::job::JobId;
use crate::wire::{FromWorker, RunId};

/// A worker for which this many bytes wait is given no more: it does not read, or not fast enough.
pub(super) const MAX_UNREAD_BYTES: usize = 4 << 20;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    /// Started, not yet said hello.
    Booting,
    /// Takes runs.
    Serving,
    /// Takes no more runs, for its replacement is there; leaves when those aboard have ended.
    Draining,
    /// Takes no more runs; a stuck one is aboard, its siblings may finish.
    Retiring,
    /// Told to stop.
    Stopping,
    /// Being killed.
    Dying,
}

impl WorkerState {
    /// Whether it has not been told to go.
    pub(super) fn is_staying(self) -> bool {
        matches!(self, Self::Booting | Self::Serving | Self::Draining)
    }
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Serves the plan.
    Plan,
    /// Shows whether the next generation can be started; runs nothing before that takes over.
    Canary,
    /// Runs suspects, one at a time.
    Isolated,
}

/// Why we kill a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KillReason {
    /// Stop, reload, recycling: not the job's fault.
    Stopping,
    /// A run aboard does not end when cancelled.
    Stuck,
    /// It broke the protocol.
    Broken,
    /// It used more bytes than the second number.
    Memory(u64, u64),
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: ChildId,
    pub(super) role: Role,
    pub(super) generation: u64,
    pub(super) state: WorkerState,
    pub(super) pid: Option<i32>,
    pub(super) slots: usize,
    /// The runs it has not answered.
    pub(super) runs: HashSet<RunId>,
    /// Frames that wait to be handed to the I/O task.
    pub(super) out: Vec<u8>,
    pub(super) violations: u32,
    /// Questions it waits for the answer of.
    pub(super) open_requests: usize,
    pub(super) kill_reason: Option<KillReason>,
    pub(super) exit: Option<Exit>,
    /// Its end of the socket is closed.
    pub(super) socket_closed: bool,
    /// When its timer fires.
    pub(super) due: Option<Instant>,
    /// Its hello, when that came before the guardian had said its number.
    pub(super) early_hello: Option<FromWorker>,
    /// Since when it is ready: it said hello, or needs to say none.
    pub(super) ready_at: Option<Instant>,
    /// Why it was started, for people.
    pub(super) why: String,
    /// Bytes it used when last looked at.
    pub(super) memory: Option<u64>,
    /// Why it is to be replaced.
    pub(super) outgoing: Option<recycling::RecycleReason>,
    /// What it was made from.
    pub(super) files: ProgramFiles,
    /// Why it counts as a boot that failed once it is gone.
    pub(super) failed: Option<String>,
    /// Its replacement has been started.
    pub(super) replaced: bool,
    /// Runs it was given.
    pub(super) taken: u64,
    pub(super) started_at: Instant,
    io_link: IoLink,
}

/// What ties a worker to the task that serves its descriptors.
#[derive(Debug)]
pub(super) struct IoLink {
    /// What the task is told.
    pub(super) io: mpsc::UnboundedSender<IoCommand>,
    /// Bytes handed to the task that the worker has not read.
    pub(super) unread: Arc<AtomicUsize>,
    /// The pid and, when exactly one is aboard, the job: for the lines it prints.
    pub(super) tag: Arc<LogTag>,
}

impl IoLink {
    /// IoLink to nobody, for a worker that was never born.
    pub(super) fn disconnected() -> Self {
        Self { io: mpsc::unbounded_channel().0, unread: Arc::default(), tag: Arc::default() }
    }
}

impl Worker {
    pub(super) fn new(
        child: ChildId,
        (role, generation): (Role, u64),
        state: WorkerState,
        why: String,
        io_link: IoLink,
    ) -> Self {
        Self {
            child,
            role,
            generation,
            state,
            pid: None,
            slots: 1,
            runs: HashSet::new(),
            out: Vec::new(),
            violations: 0,
            open_requests: 0,
            kill_reason: None,
            exit: None,
            socket_closed: false,
            due: None,
            early_hello: None,
            ready_at: (state == WorkerState::Serving).then(Instant::now),
            why,
            memory: None,
            outgoing: None,
            files: ProgramFiles::default(),
            failed: None,
            replaced: false,
            taken: 0,
            started_at: Instant::now(),
            io_link,
        }
    }

    pub(super) fn started(&mut self, pid: i32) {
        self.pid = Some(pid);
        self.io_link.tag.pid.store(u64::from(pid.unsigned_abs()), Ordering::Relaxed);
    }

    pub(super) fn hello(&mut self, slots: usize) {
        self.state = WorkerState::Serving;
        self.slots = slots;
        self.ready_at = Some(Instant::now());
    }

    pub(super) fn take(&mut self, run: RunId, id: JobId) {
        self.runs.insert(run);
        self.taken += 1;
        self.tag_job((self.runs.len() == 1).then_some(id));
    }

    pub(super) fn leave(&mut self, run: RunId) {
        self.runs.remove(&run);
        self.tag_job(None);
    }

    /// Names the job that printed lines belong to; `None` when it is not known which.
    pub(super) fn tag_job(&self, id: Option<JobId>) {
        self.io_link.tag.job.store(id.map_or(0, |id| id.0), Ordering::Relaxed);
    }

    /// How many runs it can take now; `life` is the number it may take in all, 0 for no limit.
    pub(super) fn free_slots(&self, life: u64) -> usize {
        if self.state != WorkerState::Serving
            || self.kill_reason.is_some()
            || self.socket_closed
            || self.exit.is_some()
        {
            return 0;
        }
        if self.is_backlogged() {
            return 0;
        }
        let free = self.slots.saturating_sub(self.runs.len());
        match life {
            0 => free,
            _ => free.min(usize::try_from(life.saturating_sub(self.taken)).unwrap_or(usize::MAX)),
        }
    }

    /// How many runs it can have aboard by now; those of its last ones that have ended leave their slots empty.
    pub(super) fn usable_slots(&self, life: u64) -> usize {
        let left = usize::try_from(life.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        if life == 0 { self.slots } else { self.slots.min(self.runs.len().saturating_add(left)) }
    }

    /// Whether so much waits for it to be read that nothing more should be said to it.
    pub(super) fn is_backlogged(&self) -> bool {
        self.out.len() + self.io_link.unread.load(Ordering::Relaxed) >= MAX_UNREAD_BYTES
    }

    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.free_slots(0) > 0
    }

    /// Whether it has taken all the runs of its life.
    pub(super) fn is_spent(&self, life: u64) -> bool {
        life > 0 && self.taken >= life
    }

    /// Whether it serves the plan and is to go on doing so.
    pub(super) fn is_permanent(&self, life: u64) -> bool {
        let serves =
            matches!(self.state, WorkerState::Booting | WorkerState::Serving) && self.role == Role::Plan;
        serves && self.outgoing.is_none() && !self.is_spent(life)
    }

    /// What decides whether it is to be replaced.
    pub(super) fn facts(&self) -> recycling::WorkerFacts {
        let Self { child, taken, started_at, memory, .. } = *self;
        recycling::WorkerFacts { number: child.0, taken, age: started_at.elapsed(), memory }
    }

    /// Whether it has been of no use, and has not lived for long: when it ends now, and not because we said so, its boot
    /// has failed.
    pub(super) fn is_unproved(&self) -> bool {
        self.ready_at.is_none_or(|at| self.taken == 0 && at.elapsed() < boot_backoff::MIN_USEFUL_LIFE)
    }

    /// Whether it ended by itself before it was of any use.
    pub(super) fn is_failed_start(&self, exit: Option<Exit>) -> bool {
        exit.is_some() && self.kill_reason.is_none() && self.state.is_staying() && self.is_unproved()
    }

    /// Hands the queued frames to the I/O task.
    pub(super) fn flush(&mut self) {
        if !self.out.is_empty() {
            self.io_link.unread.fetch_add(self.out.len(), Ordering::Relaxed);
            // The task ends only after it was told to drain, when nothing is left to say.
            let _ = self.io_link.io.send(IoCommand::Send(std::mem::take(&mut self.out)));
        }
    }

    /// The process is gone: read what it left and close.
    pub(super) fn drain(&mut self) {
        let _ = self.io_link.io.send(IoCommand::Drain);
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
