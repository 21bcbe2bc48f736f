//! The three files of an open store, compared with the present meaning of their names.
//!
//! SQLite opens `-wal` and `-shm` by name. If one of them is removed or replaced while this process has it open, later processes
//! use another one: both sides acknowledge writes that the other never sees, and the last close deletes the newer log by its
//! name. An open store never loses these files by itself, because SQLite removes them with the last connection only.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::SqliteError;
use super::path_checks::{StorePath, beside};

/// Device and inode.
type Inode = (u64, u64);

/// The files that this process has open.
#[derive(Debug)]
pub(super) struct FileWatch {
    place: StorePath,
    wal: OpenFile,
    shm: OpenFile,
    /// The first change of `-wal` or `-shm`. Final: other processes may have written under the name since.
    displaced: OnceLock<Displaced>,
    /// All commits that this process can see are in the main file or in the copy.
    rescued: AtomicBool,
    copy: OnceLock<PathBuf>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    inode: Inode,
}

/// A file beside the main one whose name means another file than the one in use.
#[derive(Clone, Debug)]
struct Displaced {
    path: PathBuf,
    is_replaced: bool,
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = if self.is_replaced { "replaced" } else { "moved or removed" };
        write!(f, "its file \"{}\" was {change} while in use", self.path.display())
    }
}

impl FileWatch {
    /// The files of a store that this process has just opened and read.
    pub(super) fn of(place: StorePath) -> Result<Self, SqliteError> {
        let open = |suffix| {
            let path = beside(&place.path, suffix);
            match inode(&path) {
                Ok(inode) => Ok(OpenFile { path, inode }),
                Err(error) => Err(SqliteError::Unavailable(format!(
                    "\"{}\" was removed while the file was opened ({error})",
                    path.display()
                ))),
            }
        };
        let (wal, shm) = (open("-wal")?, open("-shm")?);
        Ok(Self {
            place,
            wal,
            shm,
            displaced: OnceLock::new(),
            rescued: AtomicBool::default(),
            copy: OnceLock::new(),
        })
    }

    pub(super) fn place(&self) -> &StorePath {
        &self.place
    }

    /// Fails while a file of the store is not the opened one.
    pub(super) fn check(&self) -> Result<(), SqliteError> {
        match self.damage() {
            None => Ok(()),
            Some(damage) => Err(SqliteError::Refused(damage)),
        }
    }

    /// Fails when a file beside the main one is not the opened one: what is read through it may be wrong.
    pub(super) fn check_readable(&self) -> Result<(), SqliteError> {
        self.displaced().map_or(Ok(()), |displaced| Err(SqliteError::Refused(self.refusal(displaced))))
    }

    /// The file that is not the opened one, and the remedy.
    pub(super) fn damage(&self) -> Option<String> {
        if let Some(displaced) = self.displaced() {
            return Some(self.refusal(displaced));
        }
        (!self.place.is_here()).then(|| {
            "the file was moved, removed or replaced while in use: put it back, or start again".to_owned()
        })
    }

    fn displaced(&self) -> Option<&Displaced> {
        if self.displaced.get().is_none()
            && let Some(found) = [&self.wal, &self.shm].into_iter().find_map(OpenFile::displaced)
            // A whole directory that is renamed takes all its files along.
            && self.place.is_here()
        {
            return Some(self.displaced.get_or_init(|| found));
        }
        self.displaced.get()
    }

    fn refusal(&self, displaced: &Displaced) -> String {
        match self.copy.get() {
            None => format!(
                "{displaced}: stop this process (a master with queue:stop), which keeps the jobs, and every other one that uses the \
                 file; then start again"
            ),
            Some(copy) => format!(
                "{displaced}, and another process has written under its name: the jobs of this process are saved in \"{}\"; stop \
                 every process that uses the file, then move that copy into its place (with the old file and its -wal and -shm moved \
                 away), and start again",
                copy.display()
            ),
        }
    }

    /// Whether another process may have stored jobs in files under the names of the opened ones.
    pub(super) fn has_rival(&self) -> bool {
        let other = |file: &OpenFile| {
            fs::metadata(&file.path)
                .ok()
                .filter(|found| self.displaced.get().is_some() && identity(found) != file.inode)
        };
        other(&self.wal).is_some_and(|found| found.len() > 0) || other(&self.shm).is_some()
    }

    /// Records that no commit is only in files that have lost their names.
    pub(super) fn record_rescue(&self, copy: Option<PathBuf>) {
        if let Some(copy) = copy {
            self.copy.get_or_init(|| copy);
        }
        self.rescued.store(true, Ordering::Release);
    }

    /// Records that the main file is back in its place, where later commits need a rescue of their own.
    pub(super) fn forget_rescue(&self) {
        self.rescued.store(false, Ordering::Release);
    }

    pub(super) fn is_rescued(&self) -> bool {
        self.rescued.load(Ordering::Acquire)
    }
}

impl OpenFile {
    fn displaced(&self) -> Option<Displaced> {
        match inode(&self.path) {
            Ok(found) if found == self.inode => None,
            Ok(_) => Some(Displaced { path: self.path.clone(), is_replaced: true }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(Displaced { path: self.path.clone(), is_replaced: false })
            }
            // Without a look at the file there is no finding.
            Err(_) => None,
        }
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    fs::metadata(path).map(|found| identity(&found))
}

fn identity(found: &fs::Metadata) -> Inode {
    (found.dev(), found.ino())
}
