//! When and how a master that needs too much memory begins anew: it drains every channel, as a stop would, then runs its
//! program again ([`Again`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::again::Again;
use super::memory::{self, Memory, Verdict};
use super::run_dir::Lock;
use super::{Ended, Listen, own_program};
use crate::config::Config;

/// See the module.
pub(super) struct Recycle {
    memory: Memory,
    tick: Interval,
    allowed: bool,
    /// The configuration that the next program will read.
    file: Option<PathBuf>,
    channels: Vec<String>,
    draining: bool,
    locks: BTreeMap<String, Lock>,
    /// The channels that were quiet, and will be again.
    quiet: BTreeSet<String>,
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
            file: listen.config.file.clone(),
            channels: listen.channels.clone(),
            draining: false,
            locks: BTreeMap::new(),
            quiet: BTreeSet::new(),
        }
    }

    /// Waits until it is time to begin anew. Nothing is lost when it is dropped before.
    pub(super) async fn due(&mut self) {
        loop {
            self.tick.tick().await;
            let Some(used) = memory::used().filter(|_| self.allowed && !self.draining) else { continue };
            match self.memory.sample(used, Instant::now()) {
                Verdict::Fine => {}
                Verdict::Warn(why) => warn!(used_mib = used >> 20, "{why}"),
                Verdict::Recycle => {
                    info!(used_mib = used >> 20, "the master needs more than its memory_limit");
                    return;
                }
            }
        }
    }

    /// Whether the next program could serve; `trouble` is what keeps channels from settling now.
    pub(super) fn begin(&mut self, trouble: Option<String>) -> bool {
        let config = || {
            let Some(file) = &self.file else { return Ok(()) };
            let config = Config::load(file).map_err(|error| error.to_string())?;
            let gone = self.channels.iter().find(|name| !config.channels.contains_key(*name));
            gone.map_or(Ok(()), |name| Err(format!("channel \"{name}\" is not declared any more")))
        };
        let program = || own_program().map(drop).map_err(|error| error.to_string());
        match trouble.map_or(Ok(()), Err).and_then(|()| config()).and_then(|()| program()) {
            Ok(()) => {
                info!(
                    "beginning anew: every channel finishes what runs, then this program is run again in this process"
                );
                self.draining = true;
            }
            Err(why) => {
                warn!(why, "the master does not begin anew now, as it could not serve afterwards");
                self.memory.put_off(Instant::now());
            }
        }
        self.draining
    }

    /// Whether the channels end only to be served again.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// A stop goes before.
    pub(super) fn give_up(&mut self) {
        self.draining = false;
        self.allowed = false;
        self.locks.clear();
    }

    /// A channel has ended, to be served again.
    pub(super) fn keep(&mut self, channel: &str, lock: Lock, quiet: bool) {
        self.locks.insert(channel.to_owned(), lock);
        self.quiet.extend(quiet.then(|| channel.to_owned()));
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
        Ended::BeginAnew(Again { count: self.memory.next_count(Instant::now()), locks, quiet: self.quiet })
    }
}
