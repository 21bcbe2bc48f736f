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
//! - A guardian on demand, for runs that may kill it, lives only while it has a child.
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

/// A client without a guardian process.
pub(super) struct Standby {
    pub(super) program: PathBuf,
    pub(super) cookie_base: String,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) child_ended: Signal,
    pub(super) outbox: Outbox,
    /// The longest silence of the master before the guardian ends its children.
    pub(super) silence_limit: Duration,
    /// Whether the guardian is started for its first child and ended after its last one.
    pub(super) is_on_demand: bool,
}

/// A client with its guardian process.
pub(super) struct Client {
    base: Standby,
    socket: GuardianSocket,
    /// Present while runs are under the guardian.
    watch: Option<Watch>,
}

/// Why the exchange with one guardian process ended.
enum SessionEnd {
    Died,
    /// A guardian on demand has no child left.
    Idle,
    /// By a command, which waits for the end, or because all handles were dropped.
    ShutDown(Option<oneshot::Sender<()>>),
}

impl Standby {
    /// Serves commands with a guardian process that exists already.
    pub(super) async fn run_with(self, socket: GuardianSocket) {
        Client { base: self, socket, watch: None }.run().await;
    }

    /// Serves commands with a guardian process for each time in which there are children.
    pub(super) async fn run_on_demand(self) {
        if let Some(client) = self.start(Duration::ZERO).await {
            client.run().await;
        }
    }

    /// Starts a guardian. `None` after a shutdown command in the meantime.
    async fn start(mut self, mut delay: Duration) -> Option<Client> {
        loop {
            let begin = Instant::now() + delay;
            // Commands are accepted during the delay, so that the channel cannot grow without bound.
            loop {
                tokio::select! {
                    () = sleep_until(begin), if !self.is_on_demand || self.outbox.has_children() => break,
                    command = self.commands.recv() => match command {
                        Some(Command::ShutDown(done)) => {
                            self.outbox.close(&mut self.commands, &self.shared);
                            let _ = done.send(());
                            return None;
                        }
                        Some(command) => {
                            self.outbox.accept(command, &self.shared);
                            // A queued request would keep the descriptor of a lock after its release.
                            self.outbox.drop_lock_requests();
                        }
                        None => return None,
                    },
                    _ = self.child_ended.recv() => orphans::reap_orphans(),
                }
            }
            match GuardianSocket::start(&self.program, &self.cookie_base).await {
                Ok(socket) => {
                    self.outbox.requeue_locks();
                    return Some(Client { base: self, socket, watch: None });
                }
                Err(error) => {
                    tracing::error!(%error, "guardian did not start: no worker can be started, retrying");
                    self.outbox.fail_unsent_spawns(&self.shared, &error);
                    delay = longer_delay(delay);
                }
            }
        }
    }
}

impl Client {
    /// Serves commands, with one guardian process after the other, until shutdown.
    async fn run(mut self) {
        let mut delay = Duration::ZERO;
        loop {
            let started = Instant::now();
            let next = match self.exchange().await {
                SessionEnd::ShutDown(done) => {
                    self.finish().await;
                    // The caller of `shut_down` may have stopped waiting.
                    let _ = done.map(|done| done.send(()));
                    return;
                }
                SessionEnd::Idle => self.end_guardian().await.start(Duration::ZERO).await,
                SessionEnd::Died => {
                    let is_stable = started.elapsed() >= STABLE_LIFETIME;
                    delay = if is_stable { Duration::ZERO } else { longer_delay(delay) };
                    self.bury().await.start(delay).await
                }
            };
            match next {
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
            if self.base.is_on_demand && !self.base.outbox.has_children() {
                return SessionEnd::Idle;
            }
            let mut interest = Interest::READABLE;
            if self.base.outbox.has_unsent() && send_retry_at.is_none() {
                interest |= Interest::WRITABLE;
            }
            let unanswered =
                self.base.outbox.dying > 0 || self.base.shared.pending_spawns.load(Ordering::Relaxed) > 0;
            let mut readable = false;
            tokio::select! {
                command = self.base.commands.recv() => {
                    let mut command = command;
                    // Queue every command that is ready, so that they are sent together.
                    loop {
                        match command {
                            Some(Command::ShutDown(done)) => return SessionEnd::ShutDown(Some(done)),
                            Some(command) => self.base.outbox.accept(command, &self.base.shared),
                            None => return SessionEnd::ShutDown(None),
                        }
                        match self.base.commands.try_recv() {
                            Ok(next) => command = Some(next),
                            Err(_) => break,
                        }
                    }
                }
                ready = self.socket.ready(interest) => match ready {
                    Ok(()) => readable = true,
                    Err(_) => return SessionEnd::Died,
                },
                _ = self.base.child_ended.recv() => orphans::reap_orphans(),
                () = until(send_retry_at) => send_retry_at = None,
                () = until(self.watch.as_ref().map(Watch::next_at)) => {}
                () = sleep(WAKE_INTERVAL), if unanswered => self.socket.wake(),
            }
            if readable && self.read_reports().is_err() {
                return SessionEnd::Died;
            }
            if send_retry_at.is_none() {
                match self.base.outbox.send_to(&self.socket) {
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
        let has_runs = self.base.shared.runs.load(Ordering::Relaxed) > 0;
        if has_runs && self.watch.is_none() {
            self.base.shared.is_watched.store(true, Ordering::Relaxed);
            self.watch = Some(Watch::new(self.base.silence_limit, now));
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
            self.base.outbox.beat(has_runs.then_some(self.base.silence_limit));
            if !has_runs {
                // A run that begins from here on asks for a watch; one that has begun since the look above is watched on.
                self.base.shared.is_watched.store(false, Ordering::Relaxed);
                if self.base.shared.runs.load(Ordering::Relaxed) == 0 {
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
                Ok(Some(report)) => self.base.outbox.dispatch(report, &self.base.shared),
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

    /// Cleans up after a dead guardian.
    async fn bury(mut self) -> Standby {
        self.base.shared.deaths.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = self.socket.pid(),
            "guardian died: killing its children, starting a new guardian"
        );
        self.socket.kill_and_reap().await;
        kill_orphans().await;
        self.base.outbox.abandon(&self.base.shared);
        self.base
    }

    /// Ends the guardian and every command after it.
    async fn finish(self) {
        let mut base = self.end_guardian().await;
        kill_orphans().await;
        base.outbox.close(&mut base.commands, &base.shared);
    }

    /// Ends the guardian and dispatches its final reports.
    async fn end_guardian(mut self) -> Standby {
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
        self.base
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
