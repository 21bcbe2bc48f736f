//! Who is master of a channel now. Reads only; whoever asks leaves no trace.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::{major, minor};

use super::record::{ProcessState, Record};
use crate::fd;
use crate::guardian::procfs;

/// Whether a channel has a master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// A master serves it.
    pub running: bool,
    /// Its process id; unknown when it runs in another container.
    pub pid: Option<i32>,
}

/// The process that holds a lock, verified: the lock is held, and this process wrote so and lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot; with the pid, it names the process for ever.
    pub start_time: u64,
}

impl Holder {
    /// Signals the holder, and nobody who got its number after it.
    ///
    /// # Errors
    /// When it has ended or belongs to somebody else.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let process = fd::pidfd(self.pid)?;
        match procfs::stat(self.pid) {
            Some(stat) if stat.start_time == self.start_time => fd::pidfd_signal(&process, signal as i32),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Who holds the lock at `path`.
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
    match lock_state(path) {
        LockState::Held(record) => match record.process_state() {
            ProcessState::Alive => Presence { running: true, pid: Some(record.pid) },
            // The lock is the truth; only the number cannot be known.
            ProcessState::OtherNamespace => Presence { running: true, pid: None },
            // A guardian that is still cleaning up.
            ProcessState::Gone => Presence::default(),
        },
        LockState::HeldBy(pid) if procfs::stat(pid).is_some() => Presence { running: true, pid: Some(pid) },
        LockState::HeldBy(_) | LockState::Free => Presence::default(),
    }
}

enum LockState {
    /// Nobody holds it, or there is no such file.
    Free,
    /// It is held, and this is what its holder wrote.
    Held(Record),
    /// It is held by this process; the file is not ours to read.
    HeldBy(i32),
}

fn lock_state(path: &Path) -> LockState {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return listed_holder(path).map_or(LockState::Free, LockState::HeldBy);
        }
        Err(_) => return LockState::Free,
    };
    // A shared lock is refused while a master has its exclusive one, and given back at once otherwise. A
    // master that starts in this very moment tries again, because no living process is on record.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => LockState::Held(Record::read(&file)),
        Ok(()) => {
            let _ = File::unlock(&file);
            LockState::Free
        }
        Err(TryLockError::Error(_)) => LockState::Free,
    }
}

/// Who holds the lock of a file of another user, by the kernel's list, which everybody may read.
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
