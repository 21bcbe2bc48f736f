//! What the service manager is told, in the words of systemd's `sd_notify`: datagrams to the socket that
//! `NOTIFY_SOCKET` names. Without the variable nothing is said.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The way to the service manager.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Whatever the environment says.
    pub(super) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match open(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog() },
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// Nobody listens, and wants signs of life nevertheless.
    #[cfg(test)]
    pub(super) fn disconnected(watchdog: Duration) -> Self {
        Self { socket: None, watchdog: Some(watchdog) }
    }

    /// Whether anybody listens.
    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// How long the service manager waits for a sign of life, if it waits for any.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The start, or a reload, is over.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", now.as_micros()));
    }

    /// The end begins.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// What is going on, for people.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Everything moves.
    pub(super) fn keep_alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// The stop needs at least this long from now on.
    pub(super) fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // A service manager that does not listen is not waited for.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// The time-out of the watchdog, when it is set for this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
