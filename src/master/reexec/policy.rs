//! When a master above its memory limit re-execs: it samples its memory, checks that the next program could serve, waits until no job
//! runs, stops every channel, and then returns the [`Handover`]. Jobs that do not end are a reason to serve on, not to be interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::handover::Handover;
use super::preflight::{Preflight, ServedChannel};
use crate::channel::{Command, Stopped};
use crate::fd;
use crate::guardian::procfs;
use crate::master::listen_options::ListenOptions;
use crate::master::own_memory::{self, MemoryAction, OwnMemory};
use crate::master::place::ChannelPlace;
use crate::master::run_dir::Lock;
use crate::producer_memory::ProducerMemory;

/// Time between two questions whether a channel runs jobs.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A step that the service loop has to take.
pub(in crate::engine::master) enum ReexecStep {
    /// Check whether a re-exec is possible: call [`ReexecPolicy::start_preflight`].
    Preflight,
    /// Stop every channel.
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

/// The channels of a re-exec, and how long their running jobs may take.
struct Drain {
    channels: Vec<ServedChannel>,
    wait: Duration,
}

enum ReexecState {
    /// No re-exec: the process does more than run a master, or a stop has begun.
    Disabled,
    /// The memory is sampled.
    Sampling,
    /// A preflight check runs, beside the service.
    Checking(JoinSet<Result<(), String>>, Drain),
    /// The channels take no jobs, and the running ones may end. The task returns whether all have ended in time.
    Waiting(JoinSet<bool>, Drain),
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
            match &mut self.state {
                ReexecState::Checking(check, _) => {
                    let result = check.join_next().await.expect("a check runs in this state");
                    let result = result.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}")));
                    self.finish_preflight(result, Instant::now());
                    continue;
                }
                ReexecState::Waiting(wait, _) => {
                    let result = wait.join_next().await.expect("a task waits in this state");
                    if self.finish_wait(result.unwrap_or(false), Instant::now()) {
                        return ReexecStep::Drain;
                    }
                    continue;
                }
                ReexecState::Disabled | ReexecState::Sampling | ReexecState::Draining(..) => {}
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
        let Some(mut used) = self.used() else { return false };
        if self.memory.needs_trim(used) {
            fd::return_freed_memory();
            used = self.used().unwrap_or(used);
        }
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

    /// The memory of the master. Data of producers is bounded and soon gone: no reason for a re-exec.
    fn used(&self) -> Option<u64> {
        Some(procfs::own_resident()?.saturating_sub(self.producer_memory.in_use()))
    }

    /// Starts the check whether the next program could serve these channels. Their running jobs then have `wait` to end.
    pub(in crate::engine::master) fn start_preflight(
        &mut self,
        served: Vec<ServedChannel>,
        places: Vec<Arc<ChannelPlace>>,
        wait: Duration,
    ) {
        let drain = Drain { channels: served.clone(), wait };
        let mut check = JoinSet::new();
        let preflight = self.preflight.clone();
        check.spawn(async move {
            preflight.check_places(places).await?;
            preflight.run(served).await
        });
        self.state = ReexecState::Checking(check, drain);
    }

    /// Takes the result of the check.
    fn finish_preflight(&mut self, result: Result<(), String>, now: Instant) {
        let ReexecState::Checking(_, drain) = std::mem::replace(&mut self.state, ReexecState::Sampling)
        else {
            return;
        };
        match result {
            Ok(()) => {
                info!("re-exec: draining every channel, then running the program again in this process");
                let mut wait = JoinSet::new();
                wait.spawn(become_idle(drain.channels.clone(), drain.wait));
                self.state = ReexecState::Waiting(wait, drain);
            }
            Err(why) => {
                // A list of configuration problems becomes one log line.
                let why = why.replace("\n  ", "; ");
                warn!(why, "re-exec postponed: the next program could not serve");
                self.memory.postpone(now);
            }
        }
    }

    /// Takes the end of the wait for running jobs; true when the channels are to stop.
    fn finish_wait(&mut self, all_ended: bool, now: Instant) -> bool {
        let ReexecState::Waiting(_, drain) = std::mem::replace(&mut self.state, ReexecState::Sampling) else {
            return false;
        };
        let used = self.used().unwrap_or(0);
        let is_urgent = self.memory.is_far_above(used);
        if all_ended || is_urgent {
            if !all_ended {
                warn!(
                    used_mib = used >> 20,
                    "memory above twice the memory_limit: not waiting for jobs that do not end"
                );
            }
            self.state = ReexecState::Draining(Handover::default(), BTreeMap::new());
            return true;
        }
        let pause_seconds = self.memory.give_way(now).as_secs();
        let used_mib = used >> 20;
        warn!(
            used_mib,
            pause_seconds,
            "re-exec postponed: jobs are still running after stop_wait_seconds; taking jobs again; raise memory_limit if this repeats"
        );
        tokio::spawn(hold_back(drain.channels, None));
        false
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

/// Makes channels take no jobs, and waits until none of them runs any; false if that takes longer than `wait`.
async fn become_idle(channels: Vec<ServedChannel>, wait: Duration) -> bool {
    let idle = async {
        hold_back(channels.clone(), Some(Instant::now() + wait)).await;
        for (_, commands) in &channels {
            while is_running(commands).await {
                sleep(IDLE_POLL_INTERVAL).await;
            }
        }
    };
    timeout(wait, idle).await.is_ok()
}

async fn hold_back(channels: Vec<ServedChannel>, until: Option<Instant>) {
    for (_, commands) in channels {
        // A channel that has ended needs no command.
        let _ = commands.send(Command::HoldBack(until)).await;
    }
}

/// Whether a channel runs jobs. A channel that has ended runs none.
async fn is_running(commands: &mpsc::Sender<Command>) -> bool {
    let (reply, heartbeat) = oneshot::channel();
    commands.send(Command::Heartbeat(reply)).await.is_ok()
        && heartbeat.await.is_ok_and(|heartbeat| heartbeat.running > 0)
}
