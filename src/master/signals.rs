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

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::fd;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// End gracefully; at once when asked again.
    Stop,
    /// Take no more jobs.
    Quiet,
    /// Take jobs again.
    Resume,
    /// Read the configuration again and let new workers take over.
    Reload,
    /// Understood, and nothing to do.
    Nothing(&'static str),
}

/// What comes before [`Signals::take_over`] is kept for it.
const HELD: [Number; 8] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGQUIT,
    Number::SIGHUP,
    Number::SIGUSR1,
    Number::SIGUSR2,
    Number::SIGTSTP,
    Number::SIGCONT,
];

/// Holds the signals of a master back until there is somebody to react to them. Call it first of all, before there
/// is a second thread: otherwise one that comes too early ends a half-started master, and the first process of a
/// container, for which the kernel drops what it has no handler for, never hears of it.
pub fn hold_signals() {
    // It fails for numbers that are no signals only.
    let _ = SigSet::from_iter(HELD).thread_block();
}

/// Does what starts threads, none of which will ever take a signal of the master's.
pub(super) fn without_signals<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let held = SigSet::from_iter(HELD);
    held.thread_block()?;
    let started = start();
    held.thread_unblock()?;
    Ok(started)
}

/// Every signal the master listens to.
pub(super) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
    hangup: Stream,
    user1: Stream,
    user2: Stream,
    suspend: Stream,
    proceed: Stream,
    /// The last word on being quiet that came while a stop was waited for.
    kept: Option<Signal>,
    terminal: Terminal,
    /// A reload was asked for before there was anything to reload.
    owed: bool,
}

impl Signals {
    /// Takes the signals over from their default actions.
    pub(super) fn take_over() -> io::Result<Self> {
        fd::ignore_terminal_stops();
        let terminal = Terminal::find();
        // These have no names in the runtime's list.
        let [suspend, proceed] =
            [Number::SIGTSTP, Number::SIGCONT].map(|number| SignalKind::from_raw(number as i32));
        let taken = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            suspend: signal(suspend)?,
            proceed: signal(proceed)?,
            kept: None,
            terminal,
            owed: false,
        };
        SigSet::from_iter(HELD).thread_unblock()?;
        Ok(taken)
    }

    /// Whether a stop has come that nobody has looked at.
    pub(super) async fn has_stop(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.stop() => true,
            // Time enough for one that is on its way within this process.
            () = tokio::time::sleep(Duration::from_millis(1)) => false,
        }
    }

    /// Waits for a stop, which is all there is to react to before anything is served. What else has a meaning is kept
    /// for who serves: the start may have read the configuration before it was changed.
    pub(super) async fn stop(&mut self) {
        loop {
            match self.coming().await {
                Signal::Stop => return,
                signal @ (Signal::Quiet | Signal::Resume) => self.kept = Some(signal),
                Signal::Reload => self.owed = true,
                Signal::Nothing(_) => {}
            }
        }
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signal {
        match self.kept.take() {
            Some(kept) => kept,
            None if std::mem::take(&mut self.owed) => Signal::Reload,
            None => self.coming().await,
        }
    }

    async fn coming(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
            _ = self.hangup.recv() => self.terminal.on_hangup(),
            _ = self.user1.recv() => Signal::Reload,
            _ = self.user2.recv() => Signal::Nothing("SIGUSR2"),
            _ = self.suspend.recv() => Signal::Quiet,
            _ = self.proceed.recv() => Signal::Resume,
        }
    }
}

/// The terminal the master was started from: its end comes as the same signal as the wish for a reload.
struct Terminal {
    /// It is known to be there.
    there: bool,
    /// Whoever started us wants us to outlive it.
    outlive: bool,
}

impl Terminal {
    /// Call it before the signal is taken over.
    fn find() -> Self {
        Self { there: has_terminal(), outlive: ignores_hangup() }
    }

    fn on_hangup(&mut self) -> Signal {
        if !self.there || has_terminal() {
            return Signal::Reload;
        }
        self.there = false;
        if self.outlive { Signal::Nothing("the end of the terminal") } else { Signal::Stop }
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
    mask.is_some_and(|mask| mask & (1 << (Number::SIGHUP as u32 - 1)) != 0)
}
