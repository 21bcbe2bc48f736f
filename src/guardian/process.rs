//! The main loop of the guardian process.
//!
//! - One thread, no async runtime: one poll over the master's socket and a signalfd for SIGCHLD.
//! - Starts programs, signals them and reports their exits; `process_trees` kills and reaps whole trees.
//! - Keeps the master's locks open until it exits, so a free lock means that no process of that master is left.
//! - When the master is silent for too long while runs are under it, kills every child and serves on.
//! - When the master's end of the socket closes, for whatever reason, kills and reaps every child, then exits.
//!
//! The process writes to standard error only when it cannot start. It blocks only in poll and, until the exec, on a
//! child that it starts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, SockType, getsockopt, send, sockopt};

use super::handle::{ChildEvent, ChildId};
use super::process_trees::{ProcessTrees, TreeEvent};
use super::procfs;
use super::protocol::{self, MAX_REPORT, MAX_REQUEST, Report, Request, SpawnRequest};
use super::silence::{self, MasterSilence};
use super::spawner::{SpawnFailure, Spawner};
use crate::fd;
use crate::open_files;
use crate::protected_memory;

/// First argument that makes the executable run as a guardian.
pub const ARGUMENT: &str = "__guardian";
/// Most requests handled per wake-up, so that a burst of spawns cannot delay reaping.
const MAX_REQUESTS_PER_WAKEUP: usize = 16;
/// Most queued reports at which log lines are still added; exits of children are queued without limit.
const MAX_QUEUED_REPORTS: usize = 4096;

/// Runs the guardian. `main` must call it first, before it opens any descriptor, when the first argument is [`ARGUMENT`].
pub fn process_main() -> ! {
    let code = match GuardianLoop::begin() {
        Ok(guardian) => {
            guardian.run();
            0
        }
        Err(error) => {
            eprintln!(
                "aint-queue: guardian: could not start: {error}; queue:listen starts the guardian, it cannot be run by hand"
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
    silence: MasterSilence,
    /// Children that are ended because of the master's silence.
    interrupted: HashSet<ChildId>,
    reports: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl GuardianLoop {
    fn begin() -> io::Result<Self> {
        if getsockopt(&io::stdin(), sockopt::SockType) != Ok(SockType::SeqPacket) {
            return Err(io::Error::other("standard input is not the socket of a master"));
        }
        protected_memory::protect();
        SigSet::all().thread_block()?;
        fd::reset_signal_dispositions();
        let socket = fd::set_up_guardian_descriptors()?;
        // EPERM is normal: the master starts the guardian in a session of its own.
        let _ = nix::unistd::setsid();
        prctl::set_child_subreaper(true)?;
        prctl::set_name(c"aint-guardian")?;
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        let child_signals =
            SignalFd::with_flags(&child_ended, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        open_files::raise();
        let cookie_base = std::env::args().nth(2).unwrap_or_default();
        let mut guardian = Self {
            socket,
            child_signals,
            trees: ProcessTrees::new(cookie_base, Instant::now()),
            spawner: Spawner::new(),
            locks: HashMap::new(),
            silence: MasterSilence::default(),
            interrupted: HashSet::new(),
            reports: VecDeque::new(),
            buffer: vec![0; MAX_REQUEST + 1],
        };
        guardian.report(&Report::Ready);
        Ok(guardian)
    }

    fn run(mut self) {
        while self.poll_once().is_continue() {}
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

    /// Waits for the next wake-up and handles it; breaks when the master has closed its end of the socket.
    fn poll_once(&mut self) -> ControlFlow<()> {
        let state = self.wait(true);
        // Unread requests of a master that is gone are dropped.
        if state.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return ControlFlow::Break(());
        }
        if state.contains(PollFlags::POLLIN) {
            self.read_requests()?;
        } else if let Some(silence) = self.silence.take_excess(procfs::time_since_boot()) {
            // Requests that have arrived are read first: while this process was stopped, the master was not silent.
            self.end_children(silence);
        }
        self.advance_trees();
        self.flush();
        ControlFlow::Continue(())
    }

    /// Ends every child: the lease of a master that is silent for so long is lost, and others run its jobs.
    fn end_children(&mut self, silence: Duration) {
        let children = self.trees.kill_running(Instant::now());
        self.log(format!(
            "master was silent for {} seconds, longer than its lease: {} children ended, attempts not counted",
            silence.as_secs(),
            children.len()
        ));
        self.interrupted.extend(children);
    }

    /// Waits for the master, the exit of a child, the next scan of the trees or the next look at the silence of the master. Returns what the socket is ready for.
    fn wait(&mut self, listen: bool) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, listen);
        wanted.set(PollFlags::POLLOUT, listen && !self.reports.is_empty());
        let look = (listen && self.silence.is_measured()).then_some(silence::CHECK_INTERVAL);
        let timeout = match self.trees.next_advance(Instant::now()).into_iter().chain(look).min() {
            None => PollTimeout::NONE,
            // poll takes milliseconds: round up, because rounding down would make the loop spin.
            Some(pause) => {
                PollTimeout::try_from(pause.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::ZERO)
            }
        };
        let mut fds = [
            PollFd::new(self.child_signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.socket.as_fd(), wanted),
        ];
        // Leave out the socket after the master has closed it: poll would return at once forever.
        let fds = if listen { &mut fds[..] } else { &mut fds[..1] };
        if poll(fds, timeout).is_err() {
            // Nothing is known of the socket, so it is read.
            return PollFlags::POLLIN;
        }
        let ready = |i: usize| fds.get(i).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (ended, socket) = (!ready(0).is_empty(), ready(1));
        if ended {
            // Discard the signals: they coalesce, so reaping determines which children have ended.
            while let Ok(Some(_)) = self.child_signals.read_signal() {}
        }
        socket
    }

    fn read_requests(&mut self) -> ControlFlow<()> {
        for _ in 0..MAX_REQUESTS_PER_WAKEUP {
            let received = match fd::receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(received) if received.len == 0 => return ControlFlow::Break(()),
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return ControlFlow::Break(()),
            };
            self.silence.request_arrived(procfs::time_since_boot());
            match protocol::decode::<Request>(&self.buffer[..received.len]) {
                Ok(request) => self.handle_request(request, received.fds),
                Err(error) => self.log(format!("guardian could not decode a request: ignoring it: {error}")),
            }
        }
        ControlFlow::Continue(())
    }

    fn handle_request(&mut self, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Spawn(spawn) => self.spawn(&spawn, fds),
            Request::Terminate { child } => self.trees.terminate(child),
            Request::Kill { child } => self.trees.kill(child, Instant::now()),
            Request::Hold { name } => match fds.into_iter().next() {
                Some(lock) => drop(self.locks.insert(name, lock)),
                None => self.log(format!("guardian has no free descriptor: lock \"{name}\" is not held")),
            },
            Request::Beat { silence_limit } => self.silence.set_limit(silence_limit),
            Request::Release { name } => drop(self.locks.remove(&name)),
        }
    }

    fn spawn(&mut self, spawn: &SpawnRequest, fds: Vec<OwnedFd>) {
        let child = spawn.child;
        let cookie = self.trees.cookie(&spawn.scope, child);
        // Read the clock before the start, so that no process of the tree can seem older than the worker.
        let start_time = procfs::ticks_since_boot();
        match self.spawner.start(spawn, &cookie, &fds) {
            Ok(pid) => {
                self.trees.add_worker(child, pid, start_time);
                self.report_event(child, ChildEvent::Spawned { pid });
            }
            Err(SpawnFailure { error, errno }) => {
                let (error, errno) = (bounded(error), errno as i32);
                self.report_event(child, ChildEvent::SpawnFailed { error, errno });
            }
        }
    }

    fn advance_trees(&mut self) {
        for event in self.trees.advance(Instant::now()) {
            match event {
                TreeEvent::Ended(child, exit) if self.interrupted.remove(&child) => {
                    self.report_event(child, ChildEvent::Interrupted(exit));
                }
                TreeEvent::Ended(child, exit) => self.report_event(child, ChildEvent::Exited(exit)),
                TreeEvent::Log(message) => self.log(message),
            }
        }
    }

    fn log(&mut self, message: String) {
        if self.reports.len() < MAX_QUEUED_REPORTS {
            self.report(&Report::Log { message: bounded(message) });
        }
    }

    fn report_event(&mut self, child: ChildId, event: ChildEvent) {
        self.report(&Report::Child { child, event });
    }

    fn report(&mut self, report: &Report) {
        let bytes = protocol::encode(report).expect("a report contains only text and numbers");
        self.reports.push_back(bytes);
    }

    /// Sends queued reports until the socket accepts no more.
    fn flush(&mut self) {
        while let Some(report) = self.reports.front() {
            match send(self.socket.as_raw_fd(), report, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => return,
                // Sent, or the master is gone.
                Ok(_) | Err(_) => drop(self.reports.pop_front()),
            }
        }
    }
}

/// Truncates a text so that its report fits one datagram even if JSON escapes every character.
fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REPORT / 8));
    text
}
