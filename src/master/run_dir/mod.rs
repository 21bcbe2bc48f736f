//! The run directory: it ensures one master per channel and lets commands find that master.
//!
//! Files per channel:
//! - `{channel}-master.lock`: the holder of the kernel's lock on this file is the master. The file is never unlinked. The
//!   guardian holds the lock too, so a free lock means that all processes of the last master are dead;
//! - `{channel}-master.pid`: the master's process id, for information only;
//! - `{channel}.sock`: the control socket;
//! - `{channel}-alerts.json`: the alerts of this host, so that a restart repeats none.
//!
//! Stale files and reused pids are harmless: the content of a file counts only while the lock is held and the process that
//! wrote it lives.

mod error;
mod lock;
mod names;
mod presence;
mod record;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

pub use error::{LockError, RunDirError};
pub use lock::{Lock, LockPlace};
pub use presence::{Holder, Presence};
pub use record::ServedStore;

use crate::access::{self, Access};
use crate::config;
use crate::control::ControlSocket;
use crate::dangling_link::DanglingLink;
use crate::known_directories::{self, CreateError};
use crate::trust;

/// End of the name of the file of alerts.
const ALERTS_SUFFIX: &str = "-alerts.json";
/// End of the name of a lock file.
const LOCK_SUFFIX: &str = "-master.lock";

/// The files of one channel in a run directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    directory: PathBuf,
    channel: String,
}

impl RunDir {
    /// The paths of a channel; does not access the directory.
    #[must_use]
    pub fn at(pid_path: &Path, channel: &str) -> Self {
        Self { directory: pid_path.to_owned(), channel: channel.to_owned() }
    }

    /// Creates the directory if it does not exist, and checks that a master can use it.
    ///
    /// # Errors
    /// When the directory is unusable, with the path and the remedy.
    pub fn open(pid_path: &Path, channel: &str) -> Result<Self, RunDirError> {
        let run_dir = Self::at(pid_path, channel);
        if run_dir.socket_path().as_os_str().len() > names::MAX_SOCKET_PATH {
            let longest = names::longest_directory(channel);
            return Err(RunDirError::TooLong { path: pid_path.to_owned(), longest });
        }
        if let Some(link) = DanglingLink::find(pid_path) {
            return Err(RunDirError::Dangling { path: pid_path.to_owned(), link });
        }
        make(pid_path)?;
        check(pid_path)?;
        Ok(run_dir)
    }

    /// Takes the lock that makes this process the channel's only master. After the death of the last master, waits up to two
    /// seconds for its guardian.
    ///
    /// # Errors
    /// When another master lives, or the lock file cannot be used.
    pub fn lock(&self) -> Result<Lock, LockError> {
        lock::take(&self.lock_path(), self.pid_file())
    }

    /// Takes over the lock that the previous program of this process has kept with [`Lock::into_inherited_fd`].
    ///
    /// # Errors
    /// As [`RunDir::lock`], when the descriptor is not that lock.
    pub fn adopt_lock(&self, kept: OwnedFd) -> Result<Lock, LockError> {
        lock::adopt(kept, &self.lock_path(), self.pid_file())
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join(format!("{}-master.pid", names::stem(&self.channel)))
    }

    /// The path of the control socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        names::socket(&self.directory, &self.channel)
    }

    /// The file of the alerts of this host in the channel.
    #[must_use]
    pub fn alerts_path(&self) -> PathBuf {
        self.directory.join(names::stem(&self.channel) + ALERTS_SUFFIX)
    }

    /// The process of the current master.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        presence::holder(&self.lock_path())
    }

    fn lock_path(&self) -> PathBuf {
        self.directory.join(names::stem(&self.channel) + LOCK_SUFFIX)
    }
}

/// Whether a channel has a master. Reads only.
#[must_use]
pub fn presence(channel: &config::Channel) -> Presence {
    presence::presence(&RunDir::at(&channel.pid_path, &channel.name).lock_path())
}

/// The masters whose files are in a directory, by channel. Reads only.
#[must_use]
pub fn presences_in(directory: &Path) -> Vec<(String, Presence)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut channels: Vec<_> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(LOCK_SUFFIX)?.to_owned()))
        .filter(|channel| config::is_channel_name(channel) && names::stem(channel) == *channel)
        .collect();
    channels.sort_unstable();
    let found = channels.into_iter().map(|channel| {
        let presence = presence::presence(&RunDir::at(directory, &channel).lock_path());
        (channel, presence)
    });
    found.filter(|(_, presence)| presence.running).collect()
}

/// The control socket of a channel for a command; a master may or may not listen there.
#[must_use]
pub fn control_socket(channel: &config::Channel) -> ControlSocket {
    let run_dir = RunDir::at(&channel.pid_path, &channel.name);
    let owner = fs::symlink_metadata(run_dir.lock_path()).ok().map(|found| found.uid());
    ControlSocket { path: run_dir.socket_path(), owner }
}

/// Creates the directory and its missing parents.
fn make(path: &Path) -> Result<(), RunDirError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let parent = path.ancestors().skip(1).find(|p| p.exists()).unwrap_or(Path::new("/"));
    // In a directory that every user may write, such as /tmp, the files are private to this user.
    let is_shared = fs::metadata(parent).is_ok_and(|m| m.mode() & 0o002 != 0);
    let made = known_directories::create(path, if is_shared { 0o700 } else { 0o755 });
    made.map_err(|error| match error {
        CreateError::Gone(_) => {
            let source = io::Error::new(io::ErrorKind::NotFound, error.to_string());
            refused(source, path, "create the run directory")
        }
        CreateError::Io(source) => match source.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                RunDirError::NotADirectory { path: parent.to_owned() }
            }
            _ => refused(source, path, "create the run directory"),
        },
    })
}

/// The error of a refused system call on the run directory.
fn refused(source: io::Error, path: &Path, doing: &'static str) -> RunDirError {
    let denied = match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => return RunDirError::ReadOnly { path: path.to_owned() },
        io::ErrorKind::PermissionDenied => access::denied(path, Access::Write),
        _ => None,
    };
    let other = || RunDirError::Io { doing, path: path.to_owned(), source };
    denied.map_or_else(other, RunDirError::Denied)
}

fn check(path: &Path) -> Result<(), RunDirError> {
    let inspect = |source| refused(source, path, "inspect the run directory");
    // A symbolic link, such as /var/run, is allowed if its owner is trusted: both link and target are checked.
    for found in [fs::symlink_metadata(path), fs::metadata(path)] {
        let found = found.map_err(inspect)?;
        if !found.is_dir() && !found.is_symlink() {
            return Err(RunDirError::NotADirectory { path: path.to_owned() });
        }
        if trust::check_owner(path, &found).is_err() {
            return Err(RunDirError::Foreign {
                path: path.to_owned(),
                found: trust::Permissions::of(&found),
            });
        }
    }
    // A user who may replace the files could start a second master of the channel.
    let found = fs::metadata(path).map_err(inspect)?;
    trust::check_mode(path, &found).map_err(RunDirError::Distrusted)?;
    trust::check_links(path, true).map_err(RunDirError::Distrusted)?;
    trust::check_above(&config::canonical(path)).map_err(RunDirError::Distrusted)?;
    eaccess(path, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| refused(errno.into(), path, "write to the run directory"))
}
