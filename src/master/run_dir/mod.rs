//! The run directory: where one master per channel is made sure of, and where others find it.
//!
//! For each channel it holds
//! - `{channel}-master.lock`: the kernel's lock on it makes the master; never unlinked, held by the guardian
//!   too, so a free lock means that the old work is dead;
//! - `{channel}-master.pid`: the master's process id, information only;
//! - `{channel}.sock`: the control socket.
//!
//! Stale files and reused pids mislead nobody: what a file says is believed only while the lock is held and
//! the process that wrote it lives.

mod lock;
mod names;
mod presence;
mod record;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess, geteuid};
use thiserror::Error;

pub use lock::Lock;
pub use presence::{Holder, Presence};

use crate::config;

/// Why a run directory cannot be used.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// There is a file where the directory should be.
    #[error("\"{}\" is not a directory; remove it, or set pid_path to another place", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("this user (uid {uid}) may not write to \"{}\"; set pid_path to a directory of its own, or change the \
             owner of this one", path.display())]
    NotWritable {
        /// The directory, or the one it would be made in.
        path: PathBuf,
        /// Us.
        uid: u32,
    },
    /// It belongs to somebody else, who could take the master's files away.
    #[error("\"{}\" belongs to another user (uid {owner}); set pid_path to a directory of this user, or change its \
             owner", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A control socket in it would have a path longer than the kernel takes.
    #[error("\"{}\" is too long for a control socket; set pid_path to a path of at most {longest} bytes",
            path.display())]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// The longest one that works.
        longest: usize,
    },
    /// A directory is where a file should be.
    #[error("\"{}\" is a directory where the pid file should be; remove it", path.display())]
    Obstructed {
        /// The path.
        path: PathBuf,
    },
    /// The system refused something else.
    #[error("could not {doing} \"{}\"", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a lock cannot be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another master has it.
    #[error("another master{} holds \"{}\"; stop it with queue:stop, or give this one a pid_path of its own",
            pid.map(|pid| format!(", pid {pid},")).unwrap_or_default(), path.display())]
    Held {
        /// Its process id, when it is known for sure.
        pid: Option<i32>,
        /// The lock file.
        path: PathBuf,
    },
    /// There is something else where the lock file should be.
    #[error("\"{}\" is {what} where the lock file should be; remove it", path.display())]
    NotAFile {
        /// The lock file.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The lock file is there and this user may not write it.
    #[error("\"{}\" may not be written by this user: its owner is uid {owner}; run as that user, or remove the file \
             when no master holds it", path.display())]
    Forbidden {
        /// The lock file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The system refused something else; some network file systems have no locks.
    #[error("could not lock \"{}\"", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Whether another master is why.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// One channel's place in a run directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    directory: PathBuf,
    channel: String,
}

impl RunDir {
    /// The place, whether it is there or not; nothing is touched.
    #[must_use]
    pub fn at(pid_path: &Path, channel: &str) -> Self {
        Self { directory: pid_path.to_owned(), channel: channel.to_owned() }
    }

    /// Makes the directory if need be, and makes sure that a master can use it.
    ///
    /// # Errors
    /// When it cannot, with the path and the remedy.
    pub fn open(pid_path: &Path, channel: &str) -> Result<Self, RunDirError> {
        let run_dir = Self::at(pid_path, channel);
        if run_dir.socket_path().as_os_str().len() > names::MAX_SOCKET_PATH {
            let longest = names::longest_directory(channel);
            return Err(RunDirError::TooLong { path: pid_path.to_owned(), longest });
        }
        make(pid_path)?;
        check(pid_path)?;
        Ok(run_dir)
    }

    /// Becomes the channel's only master. When the last one died a moment ago, waits up to two seconds for its
    /// guardian to finish.
    ///
    /// # Errors
    /// When another master lives, or the lock file cannot be used.
    pub fn lock(&self) -> Result<Lock, LockError> {
        lock::take(&self.lock_path(), self.pid_file())
    }

    /// Goes on as the channel's only master, with the lock that an earlier program of this process has kept
    /// ([`Lock::into_inherited_fd`]).
    ///
    /// # Errors
    /// As [`RunDir::lock`], when it is not that lock.
    pub fn adopt_lock(&self, kept: OwnedFd) -> Result<Lock, LockError> {
        lock::adopt(kept, &self.lock_path(), self.pid_file())
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join(format!("{}-master.pid", names::stem(&self.channel)))
    }

    /// The control socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        names::socket(&self.directory, &self.channel)
    }

    /// The process that is master now.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        presence::holder(&self.lock_path())
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join(format!("{}-master.lock", names::stem(&self.channel)))
    }
}

/// Whether a channel has a master. Reads only.
#[must_use]
pub fn presence(channel: &config::Channel) -> Presence {
    presence::presence(&RunDir::at(&channel.pid_path, &channel.name).lock_path())
}

/// A channel's control socket, whether a master listens there or not.
#[must_use]
pub fn socket_path(channel: &config::Channel) -> PathBuf {
    RunDir::at(&channel.pid_path, &channel.name).socket_path()
}

/// Makes the directory and those above it that are missing.
fn make(path: &Path) -> Result<(), RunDirError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let parent = path.ancestors().skip(1).find(|p| p.exists()).unwrap_or(Path::new("/"));
    // Where everybody may make files, as under /tmp, ours are nobody else's business.
    let is_shared = fs::metadata(parent).is_ok_and(|m| m.mode() & 0o002 != 0);
    let made = DirBuilder::new().recursive(true).mode(if is_shared { 0o700 } else { 0o755 }).create(path);
    made.map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            RunDirError::NotADirectory { path: parent.to_owned() }
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            RunDirError::NotWritable { path: parent.to_owned(), uid: geteuid().as_raw() }
        }
        _ => RunDirError::Io { doing: "make the run directory", path: path.to_owned(), source },
    })
}

fn check(path: &Path) -> Result<(), RunDirError> {
    let uid = geteuid().as_raw();
    // A link may lead there, as /var/run does, if whoever made it is to be trusted.
    for found in [fs::symlink_metadata(path), fs::metadata(path)] {
        let found = match found {
            Ok(found) => found,
            Err(source) => {
                return Err(RunDirError::Io {
                    doing: "look at the run directory",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if !found.is_dir() && !found.is_symlink() {
            return Err(RunDirError::NotADirectory { path: path.to_owned() });
        }
        // Root may work in anybody's directory: it opens no file through a link there.
        if found.uid() != uid && found.uid() != 0 && uid != 0 {
            return Err(RunDirError::Foreign { path: path.to_owned(), owner: found.uid() });
        }
    }
    eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|_| RunDirError::NotWritable { path: path.to_owned(), uid })
}
