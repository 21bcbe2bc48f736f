//! A guardian process as its master sees it: the pid and the master's end of the socket.

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
use super::{orphans, process, procfs};
use crate::fd;
use crate::open_files;

/// How long a guardian may take to report that it is ready.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);
const REAP_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Variables meant for the master alone and removed from the guardian's environment: those of the service manager, and
/// the hand-over of a re-exec.
const MASTER_VARIABLES: [&str; 9] = [
    "AINT_QUEUE_AGAIN",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "FDSTORE",
];

/// A running guardian. Dropping it closes the socket, and the guardian ends.
#[derive(Debug)]
pub(super) struct GuardianSocket {
    socket: AsyncFd<OwnedFd>,
    pid: i32,
    /// Whether the process was reaped, after which its pid may belong to another process.
    reaped: bool,
    buffer: Vec<u8>,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The socket is full; poll reports when it becomes writable.
    Full,
    /// The kernel has no buffers at the moment; poll does not report when it has.
    NoBuffers,
    /// The guardian has closed its end.
    Closed,
}

impl GuardianSocket {
    /// Starts a guardian process and waits until it reports ready.
    pub(super) async fn start(program: &Path, cookie_base: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let socket = fd::async_fd(ours)?;
        let mut command = Command::new(program);
        command.arg0("aint-queue: guardian").arg(process::ARGUMENT).arg(cookie_base);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        // Messages of a worker must not reach the service manager as messages of the master.
        for name in MASTER_VARIABLES {
            command.env_remove(name);
        }
        let limit = open_files::at_start().map(|limit| limit.soft);
        let pid = orphans::start_guardian(|| fd::detached(&mut command, limit).spawn())?;
        // The command holds a copy of the guardian's end of the socket. While it is open, the master's end never sees
        // the end of the guardian.
        drop(command);
        let mut started = Self { socket, pid, reaped: false, buffer: vec![0; MAX_REPORT] };
        let error = match timeout(BOOT_TIMEOUT, started.first_report()).await {
            Ok(Ok(Report::Ready)) => return Ok(started),
            Ok(Ok(_)) => io::Error::other("its first report was not \"ready\""),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "it did not report ready in time"),
        };
        started.kill_and_reap().await;
        Err(io::Error::new(error.kind(), format!("could not start the guardian process: {error}")))
    }

    async fn first_report(&mut self) -> io::Result<Report> {
        loop {
            self.ready(Interest::READABLE).await?;
            match self.receive() {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => {
                    let kind = io::ErrorKind::UnexpectedEof;
                    return Err(io::Error::new(kind, "it exited before it was ready"));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until the socket is readable or writable, as `interest` says.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<()> {
        self.socket.ready(interest).await.map(drop)
    }

    /// Reads one report; `None` at the end of the socket.
    pub(super) fn receive(&mut self) -> io::Result<Option<Report>> {
        let buffer = &mut self.buffer;
        loop {
            match self.socket.try_io(Interest::READABLE, |fd| fd::receive(fd.as_fd(), buffer)) {
                // ECONNRESET says that the guardian died with unread requests. It precedes the reports that the
                // guardian had already sent, so reading continues.
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

    /// Sends one request with its descriptors, without blocking.
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

    /// Makes the guardian end; its final reports can still be read.
    pub(super) fn close(&self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    /// Sends SIGCONT, in case a signal has stopped the guardian.
    pub(super) fn wake(&self) {
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGCONT);
    }

    /// The state letter of the guardian in /proc.
    pub(super) fn state(&self) -> Option<u8> {
        procfs::stat(self.pid).map(|stat| stat.state)
    }

    /// Process id of the guardian.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Kills the guardian if it still runs, and waits until it is reaped. Its children are re-parented to the master by
    /// then; the end of the socket can be seen a little earlier.
    pub(super) async fn kill_and_reap(mut self) {
        while !self.try_reap() {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            sleep(REAP_POLL_INTERVAL).await;
        }
    }

    /// Waits until the guardian exits, which it does once all its children are gone.
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
        // A stopped guardian would not notice that the socket closes.
        if !self.reaped {
            self.wake();
        }
    }
}
