//! The guardian's own process: its main loop.
//!
//! - One thread, no runtime: one poll over the master's socket and a signalfd for SIGCHLD.
//! - Starts programs, signals them, reports their ends; `trees` knows how trees die.
//! - Keeps the locks it was given open until it ends, so a free lock means that the work is dead.
//! - Ends when the master's end of the socket closes, however that came about: everything is killed and reaped
//!   first.
//!
//! It never writes to standard error but when it cannot even begin, and never waits for anything but poll and,
//! for the blink of an exec, its own child.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, send, sockopt};

use super::handle::ChildId;
use super::process_trees::{ProcessTrees, TreeEvent};
use super::procfs;
use super::protocol::{self, MAX_REPORT, MAX_REQUEST, Report, Request, SpawnRequest};
use super::spawner::Spawner;
use crate::fd;

/// The first argument that turns the executable into a guardian.
pub const ARGUMENT: &str = "__guardian";
/// Requests taken in one go, so that reaping is not kept waiting by a burst of spawns.
const MAX_REQUESTS_PER_WAKEUP: usize = 16;
/// Reports kept for a master that does not read; the ends of children are never dropped, log lines are.
const MAX_QUEUED_REPORTS: usize = 4096;

/// Runs the guardian. Enter it first of all in main, before anything is opened, when the first argument is
/// [`ARGUMENT`].
pub fn process_main() -> ! {
    let code = match GuardianLoop::begin() {
        Ok(guardian) => {
            guardian.run();
            0
        }
        Err(error) => {
            eprintln!(
                "aint-queue: guardian: could not begin: {error}; it is started by queue:listen, not by hand"
            );
            2
        }
    };
    std::process::exit(code)
}

struct GuardianLoop {
    socket: OwnedFd,
    child_signals: SignalFd,
    trees: ProcessTrees,
    spawner: Spawner,
    locks: HashMap<String, OwnedFd>,
    reports: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

/// Whether the master is still there.
#[derive(PartialEq, Eq)]
enum MasterState {
    Connected,
    Disconnected,
}

impl GuardianLoop {
    fn begin() -> io::Result<Self> {
        if getsockopt(&io::stdin(), sockopt::SockType) != Ok(SockType::SeqPacket) {
            return Err(io::Error::other("standard input is not a master's socket"));
        }
        SigSet::all().thread_block()?;
        fd::reset_signal_dispositions();
        let socket = fd::set_up_guardian_descriptors()?;
        // It fails when the session is ours already, which is how a master starts us.
        let _ = nix::unistd::setsid();
        prctl::set_child_subreaper(true)?;
        prctl::set_name(c"aint-guardian")?;
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let child_signals =
            SignalFd::with_flags(&child_ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let cookie_base = std::env::args().nth(2).unwrap_or_default();
        let mut guardian = Self {
            socket,
            child_signals,
            trees: ProcessTrees::new(cookie_base, Instant::now()),
            spawner: Spawner::new(),
            locks: HashMap::new(),
            reports: VecDeque::new(),
            buffer: vec![0; MAX_REQUEST + 1],
        };
        guardian.report(&Report::Ready);
        Ok(guardian)
    }

    fn run(mut self) {
        while self.poll_once() == MasterState::Connected {}
        self.trees.kill_all(Instant::now());
        loop {
            self.advance_trees();
            self.flush();
            if self.trees.is_empty() {
                return;
            }
            self.wait(false);
        }
    }

    /// Waits for something to happen and deals with it.
    fn poll_once(&mut self) -> MasterState {
        let state = self.wait(true);
        // A master that is gone wants nothing any more, whatever it has asked for and we have not read yet.
        if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return MasterState::Disconnected;
        }
        if state.contains(PollFlags::POLLIN) && self.read_requests() == MasterState::Disconnected {
            return MasterState::Disconnected;
        }
        self.advance_trees();
        self.flush();
        MasterState::Connected
    }

    /// Waits for the master, a child's end or the next turn of the trees. Says what the socket is ready for.
    fn wait(&mut self, listen: bool) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, listen);
        wanted.set(PollFlags::POLLOUT, listen && !self.reports.is_empty());
        let timeout = match self.trees.next_advance(Instant::now()) {
            None => PollTimeout::NONE,
            // A millisecond is the unit of poll; rounding down would make it spin.
            Some(pause) => {
                PollTimeout::try_from(pause.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::ZERO)
            }
        };
        let mut fds = [
            PollFd::new(self.child_signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.socket.as_fd(), wanted),
        ];
        // After the master's end there is nothing to wait for on its socket, and poll would not wait at all.
        let fds = if listen { &mut fds[..] } else { &mut fds[..1] };
        if poll(fds, timeout).is_err() {
            return PollFlags::empty();
        }
        let ready = |i: usize| fds.get(i).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (ended, socket) = (!ready(0).is_empty(), ready(1));
        if ended {
            // It says only that somebody ended; who, the reaping tells.
            while let Ok(Some(_)) = self.child_signals.read_signal() {}
        }
        socket
    }

    fn read_requests(&mut self) -> MasterState {
        for _ in 0..MAX_REQUESTS_PER_WAKEUP {
            let received = match fd::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(received) if received.len == 0 => return MasterState::Disconnected,
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return MasterState::Disconnected,
            };
            match protocol::decode::<Request>(&self.buffer[..received.len]) {
                Ok(request) => self.handle_request(request, received.fds),
                Err(error) => self.log(format!("the guardian does not understand a request: {error}")),
            }
        }
        MasterState::Connected
    }

    fn handle_request(&mut self, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Spawn(spawn) => self.spawn(spawn, fds),
            Request::Terminate { child } => self.trees.terminate(ChildId(child)),
            Request::Kill { child } => self.trees.kill(ChildId(child), Instant::now()),
            Request::Hold { name } => match fds.into_iter().next() {
                Some(lock) => drop(self.locks.insert(name, lock)),
                None => self.log(format!("the guardian has no descriptor free to hold the lock \"{name}\"")),
            },
            Request::Release { name } => drop(self.locks.remove(&name)),
        }
    }

    fn spawn(&mut self, spawn: SpawnRequest, fds: Vec<OwnedFd>) {
        let child = ChildId(spawn.child);
        let cookie = self.trees.cookie(&spawn.scope, child);
        // Before the start, so that no process of its tree can seem older than the worker.
        let start_time = procfs::ticks_since_boot();
        match self.spawner.start(&spawn, &cookie, &fds) {
            Ok(pid) => {
                self.trees.add_worker(child, pid, start_time);
                self.report(&Report::Spawned { child: child.0, pid });
            }
            Err(failure) => self.report(&Report::SpawnFailed {
                child: child.0,
                error: bounded(failure.error),
                errno: failure.errno as i32,
            }),
        }
    }

    fn advance_trees(&mut self) {
        for event in self.trees.advance(Instant::now()) {
            match event {
                TreeEvent::Ended(child, exit) => self.report(&Report::ended(child, exit)),
                TreeEvent::Log(message) => self.log(message),
            }
        }
    }

    fn log(&mut self, message: String) {
        if self.reports.len() < MAX_QUEUED_REPORTS {
            self.report(&Report::Log { message: bounded(message) });
        }
    }

    fn report(&mut self, report: &Report) {
        let bytes = protocol::encode(report).expect("a report holds text and numbers only");
        self.reports.push_back(bytes);
    }

    /// Sends what the socket takes; the rest waits until it takes more.
    fn flush(&mut self) {
        while let Some(report) = self.reports.front() {
            match send(self.socket.as_raw_fd(), report, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return,
                // Sent, or nobody is there to read it.
                Ok(_) | Err(_) => drop(self.reports.pop_front()),
            }
        }
    }
}

/// Short enough for one datagram, however much of it JSON has to escape.
fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REPORT / 8));
    text
}
