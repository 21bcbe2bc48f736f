//! The guardian's children and what they leave behind: who runs, who is being killed, whose tree is gone.
//!
//! - Reaps every child, workers and strays alike.
//! - When a worker ends, by itself or not, kills its process group before it is reaped, then every stray that
//!   is its own, and looks again until there is none; only then is its end reported.
//! - Never waits: each [`Trees::turn`] does what can be done now and says when to come back.
//!
//! All descendants of a dead worker hang below children of this process, because it is their subreaper. So a
//! tree is gone when no child of this process belongs to it, and the ordinary end of a worker costs one read
//! of one list.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::fate::{Fate, Origin, Parent, fate, may_be_of};
use super::handle::{ChildId, Exit};
use super::kill::{Reach, kill_tree, signal_group};
use super::procfs::{self, Cookie, OwnChildren, Stat};
use crate::fd;

/// How long a worker's end waits for leftovers that do not die.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long it waits for leftovers that do die, but are always followed by others.
const LONGEST_STORM: Duration = Duration::from_secs(5);
/// After this long a killed process counts as stuck, and what hangs below it is looked for again.
const STUCK_AFTER: Duration = Duration::from_millis(20);
/// Shortest and longest pause between two looks while something is left.
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// Most ends taken in one turn, so that a storm of them does not keep requests waiting.
const MOST_ENDS: usize = 1024;

/// Something to report to the master.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A worker ended and its tree is gone.
    Ended(ChildId, Exit),
    /// For the log.
    Note(String),
}

#[derive(Debug)]
struct Worker {
    pid: i32,
    born: u64,
    life: Life,
}

#[derive(Clone, Copy, Debug)]
enum Life {
    Running,
    /// Killed, but not dead yet.
    Doomed {
        since: Instant,
        reach: Reach,
        noted: bool,
    },
    /// Dead and reaped; its pid is no longer ours to signal.
    Dead {
        since: Instant,
        exit: Exit,
    },
}

#[derive(Debug)]
struct Stray {
    origin: Origin,
    born: u64,
    leads_group: bool,
    first_seen: Instant,
    /// When it was killed.
    doomed: Option<Instant>,
    /// It may not be signalled by us, so nobody waits for it.
    beyond_reach: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trees {
    cookie_base: String,
    children: OwnChildren,
    workers: HashMap<ChildId, Worker>,
    by_pid: HashMap<i32, ChildId>,
    strays: HashMap<i32, Stray>,
    /// Set at the end of the guardian: everything goes.
    all_must_go: bool,
    /// Something happened that may have left strays.
    look: bool,
    /// When something last ended or was killed; the longer ago, the longer the pauses.
    progress: Instant,
    /// When the stuck were last looked after.
    pushed: Instant,
    words: Vec<Word>,
}

impl Trees {
    /// No children yet. Their cookies will be `cookie_base`, a colon and the child's number.
    pub(super) fn new(cookie_base: String, now: Instant) -> Self {
        Self {
            cookie_base,
            children: OwnChildren::new(),
            workers: HashMap::new(),
            by_pid: HashMap::new(),
            strays: HashMap::new(),
            all_must_go: false,
            look: false,
            progress: now,
            pushed: now,
            words: Vec::new(),
        }
    }

    /// The cookie that a child and all it starts carry.
    pub(super) fn cookie(&self, scope: &str, child: ChildId) -> String {
        let colon = if scope.is_empty() { "" } else { ":" };
        format!("{scope}{colon}{}:{}", self.cookie_base, child.0)
    }

    /// A worker was started; `born` was taken before.
    pub(super) fn started(&mut self, child: ChildId, pid: i32, born: u64) {
        self.by_pid.insert(pid, child);
        self.workers.insert(child, Worker { pid, born, life: Life::Running });
    }

    /// SIGTERM to a worker's process group; nothing when it has ended.
    pub(super) fn terminate(&mut self, child: ChildId) {
        if let Some(Worker { pid, life: Life::Running, .. }) = self.workers.get(&child) {
            signal_group(*pid, Signal::SIGTERM);
        }
    }

    /// SIGKILL to a worker's whole tree.
    pub(super) fn kill(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if let Life::Running = worker.life {
            let reach = kill_tree(worker.pid, true);
            worker.life = Life::Doomed { since: now, reach, noted: false };
            self.look = true;
            self.progress = now;
        }
    }

    /// SIGKILL to everything there is, whatever it carries; [`Trees::is_empty`] tells when it is done.
    pub(super) fn kill_all(&mut self, now: Instant) {
        self.all_must_go = true;
        let children: Vec<ChildId> = self.workers.keys().copied().collect();
        for child in children {
            self.kill(child, now);
        }
        self.look = true;
    }

    /// Whether this process has no children left but those the system forbids it to kill.
    pub(super) fn is_empty(&self) -> bool {
        let forbidden = |w: &Worker| matches!(w.life, Life::Doomed { reach: Reach::Forbidden, .. });
        !self.look && self.workers.values().all(forbidden) && self.strays.values().all(|s| s.beyond_reach)
    }

    /// When to take the next turn even though no child ends until then; `None` when there is nothing left to do.
    pub(super) fn next_turn(&self, now: Instant) -> Option<Duration> {
        if self.look {
            return Some(Duration::ZERO);
        }
        let worker_left = self.workers.values().any(|w| !matches!(w.life, Life::Running));
        let stray_left = self.strays.values().any(|s| s.doomed.is_some() && !s.beyond_reach);
        let pause = now.duration_since(self.progress) / 2;
        (worker_left || stray_left).then(|| pause.clamp(TICK.0, TICK.1))
    }

    /// Reaps, kills what is to be killed, and tells what has ended.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Word> {
        self.reap(now);
        if self.next_turn(now).is_some() {
            self.look_at_children(now);
            if now.duration_since(self.pushed) >= STUCK_AFTER {
                self.pushed = now;
                self.push_the_stuck(now);
            }
            self.report_ends(now);
        }
        std::mem::take(&mut self.words)
    }

    /// Takes every end there is.
    fn reap(&mut self, now: Instant) {
        for _ in 0..MOST_ENDS {
            let Some((pid, exit)) = fd::peek_dead() else { return };
            self.progress = now;
            match self.by_pid.remove(&pid) {
                Some(child) => {
                    let worker =
                        self.workers.get_mut(&child).expect("every pid belongs to a worker in the table");
                    // While the leader is a zombie its group's number is still ours, so this is the moment.
                    // A signal to a group cannot be outrun by forking.
                    signal_group(pid, Signal::SIGKILL);
                    worker.life = Life::Dead { since: now, exit };
                    self.look = true;
                }
                None => {
                    // What hung below a killed stray is ours now.
                    self.look |= self.strays.remove(&pid).is_some_and(|s| s.doomed.is_some());
                }
            }
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        self.look = true;
    }

    /// Lists the children of this process and kills the strays whose time has come.
    fn look_at_children(&mut self, now: Instant) {
        self.look = false;
        let strays: Vec<i32> =
            self.children.read().into_iter().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        if strays.is_empty() {
            return;
        }
        let parents = self.parents();
        for pid in strays {
            // Unreaped children do not vanish. One that /proc hides from us belongs to another user, so it could
            // not be signalled either.
            let Some(mut stray) = self.strays.remove(&pid).or_else(|| self.meet(pid, now)) else { continue };
            if stray.origin == Origin::Unclear && now.duration_since(stray.first_seen) >= TICK.0 {
                stray.origin = match self.origin_of(pid, None) {
                    Some(Origin::Unclear) | None => Origin::Unknown,
                    Some(known) => known,
                };
            }
            if stray.doomed.is_none() && self.is_to_die(&stray, &parents) {
                stray.doomed = Some(now);
                self.progress = now;
                if kill_tree(pid, stray.leads_group) == Reach::Forbidden {
                    stray.beyond_reach = true;
                    self.words.push(Word::Note(format!(
                        "process {pid}, left behind by a worker, runs as another user and cannot be killed"
                    )));
                }
            }
            self.strays.insert(pid, stray);
        }
    }

    fn is_to_die(&self, stray: &Stray, parents: &[Parent]) -> bool {
        self.all_must_go || fate(stray.origin, stray.born, parents) == Fate::Kill
    }

    /// A stray that is seen for the first time. A zombie among them is reaped by the next turn.
    fn meet(&self, pid: i32, now: Instant) -> Option<Stray> {
        let stat = procfs::stat(pid)?;
        Some(Stray {
            origin: self.origin_of(pid, Some(stat))?,
            born: stat.start_time,
            leads_group: stat.group == pid,
            first_seen: now,
            doomed: None,
            beyond_reach: false,
        })
    }

    /// Which worker a child of this process came from; `None` when it has just ended.
    fn origin_of(&self, pid: i32, stat: Option<Stat>) -> Option<Origin> {
        let cookie = procfs::cookie(pid);
        let ours = match &cookie {
            Cookie::Is(text) => {
                let (owner, number) = text.rsplit_once(':').unwrap_or_default();
                // Whatever stands before the base is the scope.
                let is_ours =
                    owner.strip_suffix(&self.cookie_base).is_some_and(|s| s.is_empty() || s.ends_with(':'));
                number.parse().ok().filter(|_| is_ours).map(ChildId)
            }
            Cookie::Gone => return None,
            Cookie::None | Cookie::Empty => None,
        };
        let by_group = || self.by_pid.get(&stat.or_else(|| procfs::stat(pid))?.group).copied();
        Some(match ours.or_else(by_group) {
            Some(child) => Origin::Worker(child),
            None if cookie == Cookie::Empty => Origin::Unclear,
            None => Origin::Unknown,
        })
    }

    /// A killed process that does not die keeps its children from coming to us, so they are looked for below it.
    fn push_the_stuck(&mut self, now: Instant) {
        for worker in self.workers.values_mut() {
            let Life::Doomed { since, reach, noted } = &mut worker.life else { continue };
            let waited = now.duration_since(*since);
            if waited >= STUCK_AFTER {
                *reach = kill_tree(worker.pid, true);
            }
            if waited >= LONGEST_WAIT && !*noted {
                *noted = true;
                let why = match reach {
                    Reach::Signalled => "it is stuck in the kernel",
                    Reach::Forbidden => "it runs as another user, whom we may not signal",
                };
                self.words.push(Word::Note(format!("worker process {} does not die: {why}", worker.pid)));
            }
        }
        for (pid, stray) in &self.strays {
            if stray.doomed.is_some_and(|since| now.duration_since(since) >= STUCK_AFTER)
                && !stray.beyond_reach
            {
                kill_tree(*pid, stray.leads_group);
            }
        }
    }

    /// Reports the dead workers whose tree is gone, or has had its time.
    fn report_ends(&mut self, now: Instant) {
        let mut ended = Vec::new();
        let parents = self.parents();
        for (child, worker) in &self.workers {
            let Life::Dead { since, exit } = worker.life else { continue };
            let parent = Parent { child: *child, born: worker.born, lives: false };
            let left: Vec<i32> = self
                .strays
                .iter()
                .filter(|(_, s)| !s.beyond_reach && may_be_of(s.origin, s.born, &parent))
                .filter(|(_, s)| {
                    s.doomed.is_some() || self.all_must_go || fate(s.origin, s.born, &parents) != Fate::Leave
                })
                .map(|(pid, _)| *pid)
                .collect();
            let is_gone = left.is_empty();
            let is_stuck = now.duration_since(self.progress.max(since)) >= LONGEST_WAIT;
            if is_gone || is_stuck || now.duration_since(since) >= LONGEST_STORM {
                ended.push((*child, exit, left));
            }
        }
        for (child, exit, left) in ended {
            self.workers.remove(&child);
            if !left.is_empty() {
                self.words.push(Word::Note(format!(
                    "processes {left:?}, left behind by a worker that has ended, were killed and have not died yet"
                )));
            }
            self.words.push(Word::Ended(child, exit));
        }
    }

    fn parents(&self) -> Vec<Parent> {
        let lives = |life: &Life| matches!(life, Life::Running);
        let parent =
            |(child, w): (&ChildId, &Worker)| Parent { child: *child, born: w.born, lives: lives(&w.life) };
        self.workers.iter().map(parent).collect()
    }
}
