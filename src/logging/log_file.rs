//! The log file: renamed at its size limit, opened again on request. Several masters may write the same file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::write_all::write_all;
use crate::private_file;

/// Permissions of a new file: lines may contain error texts of jobs.
const MODE: u32 = 0o640;

/// The place and the limits of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileSettings {
    /// The file.
    pub path: PathBuf,
    /// Size at which the file is renamed; 0 = no limit.
    pub max_bytes: u64,
    /// Renamed files that are kept.
    pub keep: u32,
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    settings: LogFileSettings,
    file: File,
    /// The failure of the last rename, and the size of the file at which the next one is tried.
    not_renamed: Option<(String, u64)>,
}

impl LogFile {
    pub(super) fn open(settings: LogFileSettings) -> io::Result<Self> {
        let file = open(&settings)?;
        Ok(Self { settings, file, not_renamed: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Opens the file at the path again, after another program has renamed or removed it.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.settings)?;
        self.not_renamed = None;
        Ok(())
    }

    /// Writes whole lines, into a new file if they exceed the size of the present one. A file that cannot be renamed grows
    /// beyond its limit, and the rename is tried again with each further tenth of it: lines that are dropped are lost for good.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.rotate(lines.len() as u64) {
            let size = self.file.metadata().map_or(0, |metadata| metadata.len());
            self.not_renamed = Some((error.to_string(), size + self.settings.max_bytes / 10));
        }
        write_all(&mut self.file, lines)
    }

    /// Why the file could not be renamed at its size limit the last time, with the consequence.
    pub(super) fn rename_error(&self) -> Option<String> {
        let (error, _) = self.not_renamed.as_ref()?;
        let path = self.settings.path.display();
        Some(format!("log file {path} cannot be renamed at its max_bytes and grows beyond: {error}"))
    }

    fn rotate(&mut self, more: u64) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let max = self.settings.max_bytes;
        let next = self.not_renamed.as_ref().map_or(0, |(_, next)| *next);
        if max == 0 || size == 0 || size + more <= max.max(next) {
            return Ok(());
        }
        // Another master of this configuration may be about to rename the same file: the lock decides, and the loser follows.
        if self.file.try_lock().is_err() {
            return Ok(());
        }
        let renamed = if self.is_at_path() { self.rename() } else { Ok(()) };
        let unlocked = self.file.unlock();
        renamed.and(unlocked)?;
        self.reopen()
    }

    /// Whether the open file is still the one at the path.
    fn is_at_path(&self) -> bool {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (open, there) = (self.file.metadata().map(id), fs::metadata(&self.settings.path).map(id));
        matches!((open, there), (Ok(open), Ok(there)) if open == there)
    }

    fn rename(&self) -> io::Result<()> {
        let LogFileSettings { path, keep, .. } = &self.settings;
        if *keep == 0 {
            return fs::remove_file(path);
        }
        // In a directory such as /tmp another user may have put a file in the way.
        for number in 1..=*keep {
            private_file::check_replaceable(&self.numbered(number))?;
        }
        for number in (1..*keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(path, self.numbered(1))
    }

    /// The path of a renamed file.
    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = OsString::from(&self.settings.path);
        path.push(format!(".{number}"));
        path.into()
    }
}

fn open(settings: &LogFileSettings) -> io::Result<File> {
    private_file::open(&settings.path, OpenOptions::new().append(true).create(true).mode(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &tempfile::TempDir, keep: u32) -> LogFile {
        LogFile::open(LogFileSettings { path: directory.path().join("q.log"), max_bytes: 100, keep }).unwrap()
    }

    fn contents(directory: &tempfile::TempDir) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text[..1].to_owned())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn full_file_is_renamed_and_few_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = file(&directory, 2);
        for letter in ["a", "b", "c", "d"] {
            log.write(format!("{}\n", letter.repeat(79)).as_bytes()).unwrap();
        }
        let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(contents(&directory), [named("q.log", "d"), named("q.log.1", "c"), named("q.log.2", "b")]);
    }

    #[test]
    fn two_writers_rename_a_file_once() {
        let directory = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (file(&directory, 5), file(&directory, 5));
        one.write(&[b'a'; 90]).unwrap();
        one.write(&[b'b'; 90]).unwrap();
        other.write(&[b'c'; 20]).unwrap();
        let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(contents(&directory), [named("q.log", "b"), named("q.log.1", "a")]);
        assert_eq!(fs::read(directory.path().join("q.log")).unwrap().len(), 110, "the other writer follows");
    }

    #[test]
    fn moved_file_is_followed_after_reopen() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = file(&directory, 5);
        log.write(b"a\n").unwrap();
        fs::rename(directory.path().join("q.log"), directory.path().join("moved")).unwrap();
        log.reopen().unwrap();
        log.write(b"b\n").unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("q.log")).unwrap(), "b\n");
    }

    #[test]
    fn file_that_cannot_be_renamed_grows_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = file(&directory, 1);
        log.write(&[b'a'; 90]).unwrap();
        let obstacle = directory.path().join("q.log.1");
        fs::create_dir(&obstacle).unwrap();
        for _ in 0..3 {
            log.write(&[b'b'; 90]).unwrap();
        }
        assert_eq!(fs::read(log.path()).unwrap().len(), 360, "no line is lost");
        assert!(log.rename_error().unwrap().contains("cannot be renamed at its max_bytes and grows beyond"));
        fs::remove_dir(&obstacle).unwrap();
        log.write(&[b'c'; 90]).unwrap();
        assert_eq!((fs::read(log.path()).unwrap().len(), log.rename_error()), (90, None));
        assert_eq!(fs::read(&obstacle).unwrap().len(), 360);
    }

    #[test]
    fn only_regular_files_are_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe, "/dev/null".into(), directory.path().to_owned()] {
            assert!(LogFile::open(LogFileSettings { path, max_bytes: 0, keep: 0 }).is_err());
        }
    }
    #[test]
    fn rotation_touches_no_file_of_another_user() {
        if crate::trust::effective_user() != 0 {
            println!("skipped: only root can give files away");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut log = file(&directory, 2);
        log.write(&[b'a'; 90]).unwrap();
        for number in [1, 2] {
            let planted = directory.path().join(format!("q.log.{number}"));
            fs::write(&planted, "s").unwrap();
            std::os::unix::fs::chown(&planted, Some(1234), None).unwrap();
            log.write(&[b'b'; 90]).unwrap();
            let why = log.rename_error().unwrap();
            assert!(why.contains(&format!("q.log.{number}\" belongs to another user")), "{why}");
            assert_eq!(fs::read_to_string(&planted).unwrap(), "s");
            fs::remove_file(&planted).unwrap();
        }
        // A link at the place is replaced and not followed.
        std::os::unix::fs::symlink("target", directory.path().join("q.log.1")).unwrap();
        log.write(&[b'b'; 90]).unwrap();
        assert!(!directory.path().join("target").exists());
        assert!(!fs::symlink_metadata(directory.path().join("q.log.1")).unwrap().is_symlink());
    }
}
