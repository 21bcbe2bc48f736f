//! The task between handles and the guardian: sends requests, dispatches reports, replaces a dead guardian.
//!
//! - Sends requests in order and never blocks on the socket: requests it does not accept yet stay in the
//!   [`Outbox`].
//! - Dispatches the guardian's reports.
//! - While runs are under the guardian: tells it that the master lives, continues a guardian that a signal has stopped, and
//!   replaces it as dead when it stays stopped.
//! - Reaps orphans that were re-parented to the master.
//! - When the guardian dies: kills and reaps its children, reports them as `Abandoned`, starts a new guardian, and
//!   sends the requests that were still queued.
//!
//! The task ends on a shutdown command, or with the [`super::Guardian`] that owns it.

use std::io;
use std::ops::ControlFlow;
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
use super::watch::{GuardianState, Watch};

/// Most reports read per wake-up, so that a burst of them cannot delay requests.
const MAX_REPORTS_PER_WAKEUP: usize = 64;
/// How long to wait for the killed children of a dead guardian to disappear.
const ORPHAN_KILL_TIMEOUT: Duration = Duration::from_secs(1);
const ORPHAN_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Delay before a send is retried after the kernel ran out of buffers, a condition that poll does not report.
const SEND_RETRY_DELAY: Duration = Duration::from_millis(5);
/// A guardian that lived at least this long is replaced without delay.
const STABLE_LIFETIME: Duration = Duration::from_secs(10);
const RESTART_DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Interval of SIGCONT to a guardian that owes a report, in case a signal has stopped it.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Client {
    pub(super) program: PathBuf,
    pub(super) cookie_base: String,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) socket: GuardianSocket,
    pub(super) child_ended: Signal,
    pub(super) outbox: Outbox,
    /// The longest silence of the master before the guardian ends its children.
    pub(super) silence_limit: Duration,
    /// Present while runs are under the guardian.
    pub(super) watch: Option<Watch>,
}

/// Why the exchange with one guardian process ended.
enum SessionEnd {
    Died,
    /// By a command, which waits for the end, or because all handles were dropped.
    ShutDown(Option<oneshot::Sender<()>>),
}

impl Client {
    /// Serves commands, with one guardian process after the other, until shutdown.
    pub(super) async fn run(mut self) {
        let mut delay = Duration::ZERO;
        loop {
            let started = Instant::now();
            if let SessionEnd::ShutDown(done) = self.exchange().await {
                self.finish().await;
                // The caller of `shut_down` may have stopped waiting.
                let _ = done.map(|done| done.send(()));
                return;
            }
            let is_stable = started.elapsed() >= STABLE_LIFETIME;
            delay = if is_stable { Duration::ZERO } else { longer_delay(delay) };
            match self.replace(delay).await {
                Some(client) => self = client,
                None => return,
            }
        }
    }

    async fn exchange(&mut self) -> SessionEnd {
        let mut send_retry_at = None;
        // Orphans that ended before the SIGCHLD listener existed raise no further signal.
        orphans::reap_orphans();
        loop {
            if self.look_after_guardian(Instant::now()).is_break() {
                return SessionEnd::Died;
            }
            let mut interest = Interest::READABLE;
            if self.outbox.has_unsent() && send_retry_at.is_none() {
                interest |= Interest::WRITABLE;
            }
            let unanswered = self.outbox.dying > 0 || self.shared.pending_spawns.load(Ordering::Relaxed) > 0;
            let mut readable = false;
            tokio::select! {
                command = self.commands.recv() => {
                    let mut command = command;
                    // Queue every command that is ready, so that they are sent together.
                    loop {
                        match command {
                            Some(Command::ShutDown(done)) => return SessionEnd::ShutDown(Some(done)),
                            Some(command) => self.outbox.accept(command, &self.shared),
                            None => return SessionEnd::ShutDown(None),
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
                () = until(self.watch.as_ref().map(Watch::next_at)) => {}
                () = sleep(WAKE_INTERVAL), if unanswered => self.socket.wake(),
            }
            if readable && self.read_reports().is_err() {
                return SessionEnd::Died;
            }
            if send_retry_at.is_none() {
                match self.outbox.send_to(&self.socket) {
                    Ok(()) | Err(SendError::Full) => {}
                    Err(SendError::NoBuffers) => send_retry_at = Some(Instant::now() + SEND_RETRY_DELAY),
                    // Final reports may still be unread; reading detects the end of the socket.
                    Err(SendError::Closed) => send_retry_at = Some(Instant::now() + ORPHAN_KILL_TIMEOUT),
                }
            }
        }
    }

    /// Continues a stopped guardian and sends it beats, while runs are under it. Breaks when it must be replaced.
    fn look_after_guardian(&mut self, now: Instant) -> ControlFlow<()> {
        let has_runs = self.shared.runs.load(Ordering::Relaxed) > 0;
        if has_runs && self.watch.is_none() {
            self.shared.is_watched.store(true, Ordering::Relaxed);
            self.watch = Some(Watch::new(self.silence_limit, now));
        }
        let Some(watch) = &mut self.watch else { return ControlFlow::Continue(()) };
        match watch.check(|| self.socket.state(), now) {
            GuardianState::Running => {}
            GuardianState::Stopped { is_news } => {
                if is_news {
                    let pid = self.socket.pid();
                    tracing::warn!(
                        pid,
                        "guardian stopped by a signal: continuing it; look for a job that stops its parent process"
                    );
                }
                self.socket.wake();
            }
            GuardianState::Dead => {
                let pid = self.socket.pid();
                tracing::error!(pid, "guardian stays stopped although it is continued: replacing it");
                return ControlFlow::Break(());
            }
        }
        if watch.take_beat(now) {
            self.outbox.beat(has_runs.then_some(self.silence_limit));
            if !has_runs {
                // A run that begins from here on asks for a watch; one that has begun since the look above is watched on.
                self.shared.is_watched.store(false, Ordering::Relaxed);
                if self.shared.runs.load(Ordering::Relaxed) == 0 {
                    self.watch = None;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Dispatches the reports that are ready. An error means that no more can arrive.
    fn read_reports(&mut self) -> io::Result<()> {
        for _ in 0..MAX_REPORTS_PER_WAKEUP {
            match self.socket.receive() {
                Ok(Some(report)) => self.outbox.dispatch(report, &self.shared),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    tracing::error!(error = %e, "the report of the guardian cannot be read");
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Cleans up after a dead guardian and starts a new one. `None` after a shutdown command in the meantime.
    async fn replace(mut self, mut delay: Duration) -> Option<Self> {
        self.shared.deaths.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = self.socket.pid(),
            "guardian died: killing its children, starting a new guardian"
        );
        self.socket.kill_and_reap().await;
        kill_orphans().await;
        self.outbox.abandon(&self.shared);
        self.watch = None;
        loop {
            let begin = Instant::now() + delay;
            // Commands are accepted during the delay, so that the channel cannot grow without bound.
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
                    tracing::error!(%error, "guardian did not start: no worker can be started, retrying");
                    self.outbox.fail_unsent_spawns(&self.shared, &error);
                    delay = longer_delay(delay);
                }
            }
        }
    }

    /// Ends the guardian and dispatches its final reports.
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

/// Kills the children of a dead guardian, which the kernel re-parents to the master. Their descendants follow level by
/// level, as each level is reaped.
async fn kill_orphans() {
    let started = Instant::now();
    loop {
        let left = orphans::kill_orphans();
        if left.is_empty() {
            return;
        }
        if started.elapsed() >= ORPHAN_KILL_TIMEOUT {
            tracing::warn!(pids = ?left, "processes of a dead guardian are still alive after SIGKILL");
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
