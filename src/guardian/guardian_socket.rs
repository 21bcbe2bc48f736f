//! The master's end of one guardian: the process and the socket to it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, sendmsg, shutdown,
    socketpair,
};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::protocol::{self, MAX_REPORT, Report};
use super::{orphans, process};
use crate::fd;

/// The longest a guardian may take to say that it is ready.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);
const REAP_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How a service manager tells a service where to report, and which sockets are its own; how one program of a master tells
/// the next which locks it holds.
const MASTER_VARIABLES: [&str; 7] = [
    "AINT_QUEUE_AGAIN",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// A running guardian. Dropping it closes the socket, and the guardian ends.
#[derive(Debug)]
pub(super) struct GuardianSocket {
    socket: AsyncFd<OwnedFd>,
    pid: i32,
    /// Its number may be somebody else's by now.
    reaped: bool,
    buffer: Vec<u8>,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The socket is full; it becomes writable.
    Full,
    /// The system has no room for it at the moment, and does not say when it has.
    NoBuffers,
    /// Nobody is there to read it.
    Closed,
}

impl GuardianSocket {
    /// Starts a guardian and waits until it is ready.
    pub(super) async fn start(program: &Path, cookie_base: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let socket = fd::async_fd(ours)?;
        let mut command = Command::new(program);
        command.arg0("aint-queue: guardian").arg(process::ARGUMENT).arg(cookie_base);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        // What a worker says is not what the service manager waits for from this service.
        for name in MASTER_VARIABLES {
            command.env_remove(name);
        }
        let pid = orphans::start_guardian(|| fd::detached(&mut command).spawn())?;
        // The command holds its copy of the guardian's end until it is dropped; the end of the guardian could
        // not be seen before.
        drop(command);
        let mut started = Self { socket, pid, reaped: false, buffer: vec![0; MAX_REPORT] };
        match timeout(BOOT_TIMEOUT, started.first_report()).await {
            Ok(Ok(Report::Ready)) => Ok(started),
            Ok(Err(error)) => Err(started.abort_start(error).await),
            Ok(Ok(_)) => {
                Err(started.abort_start(io::Error::other("it does not behave like a guardian")).await)
            }
            Err(_) => Err(started
                .abort_start(io::Error::new(io::ErrorKind::TimedOut, "it does not say that it is ready"))
                .await),
        }
    }

    async fn first_report(&mut self) -> io::Result<Report> {
        loop {
            self.ready(Interest::READABLE).await?;
            match self.receive() {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once")),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn abort_start(self, error: io::Error) -> io::Error {
        self.kill_and_reap().await;
        io::Error::new(error.kind(), format!("could not start the guardian process: {error}"))
    }

    /// Waits until the socket is ready for what is of interest.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<()> {
        self.socket.ready(interest).await.map(drop)
    }

    /// Takes one report; `None` at the end of the guardian.
    pub(super) fn receive(&mut self) -> io::Result<Option<Report>> {
        let buffer = &mut self.buffer;
        loop {
            match self.socket.try_io(Interest::READABLE, |fd| fd::receive(fd.as_fd(), buffer)) {
                // Requests it had not read when it died are reported before the words it had already said.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(received) if received.len == 0 => return Ok(None),
                Ok(received) => {
                    return Ok(Some(protocol::decode(&buffer[..received.len]).map_err(io::Error::other)?));
                }
            }
        }
    }

    /// Sends one request with its descriptors.
    pub(super) fn send(&self, request: &[u8], fds: &[Arc<OwnedFd>]) -> Result<(), SendError> {
        let fds: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = self.socket.try_io(Interest::WRITABLE, |socket| {
            loop {
                match sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(request)], rights, flags, None) {
                    Err(Errno::EINTR) => {}
                    sent => return Ok(sent?),
                }
            }
        });
        match sent {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(SendError::Full),
            Err(e) => match e.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => Err(SendError::NoBuffers),
                _ => Err(SendError::Closed),
            },
        }
    }

    /// Tells the guardian to end; its last reports can still be read.
    pub(super) fn close(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Wakes a guardian that somebody has stopped.
    pub(super) fn wake(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGCONT);
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Kills the guardian if it has not ended yet and waits until it is reaped. Only then has everything it
    /// leaves behind become ours: the end of the socket comes a little earlier.
    pub(super) async fn kill_and_reap(mut self) {
        while !self.try_reap() {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            sleep(REAP_POLL_INTERVAL).await;
        }
    }

    /// Waits until the guardian has ended by itself, which it does when everything it has started is gone.
    pub(super) async fn reap(mut self) {
        while !self.try_reap() {
            sleep(REAP_POLL_INTERVAL).await;
        }
    }

    fn try_reap(&mut self) -> bool {
        self.reaped = orphans::reap_guardian(self.pid);
        self.reaped
    }
}

impl Drop for GuardianSocket {
    fn drop(&mut self) {
        // One that somebody has stopped would not see that its socket closes.
        if !self.reaped {
            self.wake();
        }
    }
}
