//! The current master of a channel, found without writing anything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::{major, minor};

use super::record::{ProcessState, Record, ServedStore};
use crate::access::{self, Access, Denied};
use crate::fd;
use crate::guardian::procfs;
use crate::trust::{self, Distrust};

/// Whether a channel has a master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether a master serves the channel.
    pub running: bool,
    /// The master's process id; unknown in another pid namespace.
    pub pid: Option<i32>,
    /// The owner that it is in the store; unknown until it has joined.
    pub incarnation: Option<String>,
    /// The store that the master serves, as far as its record tells.
    pub served: ServedStore,
    /// The reason why the master cannot be trusted: another user may have put its files in place.
    pub distrust: Option<Distrust>,
    /// The permission that this user lacks to see whether a master runs.
    pub denied: Option<Denied>,
}

/// The verified holder of a lock: the lock is held, and the process in its record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process id.
    pub pid: i32,
    /// Start time in clock ticks since boot. Pid and start time together identify a process.
    pub start_time: u64,
}

impl Holder {
    /// Sends a signal to the holder, and never to a later process with its pid.
    ///
    /// # Errors
    /// When the process has ended or belongs to another user.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let process = fd::pidfd(self.pid)?;
        match procfs::stat(self.pid) {
            Some(stat) if stat.start_time == self.start_time => fd::pidfd_signal(&process, signal as i32),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The holder of the lock at `path`.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    match lock_state(path) {
        LockState::Held(record) if record.process_state() == ProcessState::Alive => {
            Some(Holder { pid: record.pid, start_time: record.start_time })
        }
        LockState::HeldBy(pid) => procfs::stat(pid).map(|stat| Holder { pid, start_time: stat.start_time }),
        _ => None,
    }
}

/// Whether there is a master behind the lock at `path`.
pub(super) fn presence(path: &Path) -> Presence {
    let incarnation = |record: &Record| Some(record.incarnation.clone()).filter(|owner| !owner.is_empty());
    let found = match lock_state(path) {
        LockState::Held(record) => match record.process_state() {
            ProcessState::Alive => Presence {
                running: true,
                pid: Some(record.pid),
                incarnation: incarnation(&record),
                served: record.served,
                ..Presence::default()
            },
            // The held lock proves a master; its pid has no meaning in this namespace.
            ProcessState::OtherNamespace => {
                let incarnation = incarnation(&record);
                Presence { running: true, incarnation, served: record.served, ..Presence::default() }
            }
            // Only the guardian of a dead master holds the lock, while it kills processes.
            ProcessState::Gone => Presence::default(),
        },
        LockState::HeldBy(pid) if procfs::stat(pid).is_some() => {
            Presence { running: true, pid: Some(pid), ..Presence::default() }
        }
        LockState::HeldBy(_) | LockState::Free => Presence::default(),
        LockState::Hidden(denied) => Presence { denied: Some(denied), ..Presence::default() },
    };
    let distrust = if found.running { distrust(path) } else { None };
    Presence { distrust, ..found }
}

/// Why the lock file at `path` may be one of a stranger. Root also trusts a master of another user, as commands of an
/// operator for a service do, unless every user can create files there.
fn distrust(path: &Path) -> Option<Distrust> {
    let directory = path.parent()?;
    let (above, found) = (fs::metadata(directory).ok()?, fs::symlink_metadata(path).ok()?);
    let is_operator = trust::effective_user() == 0;
    let is_service = is_operator && (above.mode() & 0o002 == 0 || found.uid() == above.uid());
    let owner = if is_service { Ok(()) } else { trust::check_owner(path, &found) };
    let mode = if is_operator { trust::check_not_world_writable } else { trust::check_mode };
    owner.and_then(|()| mode(directory, &above)).and_then(|()| mode(path, &found)).err()
}

enum LockState {
    /// The lock is free or its file does not exist.
    Free,
    /// The lock is held, with the record of its holder.
    Held(Record),
    /// The lock is held by this process; this user may not read the file.
    HeldBy(i32),
    /// This user may not look at the file.
    Hidden(Denied),
}

fn lock_state(path: &Path) -> LockState {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return match (listed_holder(path), fs::symlink_metadata(path)) {
                (Some(pid), _) => LockState::HeldBy(pid),
                // The list of locks tells that this one is free.
                (None, Ok(_)) => LockState::Free,
                (None, Err(_)) => {
                    access::denied(path, Access::Read).map_or(LockState::Free, LockState::Hidden)
                }
            };
        }
        Err(_) => return LockState::Free,
    };
    // A master's exclusive lock refuses a shared one. Otherwise the shared lock is released at once; a master that starts in
    // this moment retries, because the record names no living process.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => LockState::Held(Record::read(&file)),
        Ok(()) => {
            let _ = File::unlock(&file);
            LockState::Free
        }
        Err(TryLockError::Error(_)) => LockState::Free,
    }
}

/// The holder of a lock on another user's file, from the kernel's list of locks, which every user may read.
fn listed_holder(path: &Path) -> Option<i32> {
    let file = fs::symlink_metadata(path).ok()?;
    let id = format!("{:02x}:{:02x}:{}", major(file.dev()), minor(file.dev()), file.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder_in(line, &id))
}

/// The pid in a line such as `7: FLOCK  ADVISORY  WRITE 1234 00:2c:5678 0 EOF`.
fn holder_in(line: &str, id: &str) -> Option<i32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields[..] {
        [_, "FLOCK", _, "WRITE", pid, file, ..] if file == id => pid.parse().ok().filter(|pid| *pid > 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_locks_format_is_parsed() {
        let line = "7: FLOCK  ADVISORY  WRITE 1234 00:2c:5678 0 EOF";
        assert_eq!(holder_in(line, "00:2c:5678"), Some(1234));
        assert_eq!(holder_in(line, "00:2c:567"), None);
        assert_eq!(holder_in("7: -> FLOCK  ADVISORY  WRITE 1234 00:2c:5678 0 EOF", "00:2c:5678"), None);
        assert_eq!(holder_in("7: POSIX  ADVISORY  WRITE 1234 00:2c:5678 0 EOF", "00:2c:5678"), None);
        assert_eq!(holder_in("7: FLOCK  ADVISORY  WRITE -1 00:2c:5678 0 EOF", "00:2c:5678"), None);
    }
}
