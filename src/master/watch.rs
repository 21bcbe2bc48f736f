//! Looking after the channels' actors: do they move, how far is a stop. The service manager hears it.
//!
//! A sign of life is given only when every actor has answered since the last one and none has a call to its store under way
//! that should have ended: a hung loop is not reported alive.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::notify::Notify;
use crate::channel::{Command, Heartbeat};

/// How often the status is brought up to date when no watchdog wants more.
const USUAL: Duration = Duration::from_secs(5);
/// How often a stop is looked at.
const STOPPING: Duration = Duration::from_secs(1);
/// How much time a stop that goes on asks for, each time it is looked at.
const EXTENSION: Duration = Duration::from_secs(10);
/// What a stop may take beyond the stop wait and the grace: telling the store, ending processes.
const FAREWELL: Duration = Duration::from_secs(15);
/// Longer than the longest deadline of a store call: a call that is still under way will never end.
const HUNG: Duration = Duration::from_secs(180);
/// How often a long stop says in the log how it stands.
const WORDS: Duration = Duration::from_secs(5);

/// Something happened to a [`Watch`].
pub(super) enum Turn {
    /// It is time to ask.
    Ask,
    /// All actors have answered.
    Heard(Vec<Heartbeat>),
}

/// See the module.
pub(super) struct Watch {
    notify: Notify,
    next: Instant,
    asking: JoinSet<Vec<Heartbeat>>,
    /// Actors have not answered for a whole interval, and somebody was told so.
    hanging: bool,
    stop: Option<Stop>,
}

struct Stop {
    /// Until when more time is asked for.
    until: Instant,
    next_words: Instant,
}

impl Watch {
    /// Everything serves now.
    pub(super) fn begin(notify: Notify, channels: &str) -> Self {
        notify.ready(&format!("serving {channels}"));
        Self { notify, next: Instant::now(), asking: JoinSet::new(), hanging: false, stop: None }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        if self.stop.is_none() {
            self.notify.reloading();
        }
    }

    /// The reloads that were asked for have ended, the last one well or not.
    pub(super) fn reloaded(&self, well: bool) {
        // Who has been told of the end does not hear of a beginning any more.
        if self.stop.is_none() {
            self.notify.ready(if well { "reloaded" } else { "not reloaded, the log says why" });
        }
    }

    /// The stop of everything has begun and may take this long by the configuration.
    pub(super) fn stopping(&mut self, longest: Duration) {
        if self.stop.is_none() {
            self.notify.stopping();
            let now = Instant::now();
            self.stop = Some(Stop { until: now + longest + FAREWELL, next_words: now + STOPPING });
            self.next = now;
        }
    }

    /// Waits for the next thing to do. Nothing is lost when it is dropped before.
    pub(super) async fn turn(&mut self) -> Turn {
        tokio::select! {
            () = sleep_until(self.next) => Turn::Ask,
            Some(Ok(heartbeats)) = self.asking.join_next() => Turn::Heard(heartbeats),
        }
    }

    /// Asks every actor how it is, unless one has not answered the last time.
    pub(super) fn ask(&mut self, actors: Vec<mpsc::Sender<Command>>) {
        self.next = Instant::now() + self.interval();
        if self.asking.is_empty() {
            self.hanging = false;
            self.asking.spawn(heartbeats(actors));
        } else if !self.hanging {
            self.hanging = true;
            warn!("a channel's actor does not answer; the service manager is told nothing until it does");
        }
    }

    /// All have answered: tells the service manager, and people when it is the end.
    pub(super) fn heard(&mut self, heartbeats: &[Heartbeat]) {
        if is_hung(heartbeats) {
            return;
        }
        self.notify.alive();
        let running: usize = heartbeats.iter().map(|heartbeat| heartbeat.running).sum();
        match &mut self.stop {
            None => {
                let quiet = match heartbeats.iter().filter(|heartbeat| heartbeat.quiet).count() {
                    0 => String::new(),
                    quiet => format!(", {quiet} of them quiet"),
                };
                let words = format!("{} running, channels: {}{quiet}", jobs(running), heartbeats.len());
                self.notify.status(&words);
            }
            Some(stop) => {
                let left = heartbeats
                    .iter()
                    .filter_map(|heartbeat| heartbeat.stop_left)
                    .max()
                    .unwrap_or_default()
                    .as_secs();
                let words = format!("stopping: {} running, interrupted in {left} s", jobs(running));
                self.notify.status(&words);
                if Instant::now() < stop.until {
                    self.notify.extend(EXTENSION);
                }
                if running > 0 && Instant::now() >= stop.next_words {
                    stop.next_words = Instant::now() + WORDS;
                    info!(running, seconds_left = left, "waiting for what runs");
                }
            }
        }
    }

    fn interval(&self) -> Duration {
        let usual = if self.stop.is_some() { STOPPING } else { USUAL };
        // Three chances, so that one that comes late does not end a healthy master.
        self.notify.watchdog().map_or(usual, |watchdog| usual.min(watchdog / 3))
    }

    /// Whether there is anybody to ask for.
    pub(super) fn is_needed(&self) -> bool {
        self.notify.is_heard() || self.stop.is_some()
    }
}

/// Whether an actor waits for a store call that will never end.
fn is_hung(heartbeats: &[Heartbeat]) -> bool {
    heartbeats.iter().any(|heartbeat| heartbeat.call.is_some_and(|since| since > HUNG))
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
    fn a_call_that_should_have_ended_is_no_sign_of_life() {
        assert!(!is_hung(&[]));
        assert!(!is_hung(&[heartbeat(None), heartbeat(Some(60))]));
        assert!(is_hung(&[heartbeat(None), heartbeat(Some(181))]));
    }

    #[tokio::test]
    async fn while_an_actor_does_not_answer_nothing_is_heard() {
        let mut watch = Watch::begin(Notify::to_nobody(Duration::from_millis(30)), "default");
        let (actor, mut commands) = mpsc::channel(1);
        watch.ask(vec![actor.clone()]);
        for _ in 0..3 {
            assert!(matches!(watch.turn().await, Turn::Ask), "time passes, and no answer comes");
            watch.ask(vec![actor.clone()]);
        }
        assert!(watch.hanging);
        let Some(Command::Heartbeat(reply)) = commands.recv().await else { panic!("it was asked once") };
        assert!(commands.try_recv().is_err(), "one question at a time");
        reply.send(Heartbeat { running: 7, ..Heartbeat::default() }).unwrap();
        assert!(matches!(watch.turn().await, Turn::Heard(heard) if heard[0].running == 7));
        watch.ask(vec![actor]);
        assert!(!watch.hanging);
    }
}
