//! Notifications to the service manager by systemd's `sd_notify` protocol: datagrams to the socket in `NOTIFY_SOCKET`. Without
//! the variable nothing is sent.
//!
//! The crate `sd-notify` is no replacement: it sends blocking datagrams, which a stuck service manager could hold up, and does
//! not reach abstract sockets.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match open(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog() },
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "notify socket unusable: no status or keep-alive for the service manager");
                Self::default()
            }
        }
    }

    /// A service manager without a socket but with a watchdog timeout.
    #[cfg(test)]
    pub(super) fn disconnected(watchdog: Duration) -> Self {
        Self { socket: None, watchdog: Some(watchdog) }
    }

    /// A service manager that listens at `path`.
    #[cfg(test)]
    pub(super) fn at(path: &std::path::Path, watchdog: Option<Duration>) -> Self {
        Self { socket: Some(open(path.as_os_str()).expect("a usable path")), watchdog }
    }

    /// Whether a service manager listens.
    pub(super) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// The longest time between two keep-alives, if the service manager has a watchdog.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The start or a reload has ended.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", now.as_micros()));
    }

    /// The stop begins.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// A status line for people.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// A keep-alive for the watchdog.
    pub(super) fn keep_alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// The stop needs at least this long from now.
    pub(super) fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // The socket does not block: a stuck service manager must not hold up the master.
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

/// The watchdog timeout, if it is set for this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
