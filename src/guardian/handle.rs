//! The master's interface to the guardian's children: requests go in through [`GuardianHandle`], [`ChildEvent`]s
//! come out.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::privileges::Privileges;

/// Id of one child, unique for the lifetime of the master process; unlike a pid it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// A program to start. The descriptors are the child's ends; the caller keeps the master's ends.
#[derive(Debug)]
pub struct ChildSpec {
    /// The program, looked up in PATH when it contains no slash, and its arguments.
    pub argv: Vec<String>,
    /// Environment variables set for the child in addition to those of the guardian.
    pub env: Vec<(String, String)>,
    /// Working directory; that of the master when absent.
    pub cwd: Option<PathBuf>,
    /// Standard input; /dev/null when absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// Socket of the worker protocol: descriptor 3 of the child, named by `AINT_QUEUE_FD`.
    pub wire: Option<OwnedFd>,
}

/// A change in the life of a child. `SpawnFailed`, `Exited`, `Interrupted` and `Abandoned` are final: no event follows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildEvent {
    /// The program has started.
    Spawned {
        /// Process id.
        pid: i32,
    },
    /// The program could not be started.
    SpawnFailed {
        /// Reason in words, with the name of the program.
        error: String,
        /// Error number of the operating system.
        errno: i32,
    },
    /// The child exited, and its whole process tree is gone.
    Exited(Exit),
    /// The guardian ended the child, and its whole process tree is gone: the master was silent for too long.
    Interrupted(Exit),
    /// The guardian died; the child and its process tree are gone.
    Abandoned,
}

/// Exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Exited with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed by this signal, with a core dump.
    CoreDumped(i32),
}

/// Receives the events of a child.
pub type Events = UnboundedSender<(ChildId, ChildEvent)>;

/// Most children that are requested and have neither started nor failed. A healthy guardian never falls this far
/// behind; further requests fail at once, so that they cannot accumulate while it is stopped or restarting.
const MAX_PENDING_SPAWNS: usize = 1024;

/// Starts, signals and kills children. Cheap to clone. No method waits or fails: the result of a request arrives as
/// a [`ChildEvent`].
#[derive(Clone, Debug)]
pub struct GuardianHandle {
    commands: UnboundedSender<Command>,
    /// The guardian of runs that may kill it.
    exclusive: Option<UnboundedSender<Command>>,
    /// Id of the lock that this handle's children belong to; the first part of their cookies.
    scope: Arc<str>,
    /// User, niceness and resource limits of this handle's children.
    privileges: Option<Arc<Privileges>>,
    shared: Arc<Shared>,
}

/// The turn to run a job that may have killed a guardian; a drop gives it up. There is one per master.
#[derive(Debug)]
pub struct ExclusiveRun(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

/// Counts a run in a child of the guardian until it is dropped: while there is any, the guardian is watched.
#[derive(Debug)]
pub struct RunTicket(Arc<Shared>);

impl Drop for RunTicket {
    fn drop(&mut self) {
        self.0.runs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters shared by all handles and the client task.
#[derive(Debug)]
pub(super) struct Shared {
    last_child: AtomicU64,
    /// Children requested that have neither started nor failed; raised by handles, lowered by the client task.
    pub(super) pending_spawns: AtomicUsize,
    /// Number of times the guardian died; raised by the client task.
    pub(super) deaths: AtomicU64,
    /// Runs in children of the guardian.
    pub(super) runs: AtomicUsize,
    /// Whether the client task watches the guardian; otherwise the first run asks for a watch.
    pub(super) is_watched: AtomicBool,
    exclusive: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            last_child: AtomicU64::new(0),
            pending_spawns: AtomicUsize::new(0),
            deaths: AtomicU64::new(0),
            runs: AtomicUsize::new(0),
            is_watched: AtomicBool::new(false),
            exclusive: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A request of a handle to the client task.
#[derive(Debug)]
pub(super) enum Command {
    Spawn {
        child: ChildId,
        scope: Arc<str>,
        privileges: Option<Arc<Privileges>>,
        spec: Box<ChildSpec>,
        events: Events,
    },
    Terminate(ChildId),
    Kill(ChildId),
    Hold(String, Arc<OwnedFd>),
    Release(String),
    /// A run began while the guardian was not watched.
    RunBegan,
    ShutDown(oneshot::Sender<()>),
}

impl GuardianHandle {
    pub(super) fn new(
        commands: UnboundedSender<Command>,
        exclusive: Option<UnboundedSender<Command>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { commands, exclusive, scope: "".into(), privileges: None, shared }
    }

    /// A handle that starts children under a guardian of their own: nothing under another one can take them along.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { commands: self.exclusive.as_ref().unwrap_or(&self.commands).clone(), ..self.clone() }
    }

    /// A handle whose children belong to this lock: a later holder of the lock finds leftovers by their cookies.
    #[must_use]
    pub fn with_scope(&self, lock_id: &str) -> Self {
        Self { scope: lock_id.into(), ..self.clone() }
    }

    /// A handle whose children start with these privileges.
    #[must_use]
    pub fn with_privileges(&self, privileges: Privileges) -> Self {
        Self { privileges: Some(privileges.into()), ..self.clone() }
    }

    /// Starts a child. Its events are `Spawned` and then one final event, or a final event alone.
    pub fn spawn(&self, spec: ChildSpec, events: Events) -> ChildId {
        let child = self.reserve_id();
        let name = spec.argv.first().cloned().unwrap_or_default();
        let refuse = |events: &Events, why: &str, errno: Errno| {
            let error = format!("could not run \"{name}\": {why}");
            // A dropped receiver means that the caller no longer needs the result.
            let _ = events.send((child, ChildEvent::SpawnFailed { error, errno: errno as i32 }));
        };
        if self.shared.pending_spawns.fetch_add(1, Ordering::Relaxed) >= MAX_PENDING_SPAWNS {
            self.shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
            refuse(&events, "too many programs are waiting to start", Errno::EAGAIN);
            return child;
        }
        let (scope, privileges) = (Arc::clone(&self.scope), self.privileges.clone());
        let command = Command::Spawn { child, scope, privileges, spec: Box::new(spec), events };
        if let Err(unsent) = self.commands.send(command) {
            self.shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
            if let Command::Spawn { events, .. } = unsent.0 {
                refuse(&events, "the guardian has been shut down", Errno::ESHUTDOWN);
            }
        }
        child
    }

    /// Reserves the id of a child that is never started, for callers whose preparation of it failed.
    #[must_use]
    pub fn reserve_id(&self) -> ChildId {
        ChildId(self.shared.last_child.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// SIGTERM to the child's process group.
    pub fn terminate(&self, child: ChildId) {
        self.send_to_all(|| Command::Terminate(child));
    }

    /// SIGKILL to the child's whole process tree; `Exited` follows.
    pub fn kill(&self, child: ChildId) {
        self.send_to_all(|| Command::Kill(child));
    }

    /// Makes the guardian keep the descriptor of a locked file open until it is released or the guardian ends. A
    /// replacement guardian receives it again.
    pub fn hold(&self, name: &str, lock: OwnedFd) {
        let lock = Arc::new(lock);
        self.send_to_all(|| Command::Hold(name.to_owned(), Arc::clone(&lock)));
    }

    /// Makes the guardian close a held descriptor.
    pub fn release(&self, name: &str) {
        self.send_to_all(|| Command::Release(name.to_owned()));
    }

    /// Counts a run that begins in a child.
    #[must_use]
    pub fn run_began(&self) -> RunTicket {
        self.shared.runs.fetch_add(1, Ordering::Relaxed);
        if !self.shared.is_watched.swap(true, Ordering::Relaxed) {
            self.send_to_all(|| Command::RunBegan);
        }
        RunTicket(Arc::clone(&self.shared))
    }

    /// The turn to run a job that may have killed a guardian, if no other such job runs.
    #[must_use]
    pub fn try_exclusive_run(&self) -> Option<ExclusiveRun> {
        Arc::clone(&self.shared.exclusive).try_acquire_owned().ok().map(ExclusiveRun)
    }

    /// Waits for the turn to run a job that may have killed a guardian.
    pub async fn exclusive_run(&self) -> ExclusiveRun {
        let turn = Arc::clone(&self.shared.exclusive).acquire_owned().await;
        ExclusiveRun(turn.expect("the semaphore is never closed"))
    }

    /// Number of times the guardian process has died.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.shared.deaths.load(Ordering::Relaxed)
    }

    /// Asks for the end of every guardian; each receiver resolves at the end of one.
    pub(super) fn shut_down(&self) -> Vec<oneshot::Receiver<()>> {
        let mut ends = Vec::new();
        self.send_to_all(|| {
            let (done, is_done) = oneshot::channel();
            ends.push(is_done);
            Command::ShutDown(done)
        });
        ends
    }

    /// Sends a command to both guardians; children that a guardian does not know mean nothing to it.
    fn send_to_all(&self, mut command: impl FnMut() -> Command) {
        for guardian in [Some(&self.commands), self.exclusive.as_ref()].into_iter().flatten() {
            // The client task ends after its guardian, when no child and no lock is left to act on.
            let _ = guardian.send(command());
        }
    }
}
