//! When a master above its memory limit re-execs: it samples its memory, checks that the next program could serve, drains
//! every channel like a stop, and then returns the [`Handover`].

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::handover::Handover;
use super::preflight::{Preflight, ServedChannel};
use crate::channel::Stopped;
use crate::guardian::procfs;
use crate::master::listen_options::ListenOptions;
use crate::master::own_memory::{self, MemoryAction, OwnMemory};
use crate::master::place::ChannelPlace;
use crate::master::run_dir::Lock;
use crate::producer_memory::ProducerMemory;

/// A step that the service loop has to take.
pub(in crate::engine::master) enum ReexecStep {
    /// Check whether a re-exec is possible: call [`ReexecPolicy::start_preflight`].
    Preflight,
    /// Drain every channel.
    Drain,
}

/// The memory samples and the state of a re-exec.
pub(in crate::engine::master) struct ReexecPolicy {
    memory: OwnMemory,
    producer_memory: ProducerMemory,
    tick: Interval,
    preflight: Preflight,
    state: ReexecState,
}

enum ReexecState {
    /// No re-exec: the process does more than run a master, or a stop has begun.
    Disabled,
    /// The memory is sampled.
    Sampling,
    /// A preflight check runs, beside the service.
    Checking(JoinSet<Result<(), String>>),
    /// The channels drain. The ended ones are kept for the next program, with their locks, which the hand-over gets at the
    /// end: before, a stop may still release them.
    Draining(Handover, BTreeMap<String, Lock>),
}

impl ReexecPolicy {
    /// `reexec_count` comes from the hand-over of the previous program.
    pub(in crate::engine::master) fn new(
        options: &ListenOptions,
        producer_memory: ProducerMemory,
        reexec_count: u32,
    ) -> Self {
        let mut tick = interval(own_memory::SAMPLE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            memory: OwnMemory::new(options.memory_limit(), reexec_count, Instant::now()),
            producer_memory,
            tick,
            preflight: Preflight { config: options.config.clone(), http: options.http },
            state: if options.may_reexec { ReexecState::Sampling } else { ReexecState::Disabled },
        }
    }

    /// Waits for the next step. Cancel safe.
    pub(in crate::engine::master) async fn next(&mut self) -> ReexecStep {
        loop {
            if let ReexecState::Checking(check) = &mut self.state {
                let result = check.join_next().await.expect("a check runs in this state");
                let result = result.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}")));
                if self.finish_preflight(result, Instant::now()) {
                    return ReexecStep::Drain;
                }
            }
            let now = self.tick.tick().await;
            if self.is_due(now) {
                return ReexecStep::Preflight;
            }
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        if !matches!(self.state, ReexecState::Sampling) {
            return false;
        }
        let Some(resident) = procfs::own_resident() else { return false };
        // Data of producers is bounded and soon gone: no reason to interrupt a job.
        let used = resident.saturating_sub(self.producer_memory.in_use());
        match self.memory.sample(used, now) {
            MemoryAction::None => {}
            MemoryAction::Warn(why) => warn!(used_mib = used >> 20, "{why}"),
            MemoryAction::Reexec => {
                info!(
                    used_mib = used >> 20,
                    "master above its memory_limit: checking whether it can re-execute itself"
                );
                return true;
            }
        }
        false
    }

    /// Starts the check whether the next program could serve these channels.
    pub(in crate::engine::master) fn start_preflight(
        &mut self,
        served: Vec<ServedChannel>,
        places: Vec<Arc<ChannelPlace>>,
    ) {
        let mut check = JoinSet::new();
        let preflight = self.preflight.clone();
        check.spawn(async move {
            preflight.check_places(places).await?;
            preflight.run(served).await
        });
        self.state = ReexecState::Checking(check);
    }

    /// Takes the result of the check; true when the channels are to drain.
    fn finish_preflight(&mut self, result: Result<(), String>, now: Instant) -> bool {
        match result {
            Ok(()) => {
                info!("re-exec: draining every channel, then running the program again in this process");
                self.state = ReexecState::Draining(Handover::default(), BTreeMap::new());
                true
            }
            Err(why) => {
                // A list of configuration problems becomes one log line.
                let why = why.replace("\n  ", "; ");
                warn!(why, "re-exec postponed: the next program could not serve");
                self.memory.postpone(now);
                self.state = ReexecState::Sampling;
                false
            }
        }
    }

    /// Whether the channels drain for a re-exec.
    pub(in crate::engine::master) fn is_draining(&self) -> bool {
        matches!(self.state, ReexecState::Draining(..))
    }

    /// Gives the re-exec up for good, because the master stops.
    pub(in crate::engine::master) fn cancel(&mut self) {
        self.state = ReexecState::Disabled;
    }

    /// Keeps an ended channel for the next program.
    pub(in crate::engine::master) fn keep(&mut self, channel: &str, lock: Lock, stopped: &Stopped) {
        let ReexecState::Draining(handover, locks) = &mut self.state else { return };
        let name = || channel.to_owned();
        locks.insert(name(), lock);
        handover.quiet.extend(stopped.quiet.then(name));
        handover.manual_minimums.extend(stopped.manual_minimum.map(|minimum| (name(), minimum)));
    }

    /// The hand-over after the end of every channel; `None` when the master exits for good.
    pub(in crate::engine::master) fn finish(self, now: Instant) -> Option<Handover> {
        let ReexecState::Draining(mut handover, locks) = self.state else { return None };
        let keep = |(name, lock): (String, Lock)| match lock.into_inherited_fd() {
            Ok(fd) => Some((name, fd)),
            Err(error) => {
                warn!(channel = name, %error, "lock not kept over the re-exec: channel not served any more");
                None
            }
        };
        handover.locks = locks.into_iter().filter_map(keep).collect();
        handover.reexec_count = self.memory.next_count(now);
        (!handover.locks.is_empty()).then_some(handover)
    }
}
