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

use super::fresh::Files;
use super::io::ToIo;
use super::output::Tag;
use super::{recycle, respawn};
use crate::guardian::handle::{ChildId, Exit};
use crate::job::JobId;
use crate::wire::{FromWorker, RunId};

/// A worker for which this many bytes wait is given no more: it does not read, or not fast enough.
pub(super) const MAX_UNREAD: usize = 4 << 20;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Started, not yet said hello.
    Booting,
    /// Takes runs.
    Ready,
    /// Takes no more runs, for its replacement is there; leaves when those aboard have ended.
    Draining,
    /// Takes no more runs; a stuck one is aboard, its siblings may finish.
    Retiring,
    /// Told to stop.
    Leaving,
    /// Being killed.
    Dying,
}

impl Phase {
    /// Whether it has not been told to go.
    pub(super) fn is_staying(self) -> bool {
        matches!(self, Self::Booting | Self::Ready | Self::Draining)
    }
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Serves the plan.
    Plan,
    /// Shows whether the next generation can be started; runs nothing before that takes over.
    Trial,
    /// Runs suspects, one at a time.
    Isolated,
}

/// Why we kill a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
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
    pub(super) phase: Phase,
    pub(super) pid: Option<i32>,
    pub(super) slots: usize,
    /// The runs it has not answered.
    pub(super) aboard: HashSet<RunId>,
    /// Frames that wait to be handed to the I/O task.
    pub(super) out: Vec<u8>,
    pub(super) violations: u32,
    /// Questions it waits for the answer of.
    pub(super) asking: usize,
    pub(super) doom: Option<Doom>,
    pub(super) exit: Option<Exit>,
    /// Its end of the socket is closed.
    pub(super) hung_up: bool,
    /// When its timer fires.
    pub(super) due: Option<Instant>,
    /// Its hello, when that came before the guardian had said its number.
    pub(super) early: Option<FromWorker>,
    /// Since when it is ready: it said hello, or needs to say none.
    pub(super) ready_at: Option<Instant>,
    /// Why it was started, for people.
    pub(super) why: String,
    /// Bytes it used when last looked at.
    pub(super) memory: Option<u64>,
    /// Why it is to be replaced.
    pub(super) outgoing: Option<recycle::Why>,
    /// What it was made from.
    pub(super) files: Files,
    /// Why it counts as a boot that failed once it is gone.
    pub(super) failed: Option<String>,
    /// Its replacement has been started.
    pub(super) replaced: bool,
    /// Runs it was given.
    pub(super) taken: u64,
    pub(super) born: Instant,
    ties: Ties,
}

/// What ties a worker to the task that serves its descriptors.
#[derive(Debug)]
pub(super) struct Ties {
    /// What the task is told.
    pub(super) io: mpsc::UnboundedSender<ToIo>,
    /// Bytes handed to the task that the worker has not read.
    pub(super) unread: Arc<AtomicUsize>,
    /// The pid and, when exactly one is aboard, the job: for the lines it prints.
    pub(super) tag: Arc<Tag>,
}

impl Ties {
    /// Ties to nobody, for a worker that was never born.
    pub(super) fn cut() -> Self {
        Self { io: mpsc::unbounded_channel().0, unread: Arc::default(), tag: Arc::default() }
    }
}

impl Worker {
    pub(super) fn new(
        child: ChildId,
        (role, generation): (Role, u64),
        phase: Phase,
        why: String,
        ties: Ties,
    ) -> Self {
        Self {
            child,
            role,
            generation,
            phase,
            pid: None,
            slots: 1,
            aboard: HashSet::new(),
            out: Vec::new(),
            violations: 0,
            asking: 0,
            doom: None,
            exit: None,
            hung_up: false,
            due: None,
            early: None,
            ready_at: (phase == Phase::Ready).then(Instant::now),
            why,
            memory: None,
            outgoing: None,
            files: Files::default(),
            failed: None,
            replaced: false,
            taken: 0,
            born: Instant::now(),
            ties,
        }
    }

    pub(super) fn started(&mut self, pid: i32) {
        self.pid = Some(pid);
        self.ties.tag.pid.store(u64::from(pid.unsigned_abs()), Ordering::Relaxed);
    }

    pub(super) fn hello(&mut self, slots: usize) {
        self.phase = Phase::Ready;
        self.slots = slots;
        self.ready_at = Some(Instant::now());
    }

    pub(super) fn take(&mut self, run: RunId, id: JobId) {
        self.aboard.insert(run);
        self.taken += 1;
        self.tag_job((self.aboard.len() == 1).then_some(id));
    }

    pub(super) fn leave(&mut self, run: RunId) {
        self.aboard.remove(&run);
        self.tag_job(None);
    }

    /// Names the job that printed lines belong to; `None` when it is not known which.
    pub(super) fn tag_job(&self, id: Option<JobId>) {
        self.ties.tag.job.store(id.map_or(0, |id| id.0), Ordering::Relaxed);
    }

    /// How many runs it can take now; `life` is the number it may take in all, 0 for no limit.
    pub(super) fn free_slots(&self, life: u64) -> usize {
        if self.phase != Phase::Ready || self.doom.is_some() || self.hung_up || self.exit.is_some() {
            return 0;
        }
        if self.reads_too_little() {
            return 0;
        }
        let free = self.slots.saturating_sub(self.aboard.len());
        match life {
            0 => free,
            _ => free.min(usize::try_from(life.saturating_sub(self.taken)).unwrap_or(usize::MAX)),
        }
    }

    /// How many runs it can have aboard by now; those of its last ones that have ended leave their slots empty.
    pub(super) fn usable_slots(&self, life: u64) -> usize {
        let left = usize::try_from(life.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        if life == 0 { self.slots } else { self.slots.min(self.aboard.len().saturating_add(left)) }
    }

    /// Whether so much waits for it to be read that nothing more should be said to it.
    pub(super) fn reads_too_little(&self) -> bool {
        self.out.len() + self.ties.unread.load(Ordering::Relaxed) >= MAX_UNREAD
    }

    pub(super) fn is_idle(&self) -> bool {
        self.aboard.is_empty() && self.free_slots(0) > 0
    }

    /// Whether it has taken all the runs of its life.
    pub(super) fn is_spent(&self, life: u64) -> bool {
        life > 0 && self.taken >= life
    }

    /// Whether it serves the plan and is to go on doing so.
    pub(super) fn is_lasting(&self, life: u64) -> bool {
        let serves = matches!(self.phase, Phase::Booting | Phase::Ready) && self.role == Role::Plan;
        serves && self.outgoing.is_none() && !self.is_spent(life)
    }

    /// What decides whether it is to be replaced.
    pub(super) fn facts(&self) -> recycle::Facts {
        let Self { child, taken, born, memory, .. } = *self;
        recycle::Facts { number: child.0, taken, age: born.elapsed(), memory }
    }

    /// Whether it has been of no use, and has not lived for long: when it ends now, and not because we said so, its boot
    /// has failed.
    pub(super) fn is_unproved(&self) -> bool {
        self.ready_at.is_none_or(|at| self.taken == 0 && at.elapsed() < respawn::YOUNG)
    }

    /// Whether it ended by itself before it was of any use.
    pub(super) fn died_young(&self, exit: Option<Exit>) -> bool {
        exit.is_some() && self.doom.is_none() && self.phase.is_staying() && self.is_unproved()
    }

    /// Hands the queued frames to the I/O task.
    pub(super) fn flush(&mut self) {
        if !self.out.is_empty() {
            self.ties.unread.fetch_add(self.out.len(), Ordering::Relaxed);
            // The task ends only after it was told to drain, when nothing is left to say.
            let _ = self.ties.io.send(ToIo::Send(std::mem::take(&mut self.out)));
        }
    }

    /// The process is gone: read what it left and close.
    pub(super) fn drain(&mut self) {
        let _ = self.ties.io.send(ToIo::Drain);
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
