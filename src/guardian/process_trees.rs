//! The guardian's children and what they leave behind: who runs, who is being killed, whose tree is gone.
//!
//! - Reaps every child, workers and strays alike.
//! - When a worker ends, by itself or not, kills its process group before it is reaped, then every stray that
//!   is its own, and looks again until there is none; only then is its end reported.
//! - Never waits: each [`ProcessTrees::advance`] does what can be done now and says when to come back.
//!
//! All descendants of a dead worker hang below children of this process, because it is their subreaper. So a
//! tree is gone when no child of this process belongs to it, and the ordinary end of a worker costs one read
//! of one list.

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

/// How long a worker's end waits for leftovers that do not die.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for leftovers that do die, but are always followed by others.
const RESPAWNING_LEFTOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long a killed process counts as stuck, and what hangs below it is looked for again.
const STUCK_AFTER: Duration = Duration::from_millis(20);
/// Shortest and longest pause between two looks while something is left.
const SCAN_INTERVAL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// Most ends taken in one turn, so that a storm of them does not keep requests waiting.
const MAX_REAPS_PER_TURN: usize = 1024;

/// Something to report to the master.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TreeEvent {
    /// A worker ended and its tree is gone.
    Ended(ChildId, Exit),
    /// For the log.
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
    /// Killed, but not dead yet.
    Killed {
        since: Instant,
        signalled: SignalResult,
        logged: bool,
    },
    /// Dead and reaped; its pid is no longer ours to signal.
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
    /// When it was killed.
    killed_at: Option<Instant>,
    /// It may not be signalled by us, so nobody waits for it.
    unkillable: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct ProcessTrees {
    cookie_base: String,
    children: OwnChildren,
    workers: HashMap<ChildId, WorkerProcess>,
    by_pid: HashMap<i32, ChildId>,
    strays: HashMap<i32, Stray>,
    /// Set at the end of the guardian: everything goes.
    killing_all: bool,
    /// Something happened that may have left strays.
    rescan: bool,
    /// When something last ended or was killed; the longer ago, the longer the pauses.
    last_progress: Instant,
    /// When the stuck were last looked after.
    last_stuck_check: Instant,
    events: Vec<TreeEvent>,
}

impl ProcessTrees {
    /// No children yet. Their cookies will be `cookie_base`, a colon and the child's number.
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

    /// The cookie that a child and all it starts carry.
    pub(super) fn cookie(&self, scope: &str, child: ChildId) -> String {
        let colon = if scope.is_empty() { "" } else { ":" };
        format!("{scope}{colon}{}:{}", self.cookie_base, child.0)
    }

    /// A worker was started; `start_time` was taken before.
    pub(super) fn add_worker(&mut self, child: ChildId, pid: i32, start_time: u64) {
        self.by_pid.insert(pid, child);
        self.workers.insert(child, WorkerProcess { pid, start_time, state: ProcessState::Running });
    }

    /// SIGTERM to a worker's process group; nothing when it has ended.
    pub(super) fn terminate(&mut self, child: ChildId) {
        if let Some(WorkerProcess { pid, state: ProcessState::Running, .. }) = self.workers.get(&child) {
            signal_group(*pid, Signal::SIGTERM);
        }
    }

    /// SIGKILL to a worker's whole tree.
    pub(super) fn kill(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if let ProcessState::Running = worker.state {
            let signalled = kill_tree(worker.pid, true);
            worker.state = ProcessState::Killed { since: now, signalled, logged: false };
            self.rescan = true;
            self.last_progress = now;
        }
    }

    /// SIGKILL to everything there is, whatever it carries; [`ProcessTrees::is_empty`] tells when it is done.
    pub(super) fn kill_all(&mut self, now: Instant) {
        self.killing_all = true;
        let children: Vec<ChildId> = self.workers.keys().copied().collect();
        for child in children {
            self.kill(child, now);
        }
        self.rescan = true;
    }

    /// Whether this process has no children left but those the system forbids it to kill.
    pub(super) fn is_empty(&self) -> bool {
        let forbidden = |w: &WorkerProcess| {
            matches!(w.state, ProcessState::Killed { signalled: SignalResult::NotPermitted, .. })
        };
        !self.rescan && self.workers.values().all(forbidden) && self.strays.values().all(|s| s.unkillable)
    }

    /// When to take the next turn even though no child ends until then; `None` when there is nothing left to do.
    pub(super) fn next_advance(&self, now: Instant) -> Option<Duration> {
        if self.rescan {
            return Some(Duration::ZERO);
        }
        let worker_left = self.workers.values().any(|w| !matches!(w.state, ProcessState::Running));
        let stray_left = self.strays.values().any(|s| s.killed_at.is_some() && !s.unkillable);
        let pause = now.duration_since(self.last_progress) / 2;
        (worker_left || stray_left).then(|| pause.clamp(SCAN_INTERVAL.0, SCAN_INTERVAL.1))
    }

    /// Reaps, kills what is to be killed, and tells what has ended.
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

    /// Takes every end there is.
    fn reap(&mut self, now: Instant) {
        for _ in 0..MAX_REAPS_PER_TURN {
            let Some(fd::EndedChild { pid, status, by_signal }) = fd::peek_ended_child() else { return };
            let exit = if by_signal { Exit::Signal(status) } else { Exit::Code(status) };
            self.last_progress = now;
            match self.by_pid.remove(&pid) {
                Some(child) => {
                    let worker =
                        self.workers.get_mut(&child).expect("every pid belongs to a worker in the table");
                    // While the leader is a zombie its group's number is still ours, so this is the moment.
                    // A signal to a group cannot be outrun by forking.
                    signal_group(pid, Signal::SIGKILL);
                    worker.state = ProcessState::Reaped { since: now, exit };
                    self.rescan = true;
                }
                None => {
                    // What hung below a killed stray is ours now.
                    self.rescan |= self.strays.remove(&pid).is_some_and(|s| s.killed_at.is_some());
                }
            }
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        self.rescan = true;
    }

    /// Lists the children of this process and kills the strays whose time has come.
    fn scan_children(&mut self, now: Instant) {
        self.rescan = false;
        let strays: Vec<i32> =
            self.children.read().into_iter().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        if strays.is_empty() {
            return;
        }
        let parent_workers = self.parent_workers();
        for pid in strays {
            // Unreaped children do not vanish. One that /proc hides from us belongs to another user, so it could
            // not be signalled either.
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
            if stray.killed_at.is_none() && self.must_die(&stray, &parent_workers) {
                stray.killed_at = Some(now);
                self.last_progress = now;
                if kill_tree(pid, stray.leads_group) == SignalResult::NotPermitted {
                    stray.unkillable = true;
                    self.events.push(TreeEvent::Log(format!(
                        "process {pid}, left behind by a worker, runs as another user and cannot be killed"
                    )));
                }
            }
            self.strays.insert(pid, stray);
        }
    }

    fn must_die(&self, stray: &Stray, parent_workers: &[ParentWorker]) -> bool {
        self.killing_all || decide(stray.origin, stray.start_time, parent_workers) == StrayAction::Kill
    }

    /// A stray that is seen for the first time. A zombie among them is reaped by the next turn.
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

    /// Which worker a child of this process came from; `None` when it has just ended.
    fn origin_of(&self, pid: i32, stat: Option<Stat>) -> Option<Origin> {
        let cookie = procfs::cookie(pid);
        let ours = match &cookie {
            Cookie::Present(text) => {
                let (owner, number) = text.rsplit_once(':').unwrap_or_default();
                // Whatever stands before the base is the scope.
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

    /// A killed process that does not die keeps its children from coming to us, so they are looked for below it.
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
                    SignalResult::Sent => "it is stuck in the kernel",
                    SignalResult::NotPermitted => "it runs as another user, whom we may not signal",
                };
                self.events
                    .push(TreeEvent::Log(format!("worker process {} does not die: {why}", worker.pid)));
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

    /// Reports the dead workers whose tree is gone, or has had its time.
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
                    "processes {left:?}, left behind by a worker that has ended, were killed and have not died yet"
                )));
            }
            self.events.push(TreeEvent::Ended(child, exit));
        }
    }

    fn parent_workers(&self) -> Vec<ParentWorker> {
        let alive = |state: &ProcessState| matches!(state, ProcessState::Running);
        let parent = |(child, w): (&ChildId, &WorkerProcess)| ParentWorker {
            child: *child,
            start_time: w.start_time,
            alive: alive(&w.state),
        };
        self.workers.iter().map(parent).collect()
    }
}
