//! Signals, as an enum first.
//!
//! | signal | means |
//! |---|---|
//! | TERM, INT, QUIT | stop: finish what runs within `stop_wait_seconds`, then end it; a second one kills at once |
//! | USR1 | reload |
//! | HUP | reload; stop when the terminal has gone away, nothing then under `nohup` |
//! | TSTP | quiet: no more jobs are taken, what runs goes on |
//! | CONT | jobs are taken again |
//! | USR2 | nothing in this version; it does no harm |
//! | TTIN, TTOU, PIPE, WINCH | ignored |

use std::io;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as UnixSignal};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::fd;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// End gracefully; at once when asked again.
    Stop,
    /// Take no more jobs.
    Quiet,
    /// Take jobs again.
    Resume,
    /// Read the configuration again and let new workers take over.
    Reload,
    /// Understood, and nothing to do.
    Ignored(&'static str),
}

/// What comes before [`Signals::install`] is kept for it.
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

/// Holds the signals of a master back until there is somebody to react to them. Call it first of all, before there
/// is a second thread: otherwise one that comes too early ends a half-started master, and the first process of a
/// container, for which the kernel drops what it has no handler for, never hears of it.
pub fn block_signals() {
    // It fails for numbers that are no signals only.
    let _ = SigSet::from_iter(BLOCKED).thread_block();
}

/// Does what starts threads, none of which will ever take a signal of the master's.
pub(super) fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let blocked = SigSet::from_iter(BLOCKED);
    blocked.thread_block()?;
    let started = start();
    blocked.thread_unblock()?;
    Ok(started)
}

/// Every signal the master listens to.
pub(super) struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    quit: SignalStream,
    hangup: SignalStream,
    usr1: SignalStream,
    usr2: SignalStream,
    tstp: SignalStream,
    cont: SignalStream,
    /// The last word on being quiet that came while a stop was waited for.
    pending_pause: Option<SignalAction>,
    terminal: Terminal,
    /// A reload was asked for before there was anything to reload.
    pending_reload: bool,
}

impl Signals {
    /// Takes the signals over from their default actions.
    pub(super) fn install() -> io::Result<Self> {
        fd::ignore_terminal_stops();
        let terminal = Terminal::detect();
        // These have no names in the runtime's list.
        let [tstp, cont] =
            [UnixSignal::SIGTSTP, UnixSignal::SIGCONT].map(|number| SignalKind::from_raw(number as i32));
        let taken = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            tstp: signal(tstp)?,
            cont: signal(cont)?,
            pending_pause: None,
            terminal,
            pending_reload: false,
        };
        SigSet::from_iter(BLOCKED).thread_unblock()?;
        Ok(taken)
    }

    /// Whether a stop has come that nobody has looked at.
    pub(super) async fn stop_pending(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.wait_for_stop() => true,
            // Time enough for one that is on its way within this process.
            () = tokio::time::sleep(Duration::from_millis(1)) => false,
        }
    }

    /// Waits for a stop, which is all there is to react to before anything is served. What else has a meaning is kept
    /// for who serves: the start may have read the configuration before it was changed.
    pub(super) async fn wait_for_stop(&mut self) {
        loop {
            match self.receive().await {
                SignalAction::Stop => return,
                action @ (SignalAction::Quiet | SignalAction::Resume) => self.pending_pause = Some(action),
                SignalAction::Reload => self.pending_reload = true,
                SignalAction::Ignored(_) => {}
            }
        }
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> SignalAction {
        match self.pending_pause.take() {
            Some(pending_pause) => pending_pause,
            None if std::mem::take(&mut self.pending_reload) => SignalAction::Reload,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.quit.recv() => SignalAction::Stop,
            _ = self.hangup.recv() => self.terminal.on_hangup(),
            _ = self.usr1.recv() => SignalAction::Reload,
            _ = self.usr2.recv() => SignalAction::Ignored("SIGUSR2"),
            _ = self.tstp.recv() => SignalAction::Quiet,
            _ = self.cont.recv() => SignalAction::Resume,
        }
    }
}

/// The terminal the master was started from: its end comes as the same signal as the wish for a reload.
struct Terminal {
    /// It is known to be there.
    attached: bool,
    /// Whoever started us wants us to outlive it.
    nohup: bool,
}

impl Terminal {
    /// Call it before the signal is taken over.
    fn detect() -> Self {
        Self { attached: has_terminal(), nohup: ignores_hangup() }
    }

    fn on_hangup(&mut self) -> SignalAction {
        if !self.attached || has_terminal() {
            return SignalAction::Reload;
        }
        self.attached = false;
        if self.nohup { SignalAction::Ignored("the end of the terminal") } else { SignalAction::Stop }
    }
}

fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does it.
fn ignores_hangup() -> bool {
    let ignored = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let mask = std::fs::read_to_string("/proc/self/status").ok().and_then(ignored);
    mask.is_some_and(|mask| mask & (1 << (UnixSignal::SIGHUP as u32 - 1)) != 0)
}
