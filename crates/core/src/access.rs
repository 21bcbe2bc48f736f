//! Paths that this user may not access. The system's "Permission denied" names neither the part of a path that is closed nor its
//! owner and mode.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::trust::{Permissions, effective_user};

/// The use that a program wants to make of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it, or create it; for a directory, create files in it.
    Write,
    /// Connect to it, a socket.
    Connect,
}

/// A file or a directory that this user may not access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    path: PathBuf,
    /// The refused operation, such as "write".
    verb: &'static str,
    found: Permissions,
}

impl Denied {
    fn new(path: &Path, verb: &'static str, found: &Metadata) -> Self {
        Self { path: path.to_owned(), verb, found: Permissions::of(found) }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, verb, found } = self;
        write!(
            f,
            "this user (uid {}) may not {verb} \"{}\" ({found}); run as its owner, or change its owner or mode",
            effective_user(),
            path.display()
        )
    }
}

impl std::error::Error for Denied {}

/// Finds what keeps this user from accessing a file: a directory on the way, the file itself or, for a file to create, its directory.
/// `None` when nothing does.
#[must_use]
pub fn denied(path: &Path, wanted: Access) -> Option<Denied> {
    let path = std::path::absolute(path).ok()?;
    let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    closed_directory(&path).or_else(|| closed_directory(&real)).or_else(|| closed_file(&real, wanted))
}

/// The same error with what [`denied`] finds in place of "Permission denied"; any other error as it is.
#[must_use]
pub fn explained(error: io::Error, path: &Path, wanted: Access) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    match denied(path, wanted) {
        Some(denied) => io::Error::new(io::ErrorKind::PermissionDenied, denied),
        None => error,
    }
}

/// The topmost directory above a path that this user may not enter.
fn closed_directory(path: &Path) -> Option<Denied> {
    let above: Vec<_> = path.ancestors().skip(1).collect();
    above.into_iter().rev().find_map(|directory| {
        let found = fs::metadata(directory).ok().filter(Metadata::is_dir)?;
        (!may(directory, Right::Enter)).then(|| Denied::new(directory, "enter", &found))
    })
}

fn closed_file(path: &Path, wanted: Access) -> Option<Denied> {
    let Ok(found) = fs::metadata(path) else {
        let directory = path.ancestors().skip(1).find(|directory| directory.is_dir())?;
        let found = fs::metadata(directory).ok()?;
        let is_closed = wanted == Access::Write && !may(directory, Right::Write);
        return is_closed.then(|| Denied::new(directory, "create files in", &found));
    };
    let rights: &[(Right, &'static str)] = match wanted {
        Access::Write if found.is_dir() => &[(Right::Enter, "enter"), (Right::Write, "create files in")],
        Access::Read => &[(Right::Read, "read")],
        Access::Write => &[(Right::Read, "read"), (Right::Write, "write")],
        Access::Connect => &[(Right::Write, "connect to")],
    };
    let missing = rights.iter().find(|(right, _)| !may(path, *right));
    missing.map(|(_, verb)| Denied::new(path, verb, &found))
}

#[derive(Clone, Copy)]
enum Right {
    Read,
    Write,
    Enter,
}

/// Whether the effective user has a right; other reasons than a permission count as yes.
#[cfg(any(feature = "server", feature = "sqlite"))]
fn may(path: &Path, right: Right) -> bool {
    use nix::errno::Errno;
    use nix::unistd::{AccessFlags, eaccess};

    let flag = match right {
        Right::Read => AccessFlags::R_OK,
        Right::Write => AccessFlags::W_OK,
        Right::Enter => AccessFlags::X_OK,
    };
    !matches!(eaccess(path, flag), Err(Errno::EACCES | Errno::EPERM))
}

/// Whether this user has a right, as far as a trial tells. A producer has no system call crate, and writes no files.
#[cfg(not(any(feature = "server", feature = "sqlite")))]
fn may(path: &Path, right: Right) -> bool {
    let tried = match right {
        Right::Read => fs::File::open(path).map(drop),
        Right::Enter => fs::metadata(path.join(".")).map(drop),
        Right::Write => Ok(()),
    };
    !tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessible_and_missing_files_are_not_denied() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for wanted in [Access::Read, Access::Write, Access::Connect] {
            assert_eq!(denied(&file, wanted), None);
        }
        fs::write(&file, "").unwrap();
        assert_eq!(denied(&file, Access::Write), None);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explained(missing, &file, Access::Read).kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn refusal_names_path_owner_mode_and_remedy() {
        let found = Permissions { owner: 7, group: 8, mode: 0o640 };
        let text = Denied { path: "/srv/queue.db".into(), verb: "write", found }.to_string();
        assert!(
            text.contains(
                "may not write \"/srv/queue.db\" (owner uid 7, gid 8, mode 0640); run as its owner"
            ),
            "{text}"
        );
    }
}
