//! Looking after the channels' actors: do they move, how far is a stop. The service manager hears it.
//!
//! A sign of life is given only when every actor has answered since the last one and none has a call to its store under way
//! that should have ended: a hung loop is not reported alive.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::sd_notify::ServiceManager;
use crate::channel::{Command, Heartbeat};

/// How often the status is brought up to date when no watchdog wants more.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// How often a stop is looked at.
const STOP_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How much time a stop that goes on asks for, each time it is looked at.
const STOP_EXTENSION: Duration = Duration::from_secs(10);
/// What a stop may take beyond the stop wait and the grace: telling the store, ending processes.
const STOP_OVERHEAD: Duration = Duration::from_secs(15);
/// Longer than the longest deadline of a store call: a call that is still under way will never end.
const HUNG_STORE_CALL: Duration = Duration::from_secs(180);
/// How often a long stop says in the log how it stands.
const STOP_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Something happened to a [`Watchdog`].
pub(super) enum WatchdogEvent {
    /// It is time to ask.
    PollDue,
    /// All actors have answered.
    Polled(Vec<Heartbeat>),
}

/// See the module.
pub(super) struct Watchdog {
    manager: ServiceManager,
    next_poll: Instant,
    polling: JoinSet<Vec<Heartbeat>>,
    /// Actors have not answered for a whole interval, and somebody was told so.
    unresponsive: bool,
    stop: Option<StopProgress>,
}

struct StopProgress {
    /// Until when more time is asked for.
    until: Instant,
    next_log: Instant,
}

impl Watchdog {
    /// Everything serves now.
    pub(super) fn start(manager: ServiceManager, channels: &str) -> Self {
        manager.ready(&format!("serving {channels}"));
        Self { manager, next_poll: Instant::now(), polling: JoinSet::new(), unresponsive: false, stop: None }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        if self.stop.is_none() {
            self.manager.reloading();
        }
    }

    /// The reloads that were asked for have ended, the last one well or not.
    pub(super) fn reloaded(&self, well: bool) {
        // Who has been told of the end does not hear of a beginning any more.
        if self.stop.is_none() {
            self.manager.ready(if well { "reloaded" } else { "not reloaded, the log says why" });
        }
    }

    /// The stop of everything has begun and may take this long by the configuration.
    pub(super) fn stopping(&mut self, longest: Duration) {
        if self.stop.is_none() {
            self.manager.stopping();
            let now = Instant::now();
            self.stop = Some(StopProgress {
                until: now + longest + STOP_OVERHEAD,
                next_log: now + STOP_STATUS_INTERVAL,
            });
            self.next_poll = now;
        }
    }

    /// Waits for the next thing to do. Nothing is lost when it is dropped before.
    pub(super) async fn next(&mut self) -> WatchdogEvent {
        tokio::select! {
            () = sleep_until(self.next_poll) => WatchdogEvent::PollDue,
            Some(Ok(heartbeats)) = self.polling.join_next() => WatchdogEvent::Polled(heartbeats),
        }
    }

    /// Asks every actor how it is, unless one has not answered the last time.
    pub(super) fn poll(&mut self, actors: Vec<mpsc::Sender<Command>>) {
        self.next_poll = Instant::now() + self.interval();
        if self.polling.is_empty() {
            self.unresponsive = false;
            self.polling.spawn(heartbeats(actors));
        } else if !self.unresponsive {
            self.unresponsive = true;
            warn!("a channel's actor does not answer; the service manager is told nothing until it does");
        }
    }

    /// All have answered: tells the service manager, and people when it is the end.
    pub(super) fn record(&mut self, heartbeats: &[Heartbeat]) {
        if is_hung(heartbeats) {
            return;
        }
        self.manager.keep_alive();
        let running: usize = heartbeats.iter().map(|heartbeat| heartbeat.running).sum();
        match &mut self.stop {
            None => {
                let quiet = match heartbeats.iter().filter(|heartbeat| heartbeat.quiet).count() {
                    0 => String::new(),
                    quiet => format!(", {quiet} of them quiet"),
                };
                let status = format!("{} running, channels: {}{quiet}", jobs(running), heartbeats.len());
                self.manager.status(&status);
            }
            Some(stop) => {
                let left = heartbeats
                    .iter()
                    .filter_map(|heartbeat| heartbeat.stop_left)
                    .max()
                    .unwrap_or_default()
                    .as_secs();
                let status = format!("stopping: {} running, interrupted in {left} s", jobs(running));
                self.manager.status(&status);
                if Instant::now() < stop.until {
                    self.manager.extend(STOP_EXTENSION);
                }
                if running > 0 && Instant::now() >= stop.next_log {
                    stop.next_log = Instant::now() + STOP_LOG_INTERVAL;
                    info!(running, seconds_left = left, "waiting for what runs");
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        let usual = if self.stop.is_some() { STOP_STATUS_INTERVAL } else { STATUS_INTERVAL };
        // Three chances, so that one that comes late does not end a healthy master.
        self.manager.watchdog().map_or(usual, |timeout| usual.min(timeout / 3))
    }

    /// Whether there is anybody to ask for.
    pub(super) fn is_active(&self) -> bool {
        self.manager.is_connected() || self.stop.is_some()
    }
}

/// Whether an actor waits for a store call that will never end.
fn is_hung(heartbeats: &[Heartbeat]) -> bool {
    heartbeats.iter().any(|heartbeat| heartbeat.call.is_some_and(|since| since > HUNG_STORE_CALL))
}

/// The answers of all actors that have not ended.
async fn heartbeats(actors: Vec<mpsc::Sender<Command>>) -> Vec<Heartbeat> {
    let mut heartbeats = Vec::new();
    for actor in actors {
        let (reply, heartbeat) = oneshot::channel();
        if actor.send(Command::Heartbeat(reply)).await.is_ok()
            && let Ok(heartbeat) = heartbeat.await
        {
            heartbeats.push(heartbeat);
        }
    }
    heartbeats
}

fn jobs(n: usize) -> String {
    if n == 1 { "1 job".to_owned() } else { format!("{n} jobs") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(call: Option<u64>) -> Heartbeat {
        Heartbeat { call: call.map(Duration::from_secs), ..Heartbeat::default() }
    }

    #[test]
    fn overdue_call_is_no_sign_of_life() {
        assert!(!is_hung(&[]));
        assert!(!is_hung(&[heartbeat(None), heartbeat(Some(60))]));
        assert!(is_hung(&[heartbeat(None), heartbeat(Some(181))]));
    }

    #[tokio::test]
    async fn unresponsive_actor_stops_watchdog_pings() {
        let mut watchdog =
            Watchdog::start(ServiceManager::disconnected(Duration::from_millis(30)), "default");
        let (actor, mut commands) = mpsc::channel(1);
        watchdog.poll(vec![actor.clone()]);
        for _ in 0..3 {
            assert!(
                matches!(watchdog.next().await, WatchdogEvent::PollDue),
                "time passes, and no answer comes"
            );
            watchdog.poll(vec![actor.clone()]);
        }
        assert!(watchdog.unresponsive);
        let Some(Command::Heartbeat(reply)) = commands.recv().await else { panic!("it was asked once") };
        assert!(commands.try_recv().is_err(), "one question at a time");
        reply.send(Heartbeat { running: 7, ..Heartbeat::default() }).unwrap();
        assert!(matches!(watchdog.next().await, WatchdogEvent::Polled(heard) if heard[0].running == 7));
        watchdog.poll(vec![actor]);
        assert!(!watchdog.unresponsive);
    }
}
