//! When and how a master that needs too much memory begins anew: it drains every channel, as a stop would, then runs its
//! program again ([`Again`]).

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::handover::Handover;
use super::preflight::{Preflight, ServedChannel};
use crate::channel::Stopped;
use crate::master::own_memory::{self, MemoryAction, OwnMemory};
use crate::master::run_dir::Lock;
use crate::master::{ListenOptions, MasterExit};

/// What a master that begins anew does next.
pub(in crate::engine::master) enum ReexecStep {
    /// See whether it could: answer with [`ReexecPolicy::start_preflight`].
    Preflight,
    /// Drain every channel.
    Drain,
}

/// See the module.
pub(in crate::engine::master) struct ReexecPolicy {
    memory: OwnMemory,
    tick: Interval,
    allowed: bool,
    preflight: Preflight,
    preflights: JoinSet<Result<(), String>>,
    draining: bool,
    locks: BTreeMap<String, Lock>,
    /// The channels that were quiet, and will be again.
    quiet: BTreeSet<String>,
    /// The fewest workers, where they were set by hand and are to stay so.
    fewest: BTreeMap<String, usize>,
}

impl ReexecPolicy {
    /// `count` is what the program before has told this one.
    pub(in crate::engine::master) fn new(listen: &ListenOptions, count: u32) -> Self {
        let mut tick = interval(own_memory::SAMPLE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            memory: OwnMemory::new(listen.memory_limit(), count, Instant::now()),
            tick,
            allowed: listen.may_reexec,
            preflight: Preflight { config: listen.config.clone(), http: listen.http },
            preflights: JoinSet::new(),
            draining: false,
            locks: BTreeMap::new(),
            quiet: BTreeSet::new(),
            fewest: BTreeMap::new(),
        }
    }

    /// Waits for the next step. Nothing is lost when it is dropped before.
    pub(in crate::engine::master) async fn next(&mut self) -> ReexecStep {
        loop {
            tokio::select! {
                Some(found) = self.preflights.join_next() => {
                    self.finish_preflight(found.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}"))));
                    if self.draining {
                        return ReexecStep::Drain;
                    }
                }
                _ = self.tick.tick() => if self.is_due() {
                    return ReexecStep::Preflight;
                },
            }
        }
    }

    fn is_due(&mut self) -> bool {
        if !self.allowed || self.draining || !self.preflights.is_empty() {
            return false;
        }
        let Some(used) = own_memory::resident_bytes() else { return false };
        match self.memory.sample(used, Instant::now()) {
            MemoryAction::None => {}
            MemoryAction::Warn(why) => warn!(used_mib = used >> 20, "{why}"),
            MemoryAction::Reexec => {
                info!(used_mib = used >> 20, "the master needs more than its memory_limit");
                return true;
            }
        }
        false
    }

    /// Sees, beside all else that goes on, whether the next program could serve these channels.
    pub(in crate::engine::master) fn start_preflight(&mut self, served: Vec<ServedChannel>) {
        self.preflights.spawn(self.preflight.clone().run(served));
    }

    fn finish_preflight(&mut self, could_serve: Result<(), String>) {
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
                self.memory.postpone(Instant::now());
            }
        }
    }

    /// Whether the channels end only to be served again.
    pub(in crate::engine::master) fn is_draining(&self) -> bool {
        self.draining
    }

    /// A stop goes before.
    pub(in crate::engine::master) fn cancel(&mut self) {
        self.draining = false;
        self.allowed = false;
        self.preflights = JoinSet::new();
        self.locks.clear();
    }

    /// A channel has ended, to be served again.
    pub(in crate::engine::master) fn keep(&mut self, channel: &str, lock: Lock, stopped: &Stopped) {
        let name = || channel.to_owned();
        self.locks.insert(name(), lock);
        self.quiet.extend(stopped.quiet.then(name));
        self.fewest.extend(stopped.fewest.map(|fewest| (name(), fewest)));
    }

    /// Everything has ended.
    pub(in crate::engine::master) fn finish(self) -> MasterExit {
        let keep = |(name, lock): (String, Lock)| match lock.into_inherited_fd() {
            Ok(fd) => Some((name, fd)),
            Err(error) => {
                warn!(channel = name, %error, "its lock cannot be kept: the channel is not served any more");
                None
            }
        };
        let locks: BTreeMap<_, _> = self.locks.into_iter().filter_map(keep).collect();
        if locks.is_empty() {
            return MasterExit::Stopped;
        }
        let count = self.memory.next_count(Instant::now());
        MasterExit::Reexec(Handover { reexec_count: count, locks, quiet: self.quiet, fewest: self.fewest })
    }
}
