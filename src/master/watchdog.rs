//! Watchdog: polls the channel actors for heartbeats; reports status, stop progress and liveness to the service manager.
//!
//! A keep-alive is sent only when every actor has answered the last poll and no actor waits in a hung store call, so that
//! the service manager restarts a hung master.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::sd_notify::ServiceManager;
use crate::channel::{Command, Heartbeat};

/// Time between two polls, unless the watchdog timeout of the service manager asks for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two polls during a stop.
const STOP_STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Extension of the service manager's stop timeout that each poll during a stop requests.
const STOP_EXTENSION: Duration = Duration::from_secs(10);
/// Time a stop may take beyond stop wait and grace, for the last store calls and the end of processes.
const STOP_OVERHEAD: Duration = Duration::from_secs(15);
/// Age at which a store call counts as hung; longer than the longest deadline of a store call.
const HUNG_STORE_CALL: Duration = Duration::from_secs(180);
/// Time between two progress lines in the log during a stop.
const STOP_LOG_INTERVAL: Duration = Duration::from_secs(5);
/// Polls within one watchdog timeout of the service manager: two may be late without ending a healthy master.
const POLLS_PER_TIMEOUT: u32 = 3;

/// An event of [`Watchdog::next`].
pub(super) enum WatchdogEvent {
    /// A poll is due: call [`Watchdog::poll`].
    PollDue,
    /// All actors have answered: call [`Watchdog::record`].
    Polled(Vec<Heartbeat>),
}

/// The poll state and the connection to the service manager.
pub(super) struct Watchdog {
    manager: ServiceManager,
    next_poll: Instant,
    polling: JoinSet<Vec<Heartbeat>>,
    /// An actor has not answered for a whole interval; already logged.
    unresponsive: bool,
    stop: Option<StopProgress>,
}

struct StopProgress {
    /// The last time at which the stop timeout is extended.
    until: Instant,
    next_log: Instant,
}

impl Watchdog {
    /// Reports a master that is ready.
    pub(super) fn start(manager: ServiceManager, channels: &str) -> Self {
        manager.ready(&format!("serving {channels}"));
        Self { manager, next_poll: Instant::now(), polling: JoinSet::new(), unresponsive: false, stop: None }
    }

    /// Reports the begin of a reload.
    pub(super) fn reloading(&self) {
        if self.stop.is_none() {
            self.manager.reloading();
        }
    }

    /// Reports the end of all requested reloads with the result of the last one.
    pub(super) fn reloaded(&self, succeeded: bool) {
        // After STOPPING=1 the protocol allows no READY=1.
        if self.stop.is_none() {
            self.manager.ready(if succeeded { "reloaded" } else { "reload failed, see the log" });
        }
    }

    /// Reports the begin of the master's stop, which may take `longest` by the configuration.
    pub(super) fn stopping(&mut self, longest: Duration, now: Instant) {
        if self.stop.is_none() {
            self.manager.stopping();
            self.stop = Some(StopProgress {
                until: now + longest + STOP_OVERHEAD,
                next_log: now + STOP_STATUS_INTERVAL,
            });
            self.next_poll = now;
        }
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn next(&mut self) -> WatchdogEvent {
        tokio::select! {
            () = sleep_until(self.next_poll) => WatchdogEvent::PollDue,
            Some(Ok(heartbeats)) = self.polling.join_next() => WatchdogEvent::Polled(heartbeats),
        }
    }

    /// Polls every actor, unless the last poll is still unanswered.
    pub(super) fn poll(&mut self, actors: Vec<mpsc::Sender<Command>>, now: Instant) {
        self.next_poll = now + self.interval();
        if self.polling.is_empty() {
            self.unresponsive = false;
            self.polling.spawn(heartbeats(actors));
        } else if !self.unresponsive {
            self.unresponsive = true;
            warn!("channel actor not responding: no keep-alive to the service manager until it answers");
        }
    }

    /// Records the answers of all actors: sends keep-alive and status, and logs the progress of a stop.
    pub(super) fn record(&mut self, heartbeats: &[Heartbeat], now: Instant) {
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
                let left = heartbeats.iter().filter_map(|heartbeat| heartbeat.stop_left).max();
                let left = left.unwrap_or_default().as_secs();
                let status = format!("stopping: {} running, interrupted in {left} s", jobs(running));
                self.manager.status(&status);
                if now < stop.until {
                    self.manager.extend(STOP_EXTENSION);
                }
                if running > 0 && now >= stop.next_log {
                    stop.next_log = now + STOP_LOG_INTERVAL;
                    info!(running, seconds_left = left, "stopping: waiting for running jobs");
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        let usual = if self.stop.is_some() { STOP_STATUS_INTERVAL } else { STATUS_INTERVAL };
        self.manager.watchdog().map_or(usual, |timeout| usual.min(timeout / POLLS_PER_TIMEOUT))
    }

    /// Whether a service manager or the log of a stop needs heartbeats.
    pub(super) fn is_active(&self) -> bool {
        self.manager.is_connected() || self.stop.is_some()
    }
}

/// Whether an actor waits in a store call older than [`HUNG_STORE_CALL`].
fn is_hung(heartbeats: &[Heartbeat]) -> bool {
    heartbeats.iter().any(|heartbeat| heartbeat.call.is_some_and(|age| age > HUNG_STORE_CALL))
}

/// The heartbeats of all actors that have not ended.
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
    use std::os::unix::net::UnixDatagram;

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

    /// A service manager's socket and the watchdog that reports to it.
    fn reporting(timeout: Option<Duration>) -> (UnixDatagram, Watchdog, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let watchdog = Watchdog::start(ServiceManager::at(&path, timeout), "default");
        assert_eq!(messages(&socket), ["READY=1\nSTATUS=serving default"]);
        (socket, watchdog, dir)
    }

    /// The notifications sent so far.
    fn messages(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 1024];
        let next =
            || socket.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn hung_store_call_suppresses_keep_alive() {
        let (socket, mut watchdog, _dir) = reporting(Some(Duration::from_secs(6)));
        watchdog.record(&[heartbeat(Some(181))], Instant::now());
        assert!(messages(&socket).is_empty());
        watchdog.record(&[heartbeat(Some(60))], Instant::now());
        assert_eq!(messages(&socket), ["WATCHDOG=1", "STATUS=0 jobs running, channels: 1"]);
    }

    #[test]
    fn stop_extends_the_stop_timeout_up_to_its_longest_duration() {
        let (socket, mut watchdog, _dir) = reporting(None);
        let (begun, longest) = (Instant::now(), Duration::from_secs(30));
        watchdog.stopping(longest, begun);
        assert_eq!(messages(&socket), ["STOPPING=1\nSTATUS=stopping"]);
        let mut extensions = |after| {
            watchdog.record(&[heartbeat(None)], begun + after);
            messages(&socket).iter().filter(|text| text.starts_with("EXTEND_TIMEOUT_USEC=")).count()
        };
        assert_eq!(extensions(Duration::from_secs(1)), 1);
        assert_eq!(extensions(longest + STOP_OVERHEAD), 0);
    }

    #[tokio::test]
    async fn poll_interval_follows_watchdog_timeout_and_stop() {
        let next_poll = |timeout, stops: bool| {
            let (_socket, mut watchdog, _dir) = reporting(timeout);
            let now = Instant::now();
            if stops {
                watchdog.stopping(Duration::ZERO, now);
            }
            watchdog.poll(Vec::new(), now);
            watchdog.next_poll - now
        };
        assert_eq!(next_poll(None, false), STATUS_INTERVAL);
        assert_eq!(next_poll(Some(Duration::from_secs(6)), false), Duration::from_secs(2));
        assert_eq!(next_poll(Some(Duration::from_secs(6)), true), STOP_STATUS_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn unresponsive_actor_stops_watchdog_pings() {
        let mut watchdog =
            Watchdog::start(ServiceManager::disconnected(Duration::from_millis(30)), "default");
        let (actor, mut commands) = mpsc::channel(1);
        watchdog.poll(vec![actor.clone()], Instant::now());
        for _ in 0..3 {
            assert!(matches!(watchdog.next().await, WatchdogEvent::PollDue), "the actor does not answer");
            watchdog.poll(vec![actor.clone()], Instant::now());
        }
        assert!(watchdog.unresponsive);
        let Some(Command::Heartbeat(reply)) = commands.recv().await else {
            panic!("the actor was polled once")
        };
        assert!(commands.try_recv().is_err(), "one poll at a time");
        reply.send(Heartbeat { running: 7, ..Heartbeat::default() }).unwrap();
        assert!(matches!(watchdog.next().await, WatchdogEvent::Polled(answers) if answers[0].running == 7));
        watchdog.poll(vec![actor], Instant::now());
        assert!(!watchdog.unresponsive);
    }
}
