//! Errors of the run directory and its locks.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::access::Denied;
use crate::dangling_link::DanglingLink;
use crate::store::StoreIdentity;
use crate::trust::{Distrust, Permissions};

/// The reason why a run directory is unusable.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// A file has the path of the directory.
    #[error("\"{}\" is not a directory; remove it, or set pid_path to another place", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// This user may not write to the directory, or to the one above it when it does not exist.
    #[error("{0}, or set pid_path to a directory of this user")]
    Denied(Denied),
    /// The directory is on a file system that is read only.
    #[error("\"{}\" is on a read-only file system; set pid_path to another place", path.display())]
    ReadOnly {
        /// The directory, or its parent when it does not exist.
        path: PathBuf,
    },
    /// The directory belongs to another user, who could remove the master's files.
    #[error("\"{}\" belongs to another user ({found}); set pid_path to a directory of this user, or change its \
             owner, or accept it with --trust-files", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Owner and mode of the path.
        found: Permissions,
    },
    /// Other users may write to the directory, or could have put it in place.
    #[error("{0}")]
    Distrusted(Distrust),
    /// The path leads through a symbolic link without a target.
    #[error("the run directory \"{}\" cannot be used: {link}; or set pid_path to another place", path.display())]
    Dangling {
        /// The directory.
        path: PathBuf,
        /// The link.
        link: DanglingLink,
    },
    /// A control socket in the directory would have a path longer than the kernel allows.
    #[error("\"{}\" is too long for a control socket; set pid_path to a path of at most {longest} bytes",
            path.display())]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// The longest usable path.
        longest: usize,
    },
    /// A directory has the path of the pid file.
    #[error("\"{}\" is a directory, but the path of the pid file; remove it", path.display())]
    Obstructed {
        /// The path.
        path: PathBuf,
    },
    /// Another system call failed.
    #[error("could not {doing} \"{}\"", path.display())]
    Io {
        /// The operation, to finish "could not".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// The reason why a lock cannot be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another master holds the lock.
    #[error("another master is running{}", pid.map(|pid| format!(", pid {pid}")).unwrap_or_default())]
    Held {
        /// The process id of that master, if it is verified.
        pid: Option<i32>,
        /// The lock file.
        path: PathBuf,
        /// The store that it serves, if it is known.
        store: Option<Box<StoreIdentity>>,
    },
    /// Another user may have put the lock file in place.
    #[error("{0}")]
    Distrusted(Distrust),
    /// Something else has the path of the lock file.
    #[error("\"{}\" is {what}, but the path of the lock file; remove it", path.display())]
    NotAFile {
        /// The lock file.
        path: PathBuf,
        /// The kind of file found.
        what: &'static str,
    },
    /// The lock file exists and this user may not write it.
    #[error("{0}, or remove the file when no master holds it")]
    Denied(Denied),
    /// Another system call failed. Some network file systems have no locks.
    #[error("could not lock \"{}\"", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Whether another master holds the lock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}
