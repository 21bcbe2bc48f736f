//! What the master's side sees of the guardian's children.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::privileges::Privileges;

/// Names one child within a master's life; never reused, unlike a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// A program to start. Descriptors are the child's ends; the master's ends stay with the caller.
#[derive(Debug)]
pub struct ChildSpec {
    /// The program, looked up in PATH when it holds no slash, and its arguments.
    pub argv: Vec<String>,
    /// Variables set for the child, beside those the guardian itself has.
    pub env: Vec<(String, String)>,
    /// Working directory; the master's own when absent.
    pub cwd: Option<PathBuf>,
    /// Standard input; /dev/null when absent.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// The worker protocol's socket: descriptor 3 of the child, named by `AINT_QUEUE_FD`.
    pub wire: Option<OwnedFd>,
}

/// What happened to a child. `Exited`, `SpawnFailed` and `Abandoned` are last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    /// It runs.
    Spawned {
        /// Its process id.
        pid: i32,
    },
    /// It could not be started.
    SpawnFailed {
        /// Why, for people, naming the program.
        error: String,
        /// The system's error number.
        errno: i32,
    },
    /// It ended, and its whole tree with it.
    Exited(Exit),
    /// The guardian died; the child and its tree are gone.
    Abandoned,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Where a child's events go.
pub type Events = UnboundedSender<(ChildId, ChildEvent)>;

/// Most children that are asked for and have neither started nor failed. More than a guardian that lives ever
/// gets behind with; what is asked beyond it fails at once instead of piling up.
const MAX_PENDING_SPAWNS: usize = 1024;

/// Asks the guardian for children. Cheap to clone; nothing here waits or fails: what becomes of a request
/// arrives as a [`ChildEvent`].
#[derive(Clone, Debug)]
pub struct GuardianHandle {
    commands: UnboundedSender<Command>,
    /// What this handle's children belong to: stands first in their cookies.
    scope: Arc<str>,
    /// What they are started as.
    privileges: Option<Arc<Privileges>>,
    shared: Arc<Shared>,
}

/// What handles and the task behind them count together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    last_child: AtomicU64,
    /// Children asked for and neither started nor failed; raised by handles, lowered by the task.
    pub(super) pending_spawns: AtomicUsize,
    /// How often the guardian died; raised by the task.
    pub(super) deaths: AtomicU64,
}

/// What a handle asks of the task that talks to the guardian.
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
    Hold(String, OwnedFd),
    Release(String),
    ShutDown(oneshot::Sender<()>),
}

impl GuardianHandle {
    pub(super) fn new(commands: UnboundedSender<Command>, shared: Arc<Shared>) -> Self {
        Self { commands, scope: "".into(), privileges: None, shared }
    }

    /// The same handle for children that belong to this lock: a later holder of it finds them by their cookies.
    #[must_use]
    pub fn with_scope(&self, lock_id: &str) -> Self {
        Self { scope: lock_id.into(), ..self.clone() }
    }

    /// The same handle for children that are started so.
    #[must_use]
    pub fn with_privileges(&self, privileges: Privileges) -> Self {
        Self { privileges: Some(privileges.into()), ..self.clone() }
    }

    /// Starts a child. Its events come in this order: `Spawned`, then one last word; or the last word alone.
    pub fn spawn(&self, spec: ChildSpec, events: Events) -> ChildId {
        let child = self.reserve_id();
        let name = spec.argv.first().cloned().unwrap_or_default();
        let refuse = |events: &Events, why: &str, errno: Errno| {
            let error = format!("could not run \"{name}\": {why}");
            // Nobody listening means nobody cares.
            let _ = events.send((child, ChildEvent::SpawnFailed { error, errno: errno as i32 }));
        };
        if self.shared.pending_spawns.fetch_add(1, Ordering::Relaxed) >= MAX_PENDING_SPAWNS {
            self.shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
            refuse(&events, "too many programs are waiting to be started", Errno::EAGAIN);
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

    /// A number for a child that will never be born, because what it needs could not be prepared.
    #[must_use]
    pub fn reserve_id(&self) -> ChildId {
        ChildId(self.shared.last_child.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// SIGTERM to the child's process group.
    pub fn terminate(&self, child: ChildId) {
        self.send(Command::Terminate(child));
    }

    /// SIGKILL to the child's whole tree; `Exited` follows.
    pub fn kill(&self, child: ChildId) {
        self.send(Command::Kill(child));
    }

    /// Makes the guardian keep a descriptor, that of a locked file, open until it is released or the guardian
    /// ends. A later guardian gets it too.
    pub fn hold(&self, name: &str, lock: OwnedFd) {
        self.send(Command::Hold(name.to_owned(), lock));
    }

    /// Makes the guardian close a held descriptor.
    pub fn release(&self, name: &str) {
        self.send(Command::Release(name.to_owned()));
    }

    /// How often the guardian has died and been replaced.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.shared.deaths.load(Ordering::Relaxed)
    }

    pub(super) fn send(&self, command: Command) {
        // After the guardian's end there are no children and no locks left to speak of.
        let _ = self.commands.send(command);
    }
}
