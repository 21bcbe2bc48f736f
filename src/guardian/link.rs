//! The task between handles and the guardian: requests out, reports in, and a new guardian when one dies.
//!
//! - Sends requests in order and never waits to send: what the socket does not take stays in the
//!   [`Ledger`]'s queue.
//! - Passes on what the guardian reports, and wakes a guardian that somebody has stopped.
//! - Reaps the orphans that become the master's.
//! - When the guardian dies: kills and reaps what it left behind, tells `Abandoned`, starts another, and sends
//!   what had not been sent yet.
//!
//! It ends when it is told to shut down, or with the [`super::Guardian`] that owns it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::adopted;
use super::handle::{Ask, Shared};
use super::ledger::Ledger;
use super::peer::{Peer, Unsent};

/// Reports taken in one go, so that requests are not kept waiting.
const MOST_REPORTS: usize = 64;
/// How long what a dead guardian left behind is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
/// How long to wait when the system has no room for a request and does not say when it has.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);
/// A guardian that has lived this long died of something new, and is replaced at once.
const GOOD_LIFE: Duration = Duration::from_secs(10);
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a request may stay unanswered before the guardian is woken, in case somebody has stopped it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Link {
    pub(super) program: PathBuf,
    pub(super) cookie_base: String,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) child_ended: Signal,
    pub(super) ledger: Ledger,
}

/// Why the talk with a guardian is over.
enum End {
    Died,
    ShutDown(oneshot::Sender<()>),
    NobodyLeft,
}

impl Link {
    /// Talks to guardians until there shall be none any more.
    pub(super) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let done = match self.talk().await {
                End::ShutDown(done) => Some(done),
                End::NobodyLeft => None,
                End::Died => {
                    pause = if begun.elapsed() >= GOOD_LIFE { Duration::ZERO } else { longer(pause) };
                    match self.replace(pause).await {
                        Some(link) => {
                            self = link;
                            continue;
                        }
                        None => return,
                    }
                }
            };
            self.finish().await;
            if let Some(done) = done {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            return;
        }
    }

    async fn talk(&mut self) -> End {
        let mut no_room_until = None;
        // Those that ended before anybody listened for it.
        adopted::reap_orphans();
        loop {
            let mut interest = Interest::READABLE;
            if self.ledger.has_unsent() && no_room_until.is_none() {
                interest |= Interest::WRITABLE;
            }
            let unanswered = self.ledger.dying > 0 || self.shared.waiting.load(Ordering::Relaxed) > 0;
            let mut readable = false;
            tokio::select! {
                ask = self.asks.recv() => {
                    let mut ask = ask;
                    // Everything that is asked at this moment goes out together.
                    loop {
                        match ask {
                            Some(Ask::ShutDown(done)) => return End::ShutDown(done),
                            Some(ask) => self.ledger.take(ask, &self.shared),
                            None => return End::NobodyLeft,
                        }
                        match self.asks.try_recv() {
                            Ok(next) => ask = Some(next),
                            Err(_) => break,
                        }
                    }
                }
                ready = self.peer.ready(interest) => match ready {
                    Ok(()) => readable = true,
                    Err(_) => return End::Died,
                },
                _ = self.child_ended.recv() => adopted::reap_orphans(),
                () = until(no_room_until) => no_room_until = None,
                () = sleep(PATIENCE), if unanswered => self.peer.wake(),
            }
            if readable && self.read_reports().is_err() {
                return End::Died;
            }
            if no_room_until.is_none() {
                match self.ledger.send_to(&self.peer) {
                    Ok(()) | Err(Unsent::Full) => {}
                    Err(Unsent::NoRoom) => no_room_until = Some(Instant::now() + NO_ROOM_PAUSE),
                    // Its last reports are still to be read; the end of the socket says when it is over.
                    Err(Unsent::Gone) => no_room_until = Some(Instant::now() + LONGEST_WAIT),
                }
            }
        }
    }

    /// Passes reports on. An error means that there will be no more.
    fn read_reports(&mut self) -> io::Result<()> {
        for _ in 0..MOST_REPORTS {
            match self.peer.receive() {
                Ok(Some(report)) => self.ledger.pass_on(report, &self.shared),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    tracing::error!(error = %e, "the guardian cannot be understood");
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Cleans up after a guardian that died and starts another. `None` when told to shut down meanwhile.
    async fn replace(mut self, pause: Duration) -> Option<Self> {
        self.shared.deaths.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = self.peer.pid(),
            "the guardian died; what it had started is killed, and another begins"
        );
        self.peer.kill_and_reap().await;
        kill_left_behind().await;
        self.ledger.abandon(&self.shared);
        let mut pause = pause;
        loop {
            let begin = Instant::now() + pause;
            // Meanwhile requests are taken, so that they cannot pile up.
            loop {
                tokio::select! {
                    () = sleep_until(begin) => break,
                    ask = self.asks.recv() => match ask {
                        Some(Ask::ShutDown(done)) => {
                            self.ledger.close(&mut self.asks, &self.shared);
                            let _ = done.send(());
                            return None;
                        }
                        Some(ask) => self.ledger.take(ask, &self.shared),
                        None => return None,
                    },
                    _ = self.child_ended.recv() => adopted::reap_orphans(),
                }
            }
            match Peer::start(&self.program, &self.cookie_base).await {
                Ok(peer) => {
                    self.ledger.hold_again();
                    return Some(Self { peer, ..self });
                }
                Err(error) => {
                    tracing::error!(%error, "no worker can be started until there is a guardian");
                    self.ledger.refuse_spawns(&self.shared, &error);
                    pause = longer(pause);
                }
            }
        }
    }

    /// Lets the guardian end, passing on its last reports.
    async fn finish(mut self) {
        self.peer.close();
        loop {
            tokio::select! {
                ready = self.peer.ready(Interest::READABLE) => {
                    if ready.is_err() || self.read_reports().is_err() {
                        break;
                    }
                }
                () = sleep(PATIENCE) => self.peer.wake(),
            }
        }
        self.peer.reap().await;
        kill_left_behind().await;
        self.ledger.close(&mut self.asks, &self.shared);
    }
}

/// What a dead guardian left behind is ours now: a tree comes level by level, as its roots are reaped.
async fn kill_left_behind() {
    let begun = Instant::now();
    loop {
        let left = adopted::kill_left_behind();
        if left.is_empty() {
            return;
        }
        if begun.elapsed() >= LONGEST_WAIT {
            tracing::warn!(pids = ?left, "processes left by a dead guardian were killed and have not died yet");
            return;
        }
        sleep(TICK).await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(RESTART_PAUSE.0, RESTART_PAUSE.1)
}
