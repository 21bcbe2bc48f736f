//! The task between handles and the guardian: requests out, reports in, and a new guardian when one dies.
//!
//! - Sends requests in order and never waits to send: what the socket does not take stays in the
//!   [`Outbox`]'s queue.
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

use super::guardian_socket::{GuardianSocket, SendError};
use super::handle::{Command, Shared};
use super::orphans;
use super::outbox::Outbox;

/// Reports taken in one go, so that requests are not kept waiting.
const MAX_REPORTS_PER_WAKEUP: usize = 64;
/// How long what a dead guardian left behind is waited for.
const ORPHAN_KILL_TIMEOUT: Duration = Duration::from_secs(1);
const ORPHAN_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How long to wait when the system has no room for a request and does not say when it has.
const SEND_RETRY_DELAY: Duration = Duration::from_millis(5);
/// A guardian that has lived this long died of something new, and is replaced at once.
const STABLE_LIFETIME: Duration = Duration::from_secs(10);
const RESTART_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a request may stay unanswered before the guardian is woken, in case somebody has stopped it.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Client {
    pub(super) program: PathBuf,
    pub(super) cookie_base: String,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) socket: GuardianSocket,
    pub(super) child_ended: Signal,
    pub(super) outbox: Outbox,
}

/// Why the talk with a guardian is over.
enum SessionEnd {
    Died,
    ShutDown(oneshot::Sender<()>),
    HandlesDropped,
}

impl Client {
    /// Talks to guardians until there shall be none any more.
    pub(super) async fn run(mut self) {
        let mut delay = Duration::ZERO;
        loop {
            let started = Instant::now();
            let done = match self.exchange().await {
                SessionEnd::ShutDown(done) => Some(done),
                SessionEnd::HandlesDropped => None,
                SessionEnd::Died => {
                    delay = if started.elapsed() >= STABLE_LIFETIME {
                        Duration::ZERO
                    } else {
                        longer_delay(delay)
                    };
                    match self.replace(delay).await {
                        Some(client) => {
                            self = client;
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

    async fn exchange(&mut self) -> SessionEnd {
        let mut send_retry_at = None;
        // Those that ended before anybody listened for it.
        orphans::reap_orphans();
        loop {
            let mut interest = Interest::READABLE;
            if self.outbox.has_unsent() && send_retry_at.is_none() {
                interest |= Interest::WRITABLE;
            }
            let unanswered = self.outbox.dying > 0 || self.shared.pending_spawns.load(Ordering::Relaxed) > 0;
            let mut readable = false;
            tokio::select! {
                command = self.commands.recv() => {
                    let mut command = command;
                    // Everything that is asked at this moment goes out together.
                    loop {
                        match command {
                            Some(Command::ShutDown(done)) => return SessionEnd::ShutDown(done),
                            Some(command) => self.outbox.accept(command, &self.shared),
                            None => return SessionEnd::HandlesDropped,
                        }
                        match self.commands.try_recv() {
                            Ok(next) => command = Some(next),
                            Err(_) => break,
                        }
                    }
                }
                ready = self.socket.ready(interest) => match ready {
                    Ok(()) => readable = true,
                    Err(_) => return SessionEnd::Died,
                },
                _ = self.child_ended.recv() => orphans::reap_orphans(),
                () = until(send_retry_at) => send_retry_at = None,
                () = sleep(WAKE_INTERVAL), if unanswered => self.socket.wake(),
            }
            if readable && self.read_reports().is_err() {
                return SessionEnd::Died;
            }
            if send_retry_at.is_none() {
                match self.outbox.send_to(&self.socket) {
                    Ok(()) | Err(SendError::Full) => {}
                    Err(SendError::NoBuffers) => send_retry_at = Some(Instant::now() + SEND_RETRY_DELAY),
                    // Its last reports are still to be read; the end of the socket says when it is over.
                    Err(SendError::Closed) => send_retry_at = Some(Instant::now() + ORPHAN_KILL_TIMEOUT),
                }
            }
        }
    }

    /// Passes reports on. An error means that there will be no more.
    fn read_reports(&mut self) -> io::Result<()> {
        for _ in 0..MAX_REPORTS_PER_WAKEUP {
            match self.socket.receive() {
                Ok(Some(report)) => self.outbox.dispatch(report, &self.shared),
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
    async fn replace(mut self, delay: Duration) -> Option<Self> {
        self.shared.deaths.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = self.socket.pid(),
            "the guardian died; what it had started is killed, and another begins"
        );
        self.socket.kill_and_reap().await;
        kill_orphans().await;
        self.outbox.abandon(&self.shared);
        let mut delay = delay;
        loop {
            let begin = Instant::now() + delay;
            // Meanwhile requests are taken, so that they cannot pile up.
            loop {
                tokio::select! {
                    () = sleep_until(begin) => break,
                    command = self.commands.recv() => match command {
                        Some(Command::ShutDown(done)) => {
                            self.outbox.close(&mut self.commands, &self.shared);
                            let _ = done.send(());
                            return None;
                        }
                        Some(command) => self.outbox.accept(command, &self.shared),
                        None => return None,
                    },
                    _ = self.child_ended.recv() => orphans::reap_orphans(),
                }
            }
            match GuardianSocket::start(&self.program, &self.cookie_base).await {
                Ok(socket) => {
                    self.outbox.requeue_locks();
                    return Some(Self { socket, ..self });
                }
                Err(error) => {
                    tracing::error!(%error, "no worker can be started until there is a guardian");
                    self.outbox.fail_unsent_spawns(&self.shared, &error);
                    delay = longer_delay(delay);
                }
            }
        }
    }

    /// Lets the guardian end, passing on its last reports.
    async fn finish(mut self) {
        self.socket.close();
        loop {
            tokio::select! {
                ready = self.socket.ready(Interest::READABLE) => {
                    if ready.is_err() || self.read_reports().is_err() {
                        break;
                    }
                }
                () = sleep(WAKE_INTERVAL) => self.socket.wake(),
            }
        }
        self.socket.reap().await;
        kill_orphans().await;
        self.outbox.close(&mut self.commands, &self.shared);
    }
}

/// What a dead guardian left behind is ours now: a tree comes level by level, as its roots are reaped.
async fn kill_orphans() {
    let started = Instant::now();
    loop {
        let left = orphans::kill_orphans();
        if left.is_empty() {
            return;
        }
        if started.elapsed() >= ORPHAN_KILL_TIMEOUT {
            tracing::warn!(pids = ?left, "processes left by a dead guardian were killed and have not died yet");
            return;
        }
        sleep(ORPHAN_POLL_INTERVAL).await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn longer_delay(delay: Duration) -> Duration {
    (delay * 2).clamp(RESTART_DELAY.0, RESTART_DELAY.1)
}
