//! Files of the store that another program cuts short in place: their names still lead to them, their content is gone.
//!
//! SQLite notices nothing. It writes its next frame where the log ended before, acknowledges it, and a checkpoint or the next
//! start reads zeros in front of it. A shorter `-wal` is right only after a checkpoint that has emptied it, and then the
//! WAL-index has no frames.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::O_NOFOLLOW;
use rusqlite::Connection;

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
/// Looks that must agree before a log counts as cut: other processes empty it and write to it in between.
const LOOKS: usize = 3;

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

    /// The path of the log now, after a rename of its directory too; `None` without a name.
    pub(super) fn present_path(&self) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()?;
        let is_here = fs::metadata(&path).is_ok_and(|found| {
            self.metadata().is_ok_and(|own| (found.dev(), found.ino()) == (own.dev(), own.ino()))
        });
        is_here.then_some(path)
    }

    pub(super) fn page_bytes(&self) -> u64 {
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
        let at = LOG_HEADER_BYTES + (frame - 1) * self.frame_bytes;
        Ok(self.read(&mut header, at)? && header[8..] == salt)
    }

    /// Reads from a place of the log; false at its end.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<bool> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Drops the rest of a cut log. Its frames are older than the main file, so a recovery would mix old and new pages.
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
    SqliteError::Unavailable(format!("its \"-wal\" file cannot be examined ({error})"))
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
