//! The lock of one channel. Its holder is the channel's only master.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aint_queue_core::mutex;

use super::error::{LockError, RunDirError};
use super::record::{ProcessState, Record, ServedStore};
use crate::access::{self, Access};
use crate::config::canonical;
use crate::store::Owner;
use crate::trust;

/// Longest wait for a lock whose master is dead while its guardian still kills processes.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Pause between two attempts to take a lock.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A held lock. The kernel frees it when this value, every descriptor made from it and every guardian with such a descriptor
/// have closed it; no code unlocks it explicitly.
#[derive(Debug)]
pub struct Lock {
    file: Arc<File>,
    record: Arc<Mutex<Record>>,
    previous: Option<String>,
    path: PathBuf,
    pid_file: PathBuf,
    /// The lock goes to the next program of this process.
    handed_over: bool,
}

/// Takes the lock at `path`, or reports its holder.
pub(super) fn take(path: &Path, pid_file: PathBuf) -> Result<Lock, LockError> {
    let begun = Instant::now();
    loop {
        let file = open(path)?;
        match file.try_lock() {
            // A lock on a file that was replaced after the open would not exclude other masters.
            Ok(()) if is_at(&file, path) => return Lock::record_holder(file, path, pid_file),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(LockError::Io { path: path.to_owned(), source });
            }
        }
        let record = Record::read(&file);
        if record.process_state() == ProcessState::Alive {
            let store = record.served.store.map(Box::new);
            return Err(LockError::Held { pid: Some(record.pid), path: path.to_owned(), store });
        }
        if begun.elapsed() >= LOCK_WAIT {
            return Err(LockError::Held { pid: None, path: path.to_owned(), store: None });
        }
        thread::sleep(RETRY_PAUSE);
    }
}

/// Takes over the lock that the previous program of this process holds. A descriptor of another file is closed, and the lock
/// is taken as in an ordinary start.
pub(super) fn adopt(held: OwnedFd, path: &Path, pid_file: PathBuf) -> Result<Lock, LockError> {
    let file = File::from(held);
    if is_at(&file, path) && file.try_lock().is_ok() {
        return Lock::record_holder(file, path, pid_file);
    }
    drop(file);
    take(path, pid_file)
}

/// Opens or creates the lock file. A symbolic link is not followed: another user could aim it at a file of this user.
fn open(path: &Path) -> Result<File, LockError> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path);
    let not_a_file = |what| LockError::NotAFile { path: path.to_owned(), what };
    let file = opened.map_err(|source| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => not_a_file("a directory"),
        Ok(found) if found.is_symlink() => not_a_file("a symbolic link"),
        Ok(found) if found.file_type().is_socket() => not_a_file("a socket"),
        _ => match access::denied(path, Access::Write) {
            Some(denied) if source.kind() == io::ErrorKind::PermissionDenied => LockError::Denied(denied),
            _ => LockError::Io { path: path.to_owned(), source },
        },
    })?;
    match file.metadata() {
        // A second name may be that of any file of this user, which the record would overwrite.
        Ok(found) if found.nlink() > 1 => Err(not_a_file("a hard link")),
        Ok(found) if found.is_file() => match trust::check_private(path, &found) {
            Ok(()) => Ok(file),
            // Another user could also hold or write it.
            Err(distrust) => Err(LockError::Distrusted(distrust)),
        },
        Ok(_) => Err(not_a_file("a device or a pipe")),
        Err(source) => Err(LockError::Io { path: path.to_owned(), source }),
    }
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Lock {
    /// Records this process as the holder. The found incarnation stays recorded until the actor joins as a new owner, so that a
    /// crash before that loses no leases.
    fn record_holder(file: File, path: &Path, pid_file: PathBuf) -> Result<Self, LockError> {
        let found = Record::read(&file).incarnation;
        let record = Record::of_this_process(found.clone());
        record.write(&file).map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            file: Arc::new(file),
            record: Arc::new(Mutex::new(record)),
            previous: Some(found).filter(|incarnation| !incarnation.is_empty()),
            path: path.to_owned(),
            pid_file,
            handed_over: false,
        })
    }

    /// The incarnation of a last master that died: its leases are to be freed.
    #[must_use]
    pub fn previous_incarnation(&self) -> Option<&str> {
        self.previous.as_deref()
    }

    /// A descriptor that holds the same lock, for the guardian.
    ///
    /// # Errors
    /// When the system is out of descriptors.
    pub fn fd(&self) -> Result<OwnedFd, RunDirError> {
        let copied = self.file.as_fd().try_clone_to_owned();
        copied.map_err(|source| RunDirError::Io { doing: "copy the lock", path: self.path.clone(), source })
    }

    /// The lock for the next program of this process. Lock file and pid file stay unchanged.
    ///
    /// # Errors
    /// When the system is out of descriptors; then the lock is released.
    pub fn into_inherited_fd(mut self) -> Result<OwnedFd, RunDirError> {
        let fd = self.fd()?;
        self.handed_over = true;
        Ok(fd)
    }

    /// The name of this lock, unique on this machine, for the cookies of the processes under it. It stays the same as long as the
    /// file exists.
    #[must_use]
    pub fn id(&self) -> String {
        let (dev, ino) = self.file.metadata().map_or((0, 0), |m| (m.dev(), m.ino()));
        format!("{dev}-{ino}")
    }

    /// Writes the incarnation whose leases are to be freed if this master dies.
    ///
    /// # Errors
    /// When the file cannot be written. The lock is held nevertheless.
    pub fn write_incarnation(&self, incarnation: &str) -> io::Result<()> {
        update(&self.file, &self.record, |record| incarnation.clone_into(&mut record.incarnation))
    }

    /// Records which store this master serves, for the commands that find its lock.
    ///
    /// # Errors
    /// When the file cannot be written. The lock is held nevertheless.
    pub fn write_served(&self, served: ServedStore) -> io::Result<()> {
        update(&self.file, &self.record, |record| record.served = served)
    }

    /// Where this lock is, to be compared with where its path leads later.
    #[must_use]
    pub fn place(&self) -> LockPlace {
        let inode = self.file.metadata().map_or((0, 0), |m| (m.dev(), m.ino()));
        let directory = self.path.parent().map(canonical).unwrap_or_default();
        LockPlace { inode, directory, name: self.path.file_name().unwrap_or_default().to_owned() }
    }

    /// A callback that records every new owner of the channel, as [`Lock::write_incarnation`].
    #[must_use]
    pub fn on_join(&self) -> Box<dyn FnMut(&Owner) + Send> {
        let (file, record) = (Arc::clone(&self.file), Arc::clone(&self.record));
        Box::new(move |owner| {
            let written = update(&file, &record, |record| owner.as_str().clone_into(&mut record.incarnation));
            if let Err(error) = written {
                tracing::warn!(%error, "lock file not writable: after a crash, leases expire by time instead of being freed at once");
            }
        })
    }

    /// Records a clean end without leases to free.
    pub fn clear_incarnation(&self) {
        // If the write fails, the next master frees an owner without leases, which costs one store call.
        let _ = self.write_incarnation("");
    }

    /// Writes the pid file, for people and their scripts. This program does not rely on it.
    ///
    /// # Errors
    /// When the file cannot be replaced, naming it.
    pub fn write_pid(&self) -> Result<(), RunDirError> {
        // A rename replaces the old file: readers never see a partial file, and no link is followed.
        let name = self.pid_file.file_name().unwrap_or_default().to_string_lossy();
        let draft = self.pid_file.with_file_name(format!(".{name}.{:016x}", fastrand::u64(..)));
        let written = write_new(&draft, &format!("{}\n", std::process::id()))
            .and_then(|()| fs::rename(&draft, &self.pid_file));
        written.map_err(|source| {
            let _ = fs::remove_file(&draft);
            let path = self.pid_file.clone();
            if path.is_dir() {
                RunDirError::Obstructed { path }
            } else {
                let source = access::explained(source, &path, Access::Write);
                RunDirError::Io { doing: "write the pid file", path, source }
            }
        })
    }

    /// Removes the pid file if it contains this process.
    pub fn remove_pid(&self) {
        let mut text = String::new();
        let read = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
            .open(&self.pid_file)
            .and_then(|file| file.take(64).read_to_string(&mut text));
        if read.is_ok() && text.trim() == std::process::id().to_string() {
            let _ = fs::remove_file(&self.pid_file);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        // A start may fail after it has written the pid file.
        self.remove_pid();
        // This process may live on and serve other channels while the guardian still holds the lock. With its pid in the
        // record, the next master would take it for a living holder and give up.
        let _ = update(&self.file, &self.record, |record| record.pid = 0);
    }
}

/// The place of a held lock: its file, and the directory in which it was taken.
#[derive(Clone, Debug)]
pub struct LockPlace {
    inode: (u64, u64),
    /// The canonical path.
    directory: PathBuf,
    name: OsString,
}

impl LockPlace {
    /// The difference between the held lock and the run directory that `pid_path` means now; `None` when it means this one.
    #[must_use]
    pub fn difference(&self, pid_path: &Path) -> Option<String> {
        let path = pid_path.join(&self.name);
        if fs::symlink_metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == self.inode) {
            return None;
        }
        let (now, held) = (canonical(pid_path), self.directory.display());
        Some(if now == self.directory {
            format!(
                "the lock file \"{}\" was removed or replaced, so another master may start",
                path.display()
            )
        } else {
            format!("pid_path means \"{}\" now, but this master holds \"{held}\"", now.display())
        })
    }
}

fn update(file: &File, record: &Mutex<Record>, change: impl FnOnce(&mut Record)) -> io::Result<()> {
    let mut record = mutex::lock(record);
    change(&mut record);
    record.write(file)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    // The pid is public, whatever the umask.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())
}
