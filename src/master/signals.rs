//! Signals, as an enum first.
//!
//! | signal | means |
//! |---|---|
//! | TERM, INT, QUIT | stop: finish what runs within `stop_wait_seconds`, then end it; a second one kills at once |
//! | HUP | stop, as the terminal has gone away |
//! | USR1, USR2, TSTP, CONT | nothing in this version; they do no harm |

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// End gracefully; at once when asked again.
    Stop,
    /// Understood, and nothing to do.
    Nothing(&'static str),
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
        // SIGTSTP has no name in the runtime's list.
        let suspend = SignalKind::from_raw(nix::sys::signal::Signal::SIGTSTP as i32);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            suspend: signal(suspend)?,
        })
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
