//! A file of JSON lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use super::request::{SendFailure, excerpt};
use crate::private_file;

/// Permissions of a new file: lines may contain names of jobs and hosts.
const MODE: u32 = 0o640;

/// A file that lines are added to. A file that another program has renamed is opened again under its name.
#[derive(Debug)]
struct LineFile {
    path: PathBuf,
    max_bytes: u64,
    file: Option<File>,
}

impl LineFile {
    fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes, file: None }
    }

    /// Adds a line. A line that does not fit on the disk leaves no half of it.
    fn append(&mut self, line: &str) -> Result<(), SendFailure> {
        self.try_append(line).map_err(|error| {
            self.file = None;
            let said = excerpt(&format!("\"{}\" could not be written: {error}", self.path.display()));
            SendFailure::passing(said)
        })
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        let mut file = self.current()?;
        let size = file.metadata()?.len();
        if self.max_bytes > 0 && size > 0 && size + line.len() as u64 > self.max_bytes {
            drop(file);
            self.rename()?;
            file = self.current()?;
        }
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(line.as_bytes()) {
            // The rest of a line would spoil the next one.
            let _ = file.set_len(before);
            return Err(error);
        }
        self.file = Some(file);
        Ok(())
    }

    /// The file at the path: the open one, unless the path is another one now.
    fn current(&mut self) -> io::Result<File> {
        if let Some(file) = self.file.take() {
            let (open, named) = (file.metadata()?, fs::symlink_metadata(&self.path));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())) {
                return Ok(file);
            }
        }
        private_file::open(&self.path, OpenOptions::new().append(true).create(true).mode(MODE))
    }

    fn rename(&self) -> io::Result<()> {
        let kept = with_suffix(&self.path);
        private_file::check_replaceable(&kept)?;
        fs::rename(&self.path, kept)
    }
}

/// Adds lines on a thread for blocking work: a file system that hangs must hold up nothing else. A line that is still being written
/// is waited for before the next one, so that at most one thread hangs.
#[derive(Debug)]
pub(super) struct FileWriter(Writing);

#[derive(Debug)]
enum Writing {
    Idle(LineFile),
    Busy(JoinHandle<(LineFile, Result<(), SendFailure>)>),
    /// The thread has panicked, or the runtime has ended.
    Lost,
}

impl FileWriter {
    pub(super) fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self(Writing::Idle(LineFile::new(path, max_bytes)))
    }

    pub(super) async fn append(&mut self, line: String) -> Result<(), SendFailure> {
        // The line before this one has had its result: it took too long.
        let _ = self.finish().await?;
        if let Writing::Idle(mut file) = std::mem::replace(&mut self.0, Writing::Lost) {
            self.0 = Writing::Busy(tokio::task::spawn_blocking(move || {
                let result = file.append(&line);
                (file, result)
            }));
        }
        self.finish().await?
    }

    /// Waits for the line that is being written; a dropped wait can be taken up again.
    async fn finish(&mut self) -> Result<Result<(), SendFailure>, SendFailure> {
        let (next, result) = match &mut self.0 {
            Writing::Idle(_) => return Ok(Ok(())),
            Writing::Lost => {
                return Err(SendFailure::last("the file is not written any more: restart the master"));
            }
            Writing::Busy(writing) => match writing.await {
                Ok((file, result)) => (Writing::Idle(file), Ok(result)),
                Err(error) => (Writing::Lost, Err(SendFailure::last(error.to_string()))),
            },
        };
        self.0 = next;
        result
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn renamed_and_removed_files_are_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let mut file = LineFile::new(path.clone(), 0);
        file.append("1").unwrap();
        fs::rename(&path, dir.path().join("old")).unwrap();
        file.append("2").unwrap();
        file.append("3").unwrap();
        fs::remove_file(&path).unwrap();
        file.append("4").unwrap();
        assert_eq!(lines(&dir.path().join("old")), ["1"]);
        assert_eq!(lines(&path), ["4"]);
    }

    #[test]
    fn file_is_renamed_at_its_limit_and_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let mut file = LineFile::new(path.clone(), 4);
        for line in ["a", "b", "c", "d", "e"] {
            file.append(line).unwrap();
        }
        assert_eq!(
            (lines(&path), lines(&with_suffix(&path))),
            (vec!["e".to_owned()], vec!["c".to_owned(), "d".to_owned()])
        );
        file.append("longer than the limit").unwrap();
        assert_eq!(lines(&path), ["longer than the limit"]);
    }

    #[test]
    fn full_disk_is_a_failure_that_passes() {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut full = LineFile { path, max_bytes: 0, file: Some(file) };
        let failure = full.append("x").unwrap_err();
        assert!(failure.message.contains("No space left on device"), "{failure:?}");
        assert_eq!(failure.next, super::super::NextAttempt::Usual);
    }

    #[test]
    fn failure_names_the_file_and_passes() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none/alerts.jsonl");
        let failure = LineFile::new(missing.clone(), 0).append("x").unwrap_err();
        assert!(failure.message.contains("could not be written"), "{failure:?}");
        fs::create_dir(dir.path().join("none")).unwrap();
        LineFile::new(missing, 0).append("x").unwrap();
    }
}
