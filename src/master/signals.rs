//! Signals, as an enum first.
//!
//! | signal | means |
//! |---|---|
//! | TERM, INT, QUIT | stop: finish what runs within `stop_wait_seconds`, then end it; a second one kills at once |
//! | HUP | stop, as the terminal has gone away |
//! | USR1, USR2, TSTP, CONT | nothing in this version; they do no harm |
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
    /// Understood, and nothing to do.
    Nothing(&'static str),
}

/// What comes before [`Signals::take_over`] is kept for it.
const HELD: [Number; 7] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGQUIT,
    Number::SIGHUP,
    Number::SIGUSR1,
    Number::SIGUSR2,
    Number::SIGTSTP,
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
}

impl Signals {
    /// Takes the signals over from their default actions.
    pub(super) fn take_over() -> io::Result<Self> {
        fd::ignore_terminal();
        // SIGTSTP has no name in the runtime's list.
        let suspend = SignalKind::from_raw(nix::sys::signal::Signal::SIGTSTP as i32);
        let taken = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            suspend: signal(suspend)?,
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

    /// Waits for a stop, which is all there is to react to before anything is served.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Stop,
            _ = self.user1.recv() => Signal::Nothing("SIGUSR1"),
            _ = self.user2.recv() => Signal::Nothing("SIGUSR2"),
            _ = self.suspend.recv() => Signal::Nothing("SIGTSTP"),
        }
    }
}
