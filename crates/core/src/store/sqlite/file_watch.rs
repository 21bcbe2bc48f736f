//! The three files of an open store, compared with the present meaning of their names and with what was written to them.
//!
//! SQLite opens `-wal` and `-shm` by name. If one of them is removed or replaced while this process has it open, later processes
//! use another one: both sides acknowledge writes that the other never sees, and the last close deletes the newer log by its
//! name. An open store never loses these files by itself, because SQLite removes them with the last connection only.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::libc::{O_NOFOLLOW, O_PATH};
use rusqlite::Connection;

use super::cut_files::{self, Log, LogState, MainState};
use super::error::SqliteError;
use super::path_checks::{CUT_MARK, StorePath, beside};
use crate::job::Timestamp;
use crate::log_macros::{error, warn};

/// Device and inode.
type Inode = (u64, u64);

/// The files that this process has open.
#[derive(Debug)]
pub(super) struct FileWatch {
    place: StorePath,
    wal: OpenFile,
    shm: OpenFile,
    log: Log,
    main: MainFile,
    /// Length of the main file at the last look that found it whole.
    whole_main_bytes: AtomicU64,
    /// The first change of a name. Final: other processes may have written under it since.
    displaced: OnceLock<Change>,
    /// The first finding that content is gone. Final.
    cut: OnceLock<Change>,
    /// All commits that this process can see are in the main file or in the copy.
    rescued: AtomicBool,
    copy: OnceLock<PathBuf>,
}

/// The opened main file, for looks at it after it has lost its name too.
///
/// Opened without access (`O_PATH`): the end of such a descriptor does not release the locks of SQLite in this process.
#[derive(Debug)]
struct MainFile(File);

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    inode: Inode,
}

/// The present meaning of the names of the files: one look at each.
#[derive(Debug)]
pub(super) struct Names {
    wal: Found,
    shm: Found,
    /// Looked at last: a directory that is renamed takes all files along, and a missing file beside a present one is a finding.
    main: Found,
}

/// The file under a name.
#[derive(Clone, Copy, Debug)]
enum Found {
    File {
        inode: Inode,
        bytes: u64,
    },
    Nothing,
    /// Without a look at the file there is no finding.
    Unknown,
}

/// The work of another program on a file that is in use.
#[derive(Clone, Debug)]
enum Change {
    /// The name of a file beside the main one leads nowhere, or to another file.
    Displaced { path: PathBuf, is_replaced: bool },
    /// The main file has no name any more: nothing written into it can be found again.
    MainRemoved,
    /// Committed frames are gone.
    LogCut { path: PathBuf },
    /// The WAL-index is gone, which SQLite makes again from the log.
    IndexCut { path: PathBuf },
    /// Pages of the main file are gone.
    MainCut { bytes: u64 },
}

/// The end of every remedy.
const STOP_ALL: &str = "stop this process (a master with queue:stop) and every other one that uses the file";

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Displaced { path, is_replaced } => {
                let change = if *is_replaced { "replaced" } else { "moved or removed" };
                write!(f, "its file \"{}\" was {change} while in use", path.display())
            }
            Self::MainRemoved => write!(f, "the file was removed or replaced while in use"),
            Self::LogCut { path } => write!(
                f,
                "its file \"{}\" was cut short while in use, and the changes since the last checkpoint, new jobs included, are lost \
                 with it: {STOP_ALL}, then start again with the jobs that are left",
                path.display()
            ),
            Self::IndexCut { path } => write!(
                f,
                "its file \"{}\" was cut short while in use: {STOP_ALL}, then start again; no job is lost",
                path.display()
            ),
            Self::MainCut { bytes } => write!(
                f,
                "the file was cut to {bytes} bytes, and jobs are lost with the rest: {STOP_ALL}; move its \"-wal\" and \"-shm\" away if \
                 they are still there (they would damage a restored file), restore the file from a backup or move it away too, then start \
                 again"
            ),
        }
    }
}

impl FileWatch {
    /// The files of a store that this process has just opened and read with `connection`.
    pub(super) fn of(place: StorePath, connection: &Connection) -> Result<Self, SqliteError> {
        let (wal, shm) = (beside(&place.path, "-wal"), beside(&place.path, "-shm"));
        let removed = |path: &Path, error: &io::Error| {
            SqliteError::Unavailable(format!(
                "\"{}\" was removed while the file was opened ({error})",
                path.display()
            ))
        };
        let log = Log::open(&wal, connection)?;
        let wal_inode =
            log.metadata().map(|found| identity(&found)).map_err(|error| removed(&wal, &error))?;
        let shm_inode = inode(&shm).map_err(|error| removed(&shm, &error))?;
        let main = MainFile::open(&place).map_err(|error| removed(&place.path, &error))?;
        let watch = Self {
            place,
            wal: OpenFile { path: wal, inode: wal_inode },
            shm: OpenFile { path: shm, inode: shm_inode },
            log,
            main,
            // The first look compares.
            whole_main_bytes: AtomicU64::new(u64::MAX),
            displaced: OnceLock::new(),
            cut: OnceLock::new(),
            rescued: AtomicBool::default(),
            copy: OnceLock::new(),
        };
        watch.check_content(connection)?;
        Ok(watch)
    }

    pub(super) fn place(&self) -> &StorePath {
        &self.place
    }

    /// A path to the opened log, whatever its name leads to now.
    pub(super) fn log_handle(&self) -> PathBuf {
        self.log.handle()
    }

    /// Whether another process may be about to commit.
    pub(super) fn has_uncommitted(&self, connection: &Connection) -> bool {
        self.log.has_uncommitted(connection).unwrap_or(true)
    }

    /// Looks at the names of the files.
    pub(super) fn look(&self) -> Names {
        Names {
            wal: Found::at(&self.wal.path),
            shm: Found::at(&self.shm.path),
            main: Found::at(&self.place.path),
        }
    }

    /// Fails while a file of the store is not the opened one.
    pub(super) fn check(&self) -> Result<(), SqliteError> {
        self.check_names(&self.look())
    }

    /// Fails when a file of the store is not the opened one, by a look that was just taken.
    pub(super) fn check_names(&self, names: &Names) -> Result<(), SqliteError> {
        self.damage_by(names).map_or(Ok(()), |damage| Err(SqliteError::Refused(damage)))
    }

    /// Fails after a commit that went into files which are not the opened ones any more, or were cut: other processes may not find it there.
    pub(super) fn check_committed(&self, connection: &Connection) -> Result<(), SqliteError> {
        let names = self.look();
        let checked = self.log_state(&names, connection).and_then(|_| self.check_names(&names));
        let Err(error) = checked else { return Ok(()) };
        let SqliteError::Refused(damage) = error else { return Err(error) };
        // The call was applied, so its outcome is unknown to the caller: no definite refusal.
        Err(SqliteError::Unavailable(match self.log.present_path() {
            Some(log) if !self.is_cut() && !self.is_main_removed() => {
                let file = log.to_string_lossy();
                let file = file.strip_suffix("-wal").unwrap_or(&file);
                format!("the change is in \"{file}\" now, because {damage}")
            }
            _ => format!("the change may be lost: {damage}"),
        }))
    }

    /// Fails when a file is not the opened one or was cut: what is read through it may be wrong.
    pub(super) fn check_readable(&self) -> Result<(), SqliteError> {
        self.check_change(&self.look())
    }

    fn check_change(&self, names: &Names) -> Result<(), SqliteError> {
        self.change(names).map_or(Ok(()), |change| Err(SqliteError::Refused(self.refusal(change))))
    }

    /// The change of a file, and the remedy.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage_by(&self.look())
    }

    fn damage_by(&self, names: &Names) -> Option<String> {
        if let Some(change) = self.change(names) {
            return Some(self.refusal(change));
        }
        (!self.is_main_in_place(names)).then(|| {
            "the file was moved, removed or replaced while in use: put it back, or start again".to_owned()
        })
    }

    /// Looks for content that was cut off, with a connection outside a transaction. The finding is final; other checks report it.
    pub(super) fn check_content(&self, connection: &Connection) -> Result<(), SqliteError> {
        self.log_state(&self.look(), connection).map(drop)
    }

    /// Looks for content that was cut off, like [`FileWatch::check_content`], before a write: it needs a log from its beginning.
    pub(super) fn check_content_for_writing(
        &self,
        names: &Names,
        connection: &Connection,
    ) -> Result<(), SqliteError> {
        if self.log_state(names, connection)? != LogState::CutBehindCheckpoint {
            return Ok(());
        }
        let path = self.wal.path.display();
        if !cut_files::empty(connection)? {
            return Err(SqliteError::Unavailable(format!(
                "its file \"{path}\" was cut short while in use and cannot begin again before other processes end their reading"
            )));
        }
        warn!(file = %path, "log of the store cut short while in use: all its jobs are in the main file, beginning it again");
        Ok(())
    }

    fn log_state(&self, names: &Names, connection: &Connection) -> Result<LogState, SqliteError> {
        self.check_change(names)?;
        let (committed, state) = self.log.state(connection)?;
        // The index may have grown since the look.
        if self.has_short_index(names.shm, committed)
            && self.has_short_index(Found::at(&self.shm.path), committed)
        {
            return Err(self.found_cut(Change::IndexCut { path: self.shm.path.clone() }));
        }
        if let LogState::Lost { has_outdated_frames } = state {
            if has_outdated_frames {
                // If it fails, the next start reads these frames.
                let _ = self.log.drop_outdated();
            }
            return Err(self.found_cut(Change::LogCut { path: self.wal.path.clone() }));
        }
        match self.main_cut(names, connection)? {
            None => Ok(state),
            Some(bytes) => Err(self.found_cut(Change::MainCut { bytes })),
        }
    }

    fn found_cut(&self, change: Change) -> SqliteError {
        SqliteError::Refused(self.refusal(self.cut.get_or_init(|| change)))
    }

    /// Whether the WAL-index is shorter than this number of frames makes it.
    fn has_short_index(&self, shm: Found, frames: u64) -> bool {
        matches!(shm, Found::File { inode, bytes } if inode == self.shm.inode && bytes < cut_files::index_bytes(frames))
    }

    fn is_main_in_place(&self, names: &Names) -> bool {
        matches!(names.main, Found::File { inode, .. } if inode == self.place.inode)
    }

    /// The length of a main file from which pages were cut off. Only a file that became shorter is compared with its database.
    fn main_cut(&self, names: &Names, connection: &Connection) -> Result<Option<u64>, SqliteError> {
        let bytes = match names.main {
            Found::File { inode, bytes } if inode == self.place.inode => Ok(bytes),
            _ => self.main.bytes(),
        };
        // Without a look at the file there is no finding.
        let Ok(bytes) = bytes else { return Ok(None) };
        let known = self.whole_main_bytes.load(Ordering::Acquire);
        let bytes = if bytes >= known {
            bytes
        } else {
            match self.log.main_state(connection, || self.main.bytes())? {
                MainState::Whole { bytes } => bytes,
                MainState::Changing => return Ok(None),
                MainState::Cut { bytes } => return Ok(Some(bytes)),
            }
        };
        // The other thread may have seen the file grow meanwhile; its look counts then.
        let _ = self.whole_main_bytes.compare_exchange(known, bytes, Ordering::AcqRel, Ordering::Acquire);
        Ok(None)
    }

    /// Whether a checkpoint finds all frames, and all pages. Without the names of the files nothing more can be known about their
    /// content: another process may use another WAL-index.
    pub(super) fn has_whole_content(&self, connection: &Connection) -> bool {
        let log = self.log.state(connection);
        if !log.is_ok_and(|(_, state)| !matches!(state, LogState::Lost { .. })) {
            return false;
        }
        match self.main_cut(&self.look(), connection) {
            Ok(Some(bytes)) => {
                self.cut.get_or_init(|| Change::MainCut { bytes });
                false
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Whether the main file has lost its last name. Final.
    pub(super) fn is_main_removed(&self) -> bool {
        matches!(self.displaced.get(), Some(Change::MainRemoved))
    }

    /// Moves `-wal` and `-shm` aside at the end, when the main file is cut or removed: SQLite would lay them over the backup or the
    /// copy that takes its place.
    pub(super) fn set_log_aside(&self, now: Timestamp) {
        let mark = match (self.cut.get(), self.displaced.get()) {
            (Some(Change::MainCut { .. }), _) => CUT_MARK,
            (None, Some(Change::MainRemoved)) => "-removed-",
            _ => return,
        };
        for file in [&self.wal, &self.shm] {
            if inode(&file.path).ok() != Some(file.inode) {
                continue;
            }
            let aside = beside(&file.path, &format!("{mark}{}", now.0 / 1_000_000));
            let renamed = fs::rename(&file.path, &aside);
            if renamed.is_err() {
                error!(
                    file = %file.path.display(), error = renamed.err().map(tracing::field::display),
                    "store file lost while in use: rename of the file beside it failed: remove it before you restore one"
                );
                continue;
            }
            warn!(
                file = %file.path.display(), aside = %aside.display(),
                "store file lost while in use: file beside it moved aside, which would damage a restored one"
            );
        }
    }

    /// Whether content of a file is gone: a checkpoint would read what is not there.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    fn change(&self, names: &Names) -> Option<&Change> {
        // Without its header, the index does not even tell how long it must be.
        if self.cut.get().is_none() && self.has_short_index(names.shm, 0) {
            self.cut.get_or_init(|| Change::IndexCut { path: self.shm.path.clone() });
        }
        if self.cut.get().is_none() && self.displaced.get().is_none() {
            if self.is_main_in_place(names) {
                let displaced = self.wal.displaced(names.wal).or_else(|| self.shm.displaced(names.shm));
                displaced.map(|change| self.displaced.get_or_init(|| change));
            } else if self.main.is_removed() {
                self.displaced.get_or_init(|| Change::MainRemoved);
            }
        }
        self.cut.get().or_else(|| self.displaced.get())
    }

    fn refusal(&self, change: &Change) -> String {
        let why = match change {
            Change::Displaced { .. } => "another process has written under its name",
            Change::MainRemoved => "nothing else leads to it",
            Change::LogCut { .. } | Change::IndexCut { .. } | Change::MainCut { .. } => {
                return change.to_string();
            }
        };
        match (self.copy.get(), change) {
            (Some(copy), _) => format!(
                "{change}, and {why}: the jobs of this process are saved in \"{}\"; stop every process that uses the file (a master with \
                 queue:stop), then move that copy into its place (with any file there and its -wal and -shm moved away), and start again",
                copy.display()
            ),
            (None, Change::MainRemoved) => format!(
                "{change}, and {why}: {STOP_ALL}; this process saves its jobs in a copy, \"{}-rescued-…\", at its end at the latest; move that \
                 copy into its place, then start again",
                self.place.path.display()
            ),
            (None, _) => format!(
                "{change}: stop this process (a master with queue:stop), which keeps the jobs, and every other one that uses the \
                 file; then start again"
            ),
        }
    }

    /// Whether another process may have stored jobs in files under the names of the opened ones.
    pub(super) fn has_rival(&self) -> bool {
        let names = self.look();
        let is_other =
            |found, file: &OpenFile| matches!(found, Found::File { inode, .. } if inode != file.inode);
        let has_content = matches!(names.wal, Found::File { bytes: 1.., .. });
        self.displaced.get().is_some()
            && (is_other(names.wal, &self.wal) && has_content || is_other(names.shm, &self.shm))
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

impl MainFile {
    fn open(place: &StorePath) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(O_PATH | O_NOFOLLOW).open(&place.path)?;
        if identity(&file.metadata()?) != place.inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self(file))
    }

    /// Whether no name leads to the file any more.
    fn is_removed(&self) -> bool {
        self.0.metadata().is_ok_and(|found| found.nlink() == 0)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.0.metadata().map(|found| found.len())
    }
}

impl OpenFile {
    fn displaced(&self, found: Found) -> Option<Change> {
        match found {
            Found::File { inode, .. } if inode == self.inode => None,
            Found::File { .. } => Some(Change::Displaced { path: self.path.clone(), is_replaced: true }),
            Found::Nothing => Some(Change::Displaced { path: self.path.clone(), is_replaced: false }),
            Found::Unknown => None,
        }
    }
}

impl Found {
    fn at(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(found) => Self::File { inode: identity(&found), bytes: found.len() },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Nothing,
            Err(_) => Self::Unknown,
        }
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    fs::metadata(path).map(|found| identity(&found))
}

fn identity(found: &fs::Metadata) -> Inode {
    (found.dev(), found.ino())
}
