//! The default run directory of a master.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::trust::effective_user;

/// The run directory of this user when none is configured.
pub(super) fn of_user() -> PathBuf {
    choose(effective_user(), env::var_os("XDG_RUNTIME_DIR"), &env::temp_dir())
}

/// The run directory of the master of one SQLite file, for a program without a configuration file: two directories on one
/// machine have two stores, and a command in one of them never reaches the master of the other. Device and inode name the
/// directory of the file, because it may be renamed while the master runs; the file may not exist yet.
pub(super) fn of_store(file: &Path) -> PathBuf {
    let file = canonical(file);
    let directory = file.parent().and_then(|directory| fs::metadata(directory).ok());
    let name = match (directory, file.file_name()) {
        (Some(found), Some(name)) => {
            [format!("{}:{}:", found.dev(), found.ino()).as_bytes(), name.as_bytes()].concat()
        }
        _ => file.as_os_str().as_bytes().to_vec(),
    };
    of_user().join(format!("{:016x}", stable_hash(&name)))
}

/// FNV-1a. The hash never changes, because masters and commands of different versions must agree on it.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// The canonical form of a path. Of a file that does not exist, its directory counts; of a missing directory, the next one
/// above it. The form is the same before and after the file is created.
#[must_use]
pub fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in path.ancestors() {
        if let (Ok(found), Ok(below)) = (fs::canonicalize(above), path.strip_prefix(above)) {
            return if below.as_os_str().is_empty() { found } else { found.join(below) };
        }
    }
    path
}

fn choose(uid: u32, runtime: Option<OsString>, temporary: &Path) -> PathBuf {
    match runtime.map(PathBuf::from).filter(|runtime| runtime.is_absolute()) {
        _ if uid == 0 => PathBuf::from("/run/aint-queue"),
        Some(runtime) => runtime.join("aint-queue"),
        None => temporary.join(format!("aint-queue-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn store_has_its_run_directory_before_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        symlink(&one, dir.path().join("link")).unwrap();
        let before = of_store(&one.join("aint-queue.db"));
        fs::write(one.join("aint-queue.db"), "").unwrap();
        assert_eq!(of_store(&one.join("aint-queue.db")), before);
        assert_eq!(of_store(&dir.path().join("link/aint-queue.db")), before);
        assert_ne!(of_store(&two.join("aint-queue.db")), before);
        assert_ne!(of_store(&one.join("other.db")), before);
        fs::rename(&one, dir.path().join("three")).unwrap();
        assert_eq!(of_store(&dir.path().join("three/aint-queue.db")), before);
        assert_eq!(before.parent(), Some(&*of_user()));
        assert_eq!(before.file_name().unwrap().len(), 16);
    }

    #[test]
    fn hash_is_that_of_earlier_versions() {
        assert_eq!(stable_hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
