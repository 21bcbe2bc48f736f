//! The guardian's children: workers and strays, the descendants of workers that were re-parented to the guardian.
//!
//! - Reaps every child, workers and strays alike.
//! - When a worker ends, kills its process group before reaping it, then its strays, scanning until none is left. Only
//!   then is the worker's exit reported.
//! - Never blocks: each [`ProcessTrees::advance`] does what is possible now, and [`ProcessTrees::next_advance`] says when
//!   to call it again.
//!
//! The guardian is the subreaper of all its descendants, so every descendant of a dead worker is below one of the
//! guardian's own children. A tree is gone when no child of the guardian belongs to it, which for an ordinary exit of a
//! worker takes one read of one list.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::handle::{ChildId, Exit};
use super::procfs::{self, Cookie, OwnChildren, Stat};
use super::signals::{SignalResult, kill_tree, signal_group};
use super::stray_policy::{Origin, ParentWorker, StrayAction, decide, may_descend_from};
use crate::fd;

/// How long the report of a worker's exit waits for killed strays that do not die.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the report of a worker's exit waits for strays that die but are always followed by new ones.
const RESPAWNING_LEFTOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a kill a live process counts as stuck, so that its descendants are killed again.
const STUCK_AFTER: Duration = Duration::from_millis(20);
/// Shortest and longest interval between two scans while killed processes are left.
const SCAN_INTERVAL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// Most children reaped per call, so that a burst of exits cannot delay requests.
const MAX_REAPS_PER_CALL: usize = 1024;

/// A report to the master.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TreeEvent {
    /// A worker has ended and its process tree is gone.
    Ended(ChildId, Exit),
    /// A line for the log.
    Log(String),
}

#[derive(Debug)]
struct WorkerProcess {
    pid: i32,
    start_time: u64,
    state: ProcessState,
}

#[derive(Clone, Copy, Debug)]
enum ProcessState {
    Running,
    /// Killed, but still alive.
    Killed {
        since: Instant,
        signalled: SignalResult,
        logged: bool,
    },
    /// Dead and reaped; its pid may belong to another process.
    Reaped {
        since: Instant,
        exit: Exit,
    },
}

#[derive(Debug)]
struct Stray {
    origin: Origin,
    start_time: u64,
    leads_group: bool,
    first_seen: Instant,
    /// Time of the kill.
    killed_at: Option<Instant>,
    /// The kernel refuses signals to it, so no exit waits for it.
    unkillable: bool,
}

/// Workers and strays of the guardian. See the module.
#[derive(Debug)]
pub(super) struct ProcessTrees {
    cookie_base: String,
    children: OwnChildren,
    workers: HashMap<ChildId, WorkerProcess>,
    by_pid: HashMap<i32, ChildId>,
    strays: HashMap<i32, Stray>,
    /// Set when the guardian ends: every child is killed.
    killing_all: bool,
    /// Whether an exit or a kill may have left new strays.
    rescan: bool,
    /// Time of the last exit or kill; the interval between scans grows with its age.
    last_progress: Instant,
    /// Time at which stuck processes were last killed again.
    last_stuck_check: Instant,
    events: Vec<TreeEvent>,
}

impl ProcessTrees {
    /// Without children. The cookie of a child is `cookie_base`, a colon and the child's id.
    pub(super) fn new(cookie_base: String, now: Instant) -> Self {
        Self {
            cookie_base,
            children: OwnChildren::new(),
            workers: HashMap::new(),
            by_pid: HashMap::new(),
            strays: HashMap::new(),
            killing_all: false,
            rescan: false,
            last_progress: now,
            last_stuck_check: now,
            events: Vec::new(),
        }
    }

    /// The cookie of a child, inherited by its descendants.
    pub(super) fn cookie(&self, scope: &str, child: ChildId) -> String {
        let colon = if scope.is_empty() { "" } else { ":" };
        format!("{scope}{colon}{}:{}", self.cookie_base, child.0)
    }

    /// Adds a started worker; `start_time` was read before the start.
    pub(super) fn add_worker(&mut self, child: ChildId, pid: i32, start_time: u64) {
        self.by_pid.insert(pid, child);
        self.workers.insert(child, WorkerProcess { pid, start_time, state: ProcessState::Running });
    }

    /// Sends SIGTERM to a worker's process group, unless the worker has ended.
    pub(super) fn terminate(&mut self, child: ChildId) {
        if let Some(WorkerProcess { pid, state: ProcessState::Running, .. }) = self.workers.get(&child) {
            signal_group(*pid, Signal::SIGTERM);
        }
    }

    /// Sends SIGKILL to a worker's whole process tree.
    pub(super) fn kill(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if let ProcessState::Running = worker.state {
            let signalled = kill_tree(worker.pid, true);
            worker.state = ProcessState::Killed { since: now, signalled, logged: false };
            self.rescan = true;
            self.last_progress = now;
        }
    }

    /// Sends SIGKILL to the trees of all running workers, and returns the workers.
    pub(super) fn kill_running(&mut self, now: Instant) -> Vec<ChildId> {
        let is_running = |worker: &WorkerProcess| matches!(worker.state, ProcessState::Running);
        let running: Vec<_> = self.workers.iter().filter(|(_, w)| is_running(w)).map(|(id, _)| *id).collect();
        for child in &running {
            self.kill(*child, now);
        }
        running
    }

    /// Sends SIGKILL to every child and stray, with or without a cookie; [`ProcessTrees::is_empty`] says when all are gone.
    pub(super) fn kill_all(&mut self, now: Instant) {
        self.killing_all = true;
        let children: Vec<ChildId> = self.workers.keys().copied().collect();
        for child in children {
            self.kill(child, now);
        }
        self.rescan = true;
    }

    /// Whether no children are left except those that the kernel refuses to kill.
    pub(super) fn is_empty(&self) -> bool {
        let forbidden = |w: &WorkerProcess| {
            matches!(w.state, ProcessState::Killed { signalled: SignalResult::NotPermitted, .. })
        };
        !self.rescan && self.workers.values().all(forbidden) && self.strays.values().all(|s| s.unkillable)
    }

    /// Time until the next [`ProcessTrees::advance`] if no child ends before; `None` when nothing is pending.
    pub(super) fn next_advance(&self, now: Instant) -> Option<Duration> {
        if self.rescan {
            return Some(Duration::ZERO);
        }
        let worker_left = self.workers.values().any(|w| !matches!(w.state, ProcessState::Running));
        let stray_left = self.strays.values().any(|s| s.killed_at.is_some() && !s.unkillable);
        let pause = now.duration_since(self.last_progress) / 2;
        (worker_left || stray_left).then(|| pause.clamp(SCAN_INTERVAL.0, SCAN_INTERVAL.1))
    }

    /// Reaps ended children, kills strays, and returns what to report.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<TreeEvent> {
        self.reap(now);
        if self.next_advance(now).is_some() {
            self.scan_children(now);
            if now.duration_since(self.last_stuck_check) >= STUCK_AFTER {
                self.last_stuck_check = now;
                self.kill_stuck_again(now);
            }
            self.report_ends(now);
        }
        std::mem::take(&mut self.events)
    }

    /// Reaps every ended child.
    fn reap(&mut self, now: Instant) {
        for _ in 0..MAX_REAPS_PER_CALL {
            let Some(fd::EndedChild { pid, status, cause }) = fd::peek_ended_child() else { return };
            let exit = match cause {
                fd::EndCause::Exit => Exit::Code(status),
                fd::EndCause::Signal => Exit::Signal(status),
                fd::EndCause::CoreDump => Exit::CoreDumped(status),
            };
            self.last_progress = now;
            match self.by_pid.remove(&pid) {
                Some(child) => {
                    let worker =
                        self.workers.get_mut(&child).expect("every pid belongs to a worker in the table");
                    // Kill the group now: while its leader is a zombie, the group id cannot be reused. Forking cannot
                    // outrun a signal to a group.
                    signal_group(pid, Signal::SIGKILL);
                    worker.state = ProcessState::Reaped { since: now, exit };
                    self.rescan = true;
                }
                None => {
                    // The children of a killed stray are re-parented to the guardian.
                    self.rescan |= self.strays.remove(&pid).is_some_and(|s| s.killed_at.is_some());
                }
            }
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        self.rescan = true;
    }

    /// Scans the children of the guardian and kills the strays whose worker has ended.
    fn scan_children(&mut self, now: Instant) {
        self.rescan = false;
        let strays: Vec<i32> =
            self.children.read().into_iter().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        if strays.is_empty() {
            return;
        }
        let parent_workers = self.parent_workers();
        for pid in strays {
            // An unreaped child cannot disappear. A child that /proc does not show runs as another user, so it could not be
            // signalled either.
            let Some(mut stray) = self.strays.remove(&pid).or_else(|| self.new_stray(pid, now)) else {
                continue;
            };
            if stray.origin == Origin::Undetermined && now.duration_since(stray.first_seen) >= SCAN_INTERVAL.0
            {
                stray.origin = match self.origin_of(pid, None) {
                    Some(Origin::Undetermined) | None => Origin::Unknown,
                    Some(known) => known,
                };
            }
            let is_orphaned = || decide(stray.origin, stray.start_time, &parent_workers) == StrayAction::Kill;
            if stray.killed_at.is_none() && (self.killing_all || is_orphaned()) {
                stray.killed_at = Some(now);
                self.last_progress = now;
                if kill_tree(pid, stray.leads_group) == SignalResult::NotPermitted {
                    stray.unkillable = true;
                    self.events.push(TreeEvent::Log(format!(
                        "process {pid} of a worker that has ended runs as another user: it cannot be killed"
                    )));
                }
            }
            self.strays.insert(pid, stray);
        }
    }

    /// Records a stray at its first scan. A zombie is recorded too; the next call reaps it.
    fn new_stray(&self, pid: i32, now: Instant) -> Option<Stray> {
        let stat = procfs::stat(pid)?;
        Some(Stray {
            origin: self.origin_of(pid, Some(stat))?,
            start_time: stat.start_time,
            leads_group: stat.group == pid,
            first_seen: now,
            killed_at: None,
            unkillable: false,
        })
    }

    /// The worker that a child of the guardian descends from; `None` when the child has just ended.
    fn origin_of(&self, pid: i32, stat: Option<Stat>) -> Option<Origin> {
        let cookie = procfs::cookie(pid);
        let ours = match &cookie {
            Cookie::Present(text) => {
                let (owner, number) = text.rsplit_once(':').unwrap_or_default();
                // The part before the base is the scope.
                let is_ours =
                    owner.strip_suffix(&self.cookie_base).is_some_and(|s| s.is_empty() || s.ends_with(':'));
                number.parse().ok().filter(|_| is_ours).map(ChildId)
            }
            Cookie::NoProcess => return None,
            Cookie::Absent | Cookie::NoEnvironment => None,
        };
        let by_group = || self.by_pid.get(&stat.or_else(|| procfs::stat(pid))?.group).copied();
        Some(match ours.or_else(by_group) {
            Some(child) => Origin::Worker(child),
            None if cookie == Cookie::NoEnvironment => Origin::Undetermined,
            None => Origin::Unknown,
        })
    }

    /// Kills the descendants of stuck processes: they are not re-parented to the guardian while their parent is alive.
    fn kill_stuck_again(&mut self, now: Instant) {
        for worker in self.workers.values_mut() {
            let ProcessState::Killed { since, signalled, logged } = &mut worker.state else { continue };
            let waited = now.duration_since(*since);
            if waited >= STUCK_AFTER {
                *signalled = kill_tree(worker.pid, true);
            }
            if waited >= LEFTOVER_TIMEOUT && !*logged {
                *logged = true;
                let why = match signalled {
                    SignalResult::Sent => "stuck in a system call",
                    SignalResult::NotPermitted => "running as another user, which may not be signalled",
                };
                self.events.push(TreeEvent::Log(format!(
                    "worker process {} is still alive after SIGKILL: {why}",
                    worker.pid
                )));
            }
        }
        for (pid, stray) in &self.strays {
            if stray.killed_at.is_some_and(|since| now.duration_since(since) >= STUCK_AFTER)
                && !stray.unkillable
            {
                kill_tree(*pid, stray.leads_group);
            }
        }
    }

    /// Reports the dead workers whose tree is gone or did not disappear in time.
    fn report_ends(&mut self, now: Instant) {
        let mut ended = Vec::new();
        let parent_workers = self.parent_workers();
        for (child, worker) in &self.workers {
            let ProcessState::Reaped { since, exit } = worker.state else { continue };
            let parent = ParentWorker { child: *child, start_time: worker.start_time, alive: false };
            let left: Vec<i32> = self
                .strays
                .iter()
                .filter(|(_, s)| !s.unkillable && may_descend_from(s.origin, s.start_time, &parent))
                .filter(|(_, s)| {
                    s.killed_at.is_some()
                        || self.killing_all
                        || decide(s.origin, s.start_time, &parent_workers) != StrayAction::Leave
                })
                .map(|(pid, _)| *pid)
                .collect();
            let is_gone = left.is_empty();
            let is_stuck = now.duration_since(self.last_progress.max(since)) >= LEFTOVER_TIMEOUT;
            if is_gone || is_stuck || now.duration_since(since) >= RESPAWNING_LEFTOVER_TIMEOUT {
                ended.push((*child, exit, left));
            }
        }
        for (child, exit, left) in ended {
            self.workers.remove(&child);
            if !left.is_empty() {
                self.events.push(TreeEvent::Log(format!(
                    "processes {left:?} of a worker that has ended are still alive after SIGKILL"
                )));
            }
            self.events.push(TreeEvent::Ended(child, exit));
        }
    }

    fn parent_workers(&self) -> Vec<ParentWorker> {
        let parent = |(child, w): (&ChildId, &WorkerProcess)| ParentWorker {
            child: *child,
            start_time: w.start_time,
            alive: matches!(w.state, ProcessState::Running),
        };
        self.workers.iter().map(parent).collect()
    }
}
