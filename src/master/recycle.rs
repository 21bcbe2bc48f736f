//! When and how a master that needs too much memory begins anew: it drains every channel, as a stop would, then runs its
//! program again ([`Again`]).

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::again::Again;
use super::check::{Check, Served};
use super::memory::{self, Memory, Verdict};
use super::run_dir::Lock;
use super::{Ended, Listen};
use crate::channel::Stopped;

/// What a master that begins anew does next.
pub(super) enum Step {
    /// See whether it could: answer with [`Recycle::check`].
    Check,
    /// Drain every channel.
    Drain,
}

/// See the module.
pub(super) struct Recycle {
    memory: Memory,
    tick: Interval,
    allowed: bool,
    check: Check,
    checking: JoinSet<Result<(), String>>,
    draining: bool,
    locks: BTreeMap<String, Lock>,
    /// The channels that were quiet, and will be again.
    quiet: BTreeSet<String>,
    /// The fewest workers, where they were set by hand and are to stay so.
    fewest: BTreeMap<String, usize>,
}

impl Recycle {
    /// `count` is what the program before has told this one.
    pub(super) fn new(listen: &Listen, count: u32) -> Self {
        let mut tick = interval(memory::EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            memory: Memory::new(listen.memory_limit(), count, Instant::now()),
            tick,
            allowed: listen.may_begin_anew,
            check: Check { config: listen.config.clone(), http: listen.http },
            checking: JoinSet::new(),
            draining: false,
            locks: BTreeMap::new(),
            quiet: BTreeSet::new(),
            fewest: BTreeMap::new(),
        }
    }

    /// Waits for the next step. Nothing is lost when it is dropped before.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            tokio::select! {
                Some(found) = self.checking.join_next() => {
                    self.begin(found.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}"))));
                    if self.draining {
                        return Step::Drain;
                    }
                }
                _ = self.tick.tick() => if self.is_due() {
                    return Step::Check;
                },
            }
        }
    }

    fn is_due(&mut self) -> bool {
        if !self.allowed || self.draining || !self.checking.is_empty() {
            return false;
        }
        let Some(used) = memory::used() else { return false };
        match self.memory.sample(used, Instant::now()) {
            Verdict::Fine => {}
            Verdict::Warn(why) => warn!(used_mib = used >> 20, "{why}"),
            Verdict::Recycle => {
                info!(used_mib = used >> 20, "the master needs more than its memory_limit");
                return true;
            }
        }
        false
    }

    /// Sees, beside all else that goes on, whether the next program could serve these channels.
    pub(super) fn check(&mut self, served: Vec<Served>) {
        self.checking.spawn(self.check.clone().run(served));
    }

    fn begin(&mut self, could_serve: Result<(), String>) {
        match could_serve {
            Ok(()) => {
                info!(
                    "beginning anew: every channel finishes what runs, then this program is run again in this process"
                );
                self.draining = true;
            }
            Err(why) => {
                // A list of mistakes is one line of the log, too.
                let why = why.replace("\n  ", "; ");
                warn!(why, "the master does not begin anew now, as it could not serve afterwards");
                self.memory.put_off(Instant::now());
            }
        }
    }

    /// Whether the channels end only to be served again.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// A stop goes before.
    pub(super) fn give_up(&mut self) {
        self.draining = false;
        self.allowed = false;
        self.checking = JoinSet::new();
        self.locks.clear();
    }

    /// A channel has ended, to be served again.
    pub(super) fn keep(&mut self, channel: &str, lock: Lock, stopped: &Stopped) {
        let name = || channel.to_owned();
        self.locks.insert(name(), lock);
        self.quiet.extend(stopped.quiet.then(name));
        self.fewest.extend(stopped.fewest.map(|fewest| (name(), fewest)));
    }

    /// Everything has ended.
    pub(super) fn end(self) -> Ended {
        let keep = |(name, lock): (String, Lock)| match lock.keep() {
            Ok(fd) => Some((name, fd)),
            Err(error) => {
                warn!(channel = name, %error, "its lock cannot be kept: the channel is not served any more");
                None
            }
        };
        let locks: BTreeMap<_, _> = self.locks.into_iter().filter_map(keep).collect();
        if locks.is_empty() {
            return Ended::Stopped;
        }
        let count = self.memory.next_count(Instant::now());
        Ended::BeginAnew(Again { count, locks, quiet: self.quiet, fewest: self.fewest })
    }
}
