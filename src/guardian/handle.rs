//! What the master's side sees of the guardian's children.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Names one child within a master's life; never reused, unlike a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// A program to start. Descriptors are the child's ends; the master's ends stay with the caller.
#[derive(Debug)]
pub struct Spawn {
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
