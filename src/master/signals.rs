//! Signals of the master, turned into [`SignalAction`]s.
//!
//! | signal | action |
//! |---|---|
//! | TERM, INT, QUIT | stop: let running jobs finish within `stop_wait_seconds`, then interrupt them; a second signal kills at once |
//! | USR1 | reload |
//! | HUP | reload; when the terminal has closed: stop, or no action under `nohup` |
//! | TSTP | quiet: take no more jobs, running jobs continue |
//! | CONT | resume: take jobs again |
//! | USR2 | open the log file again |
//! | TTIN, TTOU, PIPE, WINCH | ignored |

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as UnixSignal};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::fd;

/// The action a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// Stop gracefully; the second time, kill.
    Stop,
    /// Take no more jobs.
    Quiet,
    /// Take jobs again.
    Resume,
    /// Read the configuration again and replace the workers.
    Reload,
    /// Open the log file again.
    ReopenLog,
    /// No action; the name of the signal, for the log.
    Ignored(&'static str),
}

/// Signals that are blocked until [`Signals::install`] handles them.
const BLOCKED: [UnixSignal; 8] = [
    UnixSignal::SIGTERM,
    UnixSignal::SIGINT,
    UnixSignal::SIGQUIT,
    UnixSignal::SIGHUP,
    UnixSignal::SIGUSR1,
    UnixSignal::SIGUSR2,
    UnixSignal::SIGTSTP,
    UnixSignal::SIGCONT,
];

/// Blocks the master's signals until `Signals::install`. Call it before the process has a second thread. An unblocked early
/// signal would kill a half-started master; in the first process of a container, for which the kernel drops signals
/// without a handler, it would be lost.
pub fn block_signals() {
    // The call fails only for invalid signal numbers.
    let _ = SigSet::from_iter(BLOCKED).thread_block();
}

/// Runs `start` with the master's signals blocked: threads started by it inherit the mask and never take such a signal.
pub(super) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let blocked = SigSet::from_iter(BLOCKED);
    blocked.thread_block()?;
    let started = start();
    blocked.thread_unblock()?;
    Ok(started)
}

/// The streams of all signals the master handles.
pub(super) struct Signals {
    streams: Vec<(UnixSignal, SignalStream)>,
    /// The last quiet or resume that arrived during the start; delivered by `next`.
    pending_quiet: Option<SignalAction>,
    terminal: Terminal,
    /// A reload arrived during the start; delivered by `next`, because the start may have read the older configuration.
    pending_reload: bool,
}

impl Signals {
    /// Installs the handlers and unblocks the signals.
    pub(super) fn install() -> io::Result<Self> {
        fd::ignore_terminal_stops();
        let terminal = Terminal::detect();
        let stream = |number| Ok((number, signal(SignalKind::from_raw(number as i32))?));
        let streams = BLOCKED.into_iter().map(stream).collect::<io::Result<_>>()?;
        SigSet::from_iter(BLOCKED).thread_unblock()?;
        Ok(Self { streams, pending_quiet: None, terminal, pending_reload: false })
    }

    /// Whether a stop signal has arrived and was not yet returned by `next`.
    pub(super) async fn stop_pending(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.wait_for_stop() => true,
            // A delivered signal needs a moment to pass through tokio's signal driver.
            () = tokio::time::sleep(Duration::from_millis(1)) => false,
        }
    }

    /// Waits for a stop signal. Quiet, resume and reload are kept for `next`: they need running channels.
    pub(super) async fn wait_for_stop(&mut self) {
        loop {
            match self.receive().await {
                SignalAction::Stop => return,
                action @ (SignalAction::Quiet | SignalAction::Resume) => self.pending_quiet = Some(action),
                SignalAction::Reload => self.pending_reload = true,
                // The file was opened a moment ago.
                SignalAction::ReopenLog | SignalAction::Ignored(_) => {}
            }
        }
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> SignalAction {
        match self.pending_quiet.take() {
            Some(pending_quiet) => pending_quiet,
            None if std::mem::take(&mut self.pending_reload) => SignalAction::Reload,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> SignalAction {
        let arrived = poll_fn(|cx| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        });
        match arrived.await {
            UnixSignal::SIGHUP => self.terminal.on_hangup(),
            UnixSignal::SIGUSR1 => SignalAction::Reload,
            UnixSignal::SIGUSR2 => SignalAction::ReopenLog,
            UnixSignal::SIGTSTP => SignalAction::Quiet,
            UnixSignal::SIGCONT => SignalAction::Resume,
            _ => SignalAction::Stop,
        }
    }
}

/// The terminal the master was started from. SIGHUP means both a closed terminal and a request to reload; this state tells
/// them apart.
struct Terminal {
    /// The terminal was open at the last check.
    attached: bool,
    /// The master was started with SIGHUP ignored, so it survives its terminal.
    nohup: bool,
}

impl Terminal {
    /// Call it before SIGHUP gets a handler.
    fn detect() -> Self {
        Self { attached: has_terminal(), nohup: ignores_hangup() }
    }

    fn on_hangup(&mut self) -> SignalAction {
        if !self.attached || has_terminal() {
            return SignalAction::Reload;
        }
        self.attached = false;
        if self.nohup { SignalAction::Ignored("SIGHUP of a closed terminal") } else { SignalAction::Stop }
    }
}

fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does.
fn ignores_hangup() -> bool {
    let ignored = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let mask = std::fs::read_to_string("/proc/self/status").ok().and_then(ignored);
    mask.is_some_and(|mask| mask & (1 << (UnixSignal::SIGHUP as u32 - 1)) != 0)
}
