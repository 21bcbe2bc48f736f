//! Checks of the file's location before SQLite opens it; every refusal names a remedy.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::error::SqliteError;
use crate::access::{self, Access, Denied};
use crate::config::canonical;
use crate::dangling_link::DanglingLink;
use crate::known_directories::{self, CreateError};
use crate::trust::{self, Distrust};

/// Free disk space below which pushes are refused.
const MIN_FREE_BYTES: u64 = 16 << 20;
/// The mark in the names of `-wal` and `-shm` that are moved aside because the main file was cut.
pub(super) const CUT_MARK: &str = "-cut-";

/// A checked location: the canonical path and the identity of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorePath {
    pub(super) path: PathBuf,
    pub(super) inode: (u64, u64),
}

impl StorePath {
    /// Checks `path` and creates missing directories and a missing file.
    pub(super) fn prepare(path: &Path) -> Result<Self, SqliteError> {
        let Some(name) = path.file_name() else {
            return Err(SqliteError::Refused("the path has no file name: name a file".into()));
        };
        check_kind(path)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        known_directories::create(parent, 0o700).map_err(|error| match error {
            CreateError::Gone(_) => SqliteError::Refused(format!("its directory {error}")),
            CreateError::Io(error) => denied("its directory cannot be created", parent, &error),
        })?;
        let local = |dir: &Path| match statfs(dir) {
            // The magic number is signed or wider on some targets; its low half is the value.
            Ok(found) => refuse_network(found.filesystem_type().0 as u32),
            Err(errno) => Err(denied("its directory cannot be examined", dir, &errno.into())),
        };
        local(parent)?;
        refuse_lost_content(&canonical(&parent.join(name)))?;
        // An existing file is never opened here: closing it would drop the POSIX locks that SQLite holds on it in this
        // process.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(denied("it cannot be created", parent, &error)),
        }
        let path = fs::canonicalize(parent.join(name))
            .map_err(|error| denied("its path cannot be resolved", path, &error))?;
        // A symbolic link may lead to another file system.
        local(path.parent().unwrap_or(&path))?;
        let inode = inode(&path).map_err(|error| denied("it cannot be examined", &path, &error))?;
        Ok(Self { path, inode })
    }

    /// Refuses files that another user may have put in place. SQLite writes beside the file too, so a link there would aim
    /// these writes at another file.
    pub(super) fn check_files(&self, named: bool) -> Result<(), SqliteError> {
        let found =
            fs::metadata(&self.path).map_err(|error| denied("it cannot be examined", &self.path, &error))?;
        trusted(check_file(&self.path, &found, named))?;
        if found.nlink() > 1 {
            // SQLite keeps its log beside the file by name: under two names there are two logs over one file, and jobs are lost.
            return Err(SqliteError::Refused(
                "it has several names (hard links): remove the others, or replace them by symbolic links"
                    .into(),
            ));
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let beside = beside(&self.path, suffix);
            let Ok(found) = fs::symlink_metadata(&beside) else { continue };
            if !found.is_file() {
                return Err(SqliteError::Refused(format!(
                    "\"{}\" is not a regular file: remove it",
                    beside.display()
                )));
            }
            trusted(check_file(&beside, &found, named))?;
        }
        match self.denied() {
            None => Ok(()),
            Some(denied) => Err(SqliteError::Refused(denied.to_string())),
        }
    }

    /// The permission that this user lacks to use the store. SQLite needs to write the file and two files beside it, for readers too.
    pub(super) fn denied(&self) -> Option<Denied> {
        let beside = ["", "-wal", "-shm"].map(|suffix| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        });
        beside.iter().find_map(|path| access::denied(path, Access::Write))
    }

    /// Refuses pushes when the disk is nearly full: the rest is for settlements, which must always succeed.
    pub(super) fn has_room(&self) -> Result<(), SqliteError> {
        // Without this information SQLite itself reports a full disk.
        let Ok(found) = statvfs(&self.path) else { return Ok(()) };
        enough(found.blocks_available().saturating_mul(found.fragment_size()))
    }
}

/// Refuses to make an empty store in the place of one that was removed or cut to nothing, while its log tells of it.
fn refuse_lost_content(path: &Path) -> Result<(), SqliteError> {
    let log = beside(path, "-wal");
    // The log first: a process that makes the store writes to the file before its log.
    let has_log = fs::metadata(&log).is_ok_and(|found| found.len() > 0);
    let state = match fs::metadata(path) {
        Ok(found) if found.len() == 0 => "empty",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "missing",
        _ => return Ok(()),
    };
    if has_log {
        return Err(SqliteError::Refused(format!(
            "the file is {state}, and its log \"{}\" is not: the file was removed or cut while in use, and its jobs are lost with it; stop every \
             process that uses it (a master with queue:stop), move the log and its \"-shm\" away, and put a copy of the file in its place \
             (\"{}-rescued-…\" or a backup), or none for an empty store",
            log.display(),
            path.display()
        )));
    }
    match log_set_aside(path) {
        Some(aside) if state == "empty" => Err(SqliteError::Refused(format!(
            "the file is empty, because it was cut while in use (its log is \"{}\" now): restore it from a backup, or move the empty file away \
             to begin with an empty store",
            aside.display()
        ))),
        _ => Ok(()),
    }
}

/// The log that the last process has moved aside because the main file was cut.
fn log_set_aside(path: &Path) -> Option<PathBuf> {
    let start = beside(path, &format!("-wal{CUT_MARK}"));
    let mut entries = fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries
        .find(|entry| entry.as_os_str().as_encoded_bytes().starts_with(start.as_os_str().as_encoded_bytes()))
}

/// Refuses what is no file and no place for one, by its kind.
fn check_kind(path: &Path) -> Result<(), SqliteError> {
    if let Some(link) = DanglingLink::find(path) {
        return Err(SqliteError::Refused(link.to_string()));
    }
    // A missing file is created; the error of another look says why it failed.
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    let kind = found.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        return Err(SqliteError::Refused("the path is a directory: name a file in it".into()));
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(SqliteError::Refused(format!(
        "\"{}\" is {what}, not a regular file: name another file, or remove it",
        path.display()
    )))
}

/// The file that SQLite keeps beside the store file under this suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Refuses a place where another user may have put the file, before anything is created there. A place that a configuration
/// names may belong to the group or the user that shares it.
pub(super) fn check_directory(path: &Path, named: bool) -> Result<(), SqliteError> {
    trusted(trust::check_links(path, named))?;
    let path = canonical(path);
    trusted(trust::check_above(&path))?;
    match path.parent() {
        Some(parent) if !named => match fs::metadata(parent) {
            Ok(found) => trusted(trust::check_private(parent, &found)),
            // The error of the creation that follows says more.
            Err(_) => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_file(path: &Path, found: &Metadata, named: bool) -> Result<(), Distrust> {
    if named { trust::check_not_world_writable(path, found) } else { trust::check_private(path, found) }
}

fn trusted(checked: Result<(), Distrust>) -> Result<(), SqliteError> {
    checked.map_err(|distrust| SqliteError::Refused(distrust.to_string()))
}

fn enough(free: u64) -> Result<(), SqliteError> {
    if free >= MIN_FREE_BYTES {
        return Ok(());
    }
    Err(SqliteError::Full(format!(
        "its disk has less than {} MiB free: free some space",
        MIN_FREE_BYTES >> 20
    )))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((found.dev(), found.ino()))
}

fn denied(what: &str, path: &Path, error: &io::Error) -> SqliteError {
    if error.kind() == io::ErrorKind::PermissionDenied
        && let Some(denied) = access::denied(path, Access::Write)
    {
        return SqliteError::Refused(format!("{what}: {denied}"));
    }
    SqliteError::Refused(format!(
        "{what} (\"{}\": {error}): give this user write permission there, or name a file elsewhere",
        path.display()
    ))
}

fn refuse_network(magic: u32) -> Result<(), SqliteError> {
    match network(magic) {
        None => Ok(()),
        Some(kind) => Err(SqliteError::Refused(format!(
            "it is on a network file system ({kind}), where locks cannot be trusted: name a file on a local disk, or use Redis"
        ))),
    }
}

/// The name of a network or shared file system, whose locks are unreliable between machines, by its magic number.
fn network(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x517b => "SMB",
        0x0102_1997 => "9p",
        0x6573_5546 => "FUSE",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x00c3_6400 => "Ceph",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x564c => "NCP",
        0x786f_4256 => "VirtualBox shared folder",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        match StorePath::prepare(path) {
            Err(SqliteError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn missing_directories_and_file_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let place = StorePath::prepare(&dir.path().join("a/b/store.db")).unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("a/b")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(inode(&place.path).unwrap(), place.inode);
    }

    #[test]
    fn paths_to_one_file_are_equal() {
        let dir = tempfile::tempdir().unwrap();
        let place = StorePath::prepare(&dir.path().join("store.db")).unwrap();
        std::os::unix::fs::symlink(&place.path, dir.path().join("link.db")).unwrap();
        assert_eq!(StorePath::prepare(&dir.path().join("link.db")).unwrap(), place);
        assert_eq!(StorePath::prepare(&dir.path().join("./store.db")).unwrap(), place);
    }

    #[test]
    fn file_with_several_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = StorePath::prepare(&dir.path().join("store.db")).unwrap();
        assert!(place.check_files(true).is_ok());
        fs::hard_link(&place.path, dir.path().join("other.db")).unwrap();
        let Err(SqliteError::Refused(why)) = place.check_files(true) else { panic!("both names are used") };
        assert!(why.contains("hard links"), "{why}");
    }

    #[test]
    fn unusable_store_path_is_refused_with_remedy() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(dir.path()).contains("name a file in it"));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(refusal(&dir.path().join("file/store.db")).contains("directory cannot be created"));
        assert!(refusal(Path::new("/proc/store.db")).contains("write permission"));
        assert!(refusal(Path::new("/")).contains("name a file"));
        assert!(refusal(Path::new("/dev/null")).contains("a device, not a regular file: name another file"));
        let at = |name| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe.db"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refusal(&at("pipe.db")).contains("a named pipe, not a regular file: name another file"));
        std::os::unix::fs::symlink("gone/q.db", at("link.db")).unwrap();
        std::os::unix::fs::symlink("gone", at("shared")).unwrap();
        for (path, link, target) in [("link.db", "link.db", "gone/q.db"), ("shared/q.db", "shared", "gone")] {
            let refusal = refusal(&at(path));
            let names = format!("{link}\" is a symbolic link to \"{target}\", which does not exist");
            assert!(refusal.contains(&names) && !at("gone").exists(), "{refusal}");
        }
    }

    #[test]
    fn disk_reserve_is_kept_for_settlements() {
        assert!(enough(MIN_FREE_BYTES).is_ok());
        let Err(SqliteError::Full(why)) = enough(MIN_FREE_BYTES - 1) else { panic!("a push would take it") };
        assert!(why.contains("less than 16 MiB free"), "{why}");
        let dir = tempfile::tempdir().unwrap();
        assert!(StorePath::prepare(&dir.path().join("store.db")).unwrap().has_room().is_ok());
    }

    #[test]
    fn network_filesystems_are_detected_by_magic() {
        for magic in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546] {
            assert!(refuse_network(magic).is_err(), "{magic:#x}");
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert!(refuse_network(magic).is_ok(), "{magic:#x}");
        }
    }
}
