//! Files of the store that another program cuts short in place: their names still lead to them, their content is gone.
//!
//! SQLite notices nothing. SQLite writes its next frame where the log ended before, acknowledges it, and a checkpoint or the next
//! start reads zeros in front of it. A shorter `-wal` is right only after a checkpoint that has emptied it, and then the
//! WAL-index has no frames.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::O_NOFOLLOW;
use rusqlite::{Connection, ErrorCode};

use super::error::SqliteError;

/// Length of the header of `-wal`.
const LOG_HEADER_BYTES: u64 = 32;
/// Length of the header of each frame in it.
const FRAME_HEADER_BYTES: u64 = 24;
/// The first bytes of a `-wal` file; the last bit is the byte order of its checksums.
const LOG_MAGIC: u32 = 0x377f_0682;
/// Length of a mapped part of `-shm`. An access behind the end of the file kills the process (SIGBUS).
const INDEX_REGION_BYTES: u64 = 32 * 1024;
/// Frames in the first part of `-shm`, and in each further one.
const INDEX_REGION_FRAMES: (u64, u64) = (4_062, 4_096);
/// Looks that must agree before a file counts as cut: other processes empty the log, and write to both files, in between.
const LOOKS: usize = 3;
/// Looks at the main file without three that agree, after which there is no finding: others write to it all the time.
const MAX_LOOKS: usize = 30;
/// The place of SQLite's locks in the main file. The page around it is never written.
const LOCK_BYTES_AT: u64 = 1 << 30;

/// The log of an open store, by its descriptor.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    frame_bytes: u64,
    /// The number of committed frames at the last look that found all of them.
    last_committed: AtomicU64,
}

/// The random number of a log, in its header and in each of its frames. A log that begins again has another one.
type Salt = [u8; 8];

/// The finding of a look at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogState {
    /// All committed frames are there.
    Whole,
    /// Frames are gone that are in the main file too.
    CutBehindCheckpoint,
    /// Committed frames are gone that were nowhere else.
    Lost { has_outdated_frames: bool },
}

/// The finding of a look at the main file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MainState {
    /// All pages that need to be in it are there.
    Whole { bytes: u64 },
    /// Other processes write to it all the time: no finding.
    Changing,
    /// Pages are gone that were nowhere else.
    Cut { bytes: u64 },
}

/// The counts in the WAL-index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frames {
    committed: u64,
    /// The first ones of the log that are in the main file too.
    in_main_file: u64,
}

impl Log {
    pub(super) fn open(path: &Path, connection: &Connection) -> Result<Self, SqliteError> {
        // SQLite locks the main file and `-shm` only: closing another descriptor of the log releases no lock.
        let file = OpenOptions::new().read(true).write(true).custom_flags(O_NOFOLLOW).open(path);
        let file = file.map_err(|error| {
            SqliteError::Unavailable(format!(
                "\"{}\" was removed while the file was opened ({error})",
                path.display()
            ))
        })?;
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let frame_bytes = FRAME_HEADER_BYTES + page.unsigned_abs();
        Ok(Self { file, frame_bytes, last_committed: AtomicU64::default() })
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// A path that leads to the opened file.
    pub(super) fn handle(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// The path of the log now, after a rename of its directory too; `None` without a name.
    pub(super) fn present_path(&self) -> Option<PathBuf> {
        let path = fs::read_link(self.handle()).ok()?;
        let is_here = fs::metadata(&path).is_ok_and(|found| {
            self.metadata().is_ok_and(|own| (found.dev(), found.ino()) == (own.dev(), own.ino()))
        });
        is_here.then_some(path)
    }

    fn page_bytes(&self) -> u64 {
        self.frame_bytes - FRAME_HEADER_BYTES
    }

    /// Compares the log with the WAL-index, outside a transaction. The length of `-shm` must be checked before.
    /// Returns the number of committed frames too.
    pub(super) fn state(&self, connection: &Connection) -> Result<(u64, LogState), SqliteError> {
        let mut before = None;
        let mut agreeing = 0;
        loop {
            let frames = frames(connection)?;
            let length = self.metadata().map_err(unreadable)?.len();
            let readable = self.readable(frames.committed, length).map_err(unreadable)?;
            let state = frames.judge(readable);
            if state == LogState::Whole {
                self.last_committed.store(frames.committed, Ordering::Relaxed);
                return Ok((frames.committed, state));
            }
            agreeing = if before == Some((frames, length)) { agreeing + 1 } else { 1 };
            if agreeing == LOOKS {
                return Ok((frames.committed, state));
            }
            before = Some((frames, length));
        }
    }

    /// Whether the log has frames of a write that is not committed, as far as known: the write continues, or was given up.
    pub(super) fn has_uncommitted(&self, connection: &Connection) -> Result<bool, SqliteError> {
        let committed = frames(connection)?.committed;
        let look = || {
            let Some(salt) = self.salt()? else { return Ok(committed > 0) };
            // A write that begins the log again changes its salt first.
            let has_begun_again = committed > 0 && !self.has_frame(committed, salt)?;
            Ok(has_begun_again || self.has_frame(committed + 1, salt)?)
        };
        look().map_err(unreadable)
    }

    /// The number of frames at the beginning of the log that are there, of this many.
    ///
    /// A write behind a cut restores the length, and leaves a hole in front of it. So the last frame of the look before is looked
    /// at too, and the header; only when one of them is wrong, all frames.
    fn readable(&self, committed: u64, length: u64) -> io::Result<u64> {
        let Some(salt) = self.salt()? else { return Ok(0) };
        let whole = (length.saturating_sub(LOG_HEADER_BYTES) / self.frame_bytes).min(committed);
        let known = self.last_committed.load(Ordering::Relaxed).min(whole);
        if known == 0 || self.has_frame(known, salt)? {
            return Ok(whole);
        }
        for frame in 1..=whole {
            if !self.has_frame(frame, salt)? {
                return Ok(frame - 1);
            }
        }
        Ok(whole)
    }

    /// The salt in the header; `None` without a header.
    fn salt(&self) -> io::Result<Option<Salt>> {
        let mut header = [0; 24];
        if !self.read(&mut header, 0)? {
            return Ok(None);
        }
        let (magic, salt) = (header[..4].try_into(), header[16..].try_into());
        Ok(salt.ok().filter(|_| magic.is_ok_and(|magic| u32::from_be_bytes(magic) & !1 == LOG_MAGIC)))
    }

    /// Whether a frame, counted from 1, belongs to the log with this salt.
    fn has_frame(&self, frame: u64, salt: Salt) -> io::Result<bool> {
        let mut header = [0; 16];
        Ok(self.read(&mut header, self.frame_at(frame))? && header[8..] == salt)
    }

    /// Reads from a place of the log; false at its end.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<bool> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Compares the length of the main file with its database, outside a transaction. `length` looks at it.
    ///
    /// The number of its pages is not its length: the newest pages may be in the log only, and after a `VACUUM` of another program the
    /// file is shorter than before. So the file must reach to the last page that is not in the log.
    pub(super) fn main_state(
        &self,
        connection: &Connection,
        length: impl Fn() -> io::Result<u64>,
    ) -> Result<MainState, SqliteError> {
        let mut before = None;
        let mut agreeing = 0;
        for _ in 0..MAX_LOOKS {
            let frames_before = frames(connection)?;
            let bytes = length().map_err(unreadable)?;
            // The first page is in the file since it is in WAL mode.
            if bytes < self.page_bytes() {
                return Ok(MainState::Cut { bytes });
            }
            let needed = self.needed_main_bytes(connection, frames_before)?;
            if needed.is_some_and(|needed| bytes >= needed) {
                return Ok(MainState::Whole { bytes });
            }
            if frames(connection)? != frames_before {
                continue;
            }
            let look = Some((frames_before, bytes, needed));
            agreeing = if before == look { agreeing + 1 } else { 1 };
            if agreeing == LOOKS {
                return Ok(MainState::Cut { bytes });
            }
            before = look;
        }
        Ok(MainState::Changing)
    }

    /// The length of the main file at these counts; `None` when it is shorter than its own header says, without a log.
    fn needed_main_bytes(&self, connection: &Connection, frames: Frames) -> Result<Option<u64>, SqliteError> {
        let mut count = connection.prepare_cached("PRAGMA page_count")?;
        let pages: i64 = match count.query_row([], |row| row.get(0)) {
            Ok(pages) => pages,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let in_log = self.pages_behind(frames).map_err(unreadable)?;
        let page_bytes = self.page_bytes();
        let lock_page = LOCK_BYTES_AT / page_bytes + 1;
        let last = (1..=pages.unsigned_abs()).rev().find(|page| !in_log.contains(page) && *page != lock_page);
        Ok(Some(last.unwrap_or(1) * page_bytes))
    }

    /// The pages in the frames that need not be in the main file yet.
    fn pages_behind(&self, frames: Frames) -> io::Result<HashSet<u64>> {
        let mut pages = HashSet::new();
        for frame in frames.in_main_file + 1..=frames.committed {
            let mut number = [0; 4];
            // A log that was emptied since is found by the next look.
            if !self.read(&mut number, self.frame_at(frame))? {
                break;
            }
            pages.insert(u64::from(u32::from_be_bytes(number)));
        }
        Ok(pages)
    }

    /// The place of a frame, counted from 1.
    fn frame_at(&self, frame: u64) -> u64 {
        LOG_HEADER_BYTES + (frame - 1) * self.frame_bytes
    }

    /// Drops the rest of a cut log. The frames in that rest are older than the main file, so a recovery would mix old and new pages.
    pub(super) fn drop_outdated(&self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

impl Frames {
    /// The state of a log with this number of readable frames.
    fn judge(self, readable: u64) -> LogState {
        if readable >= self.committed {
            LogState::Whole
        } else if self.in_main_file >= self.committed {
            LogState::CutBehindCheckpoint
        } else {
            LogState::Lost { has_outdated_frames: readable <= self.in_main_file }
        }
    }
}

/// The length that `-shm` has at least for this number of frames.
pub(super) fn index_bytes(frames: u64) -> u64 {
    let (first, further) = INDEX_REGION_FRAMES;
    (1 + frames.saturating_sub(first).div_ceil(further)) * INDEX_REGION_BYTES
}

/// Empties a log that is in the main file completely; false while another connection reads through it.
pub(super) fn empty(connection: &Connection) -> Result<bool, SqliteError> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(statement.query_row([], |row| row.get::<_, i64>(0))? == 0)
}

fn frames(connection: &Connection) -> Result<Frames, SqliteError> {
    // Reads the counts and does nothing else. The counts are -1 for a file that is not in WAL mode.
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(statement.query_row([], |row| {
        Ok(Frames { committed: count(row.get(1)?), in_main_file: count(row.get(2)?) })
    })?)
}

fn unreadable(error: io::Error) -> SqliteError {
    SqliteError::Unavailable(format!("the file or its \"-wal\" file cannot be examined ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_state_follows_from_counts() {
        let judge = |committed, in_main_file, readable| Frames { committed, in_main_file }.judge(readable);
        assert_eq!(judge(0, 0, 0), LogState::Whole, "emptied by a checkpoint");
        assert_eq!(judge(5, 2, 5), LogState::Whole);
        assert_eq!(judge(5, 5, 0), LogState::CutBehindCheckpoint);
        assert_eq!(judge(5, 2, 4), LogState::Lost { has_outdated_frames: false });
        assert_eq!(judge(5, 2, 2), LogState::Lost { has_outdated_frames: true });
        assert_eq!(judge(5, 0, 0), LogState::Lost { has_outdated_frames: true });
    }

    #[test]
    fn index_grows_with_the_frames() {
        let regions = [0, 4_062, 4_063, 8_158, 8_159].map(|frames| index_bytes(frames) / INDEX_REGION_BYTES);
        assert_eq!(regions, [1, 1, 2, 2, 3]);
    }

    #[test]
    fn write_without_commit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let open = || Connection::open(&path).unwrap();
        let (writer, reader) = (open(), open());
        writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA cache_size = 1; CREATE TABLE t (x)").unwrap();
        let log = Log::open(&dir.path().join("store.db-wal"), &writer).unwrap();
        let has_uncommitted = || log.has_uncommitted(&reader).unwrap();
        let large = "INSERT INTO t SELECT randomblob(3000) FROM generate_rows";
        let rows = "WITH RECURSIVE generate_rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM generate_rows WHERE n < 200) ";
        assert!(!has_uncommitted());
        for checkpoint in ["FULL", "TRUNCATE"] {
            // More than the cache holds, so that frames are written before the commit.
            writer.execute_batch(&format!("BEGIN; {rows} {large}")).unwrap();
            assert!(has_uncommitted(), "before {checkpoint}");
            writer.execute_batch("COMMIT").unwrap();
            assert!(!has_uncommitted());
            let emptied = format!("PRAGMA wal_checkpoint({checkpoint})");
            writer.query_row(&emptied, [], |_| Ok(())).unwrap();
            assert!(!has_uncommitted(), "after {checkpoint}");
        }
    }

    #[test]
    fn hole_in_front_of_a_write_is_found() {
        let file = tempfile::tempfile().unwrap();
        let frame_bytes = FRAME_HEADER_BYTES + 4096;
        let log = Log { file, frame_bytes, last_committed: AtomicU64::new(3) };
        let end = |frames: u64| LOG_HEADER_BYTES + frames * frame_bytes;
        let write_frame = |frame: u64| {
            log.file.write_all_at(b"....____saltsalt", end(frame - 1)).unwrap();
            log.file.write_all_at(&[1], end(frame) - 1).unwrap();
        };
        assert_eq!(log.readable(0, 0).unwrap(), 0, "an empty log");
        log.file.write_all_at(&[0x37, 0x7f, 6, 0x83], 0).unwrap();
        log.file.write_all_at(b"saltsalt", 16).unwrap();
        (1..=5).for_each(write_frame);
        let readable = |committed| log.readable(committed, log.metadata().unwrap().len()).unwrap();
        assert_eq!((readable(5), readable(3), readable(9)), (5, 3, 5));
        // Cut within the second frame, or within the header, and written behind that.
        for (bytes, left) in [(end(1) + 9, 1), (20, 0), (0, 0)] {
            log.file.set_len(bytes).unwrap();
            assert_eq!(readable(3), left, "{bytes}");
            write_frame(4);
            assert_eq!(readable(4), left, "{bytes}, written behind it");
        }
    }
}
