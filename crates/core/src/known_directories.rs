//! The directories that were there when this process looked for the first time.
//!
//! A command resolves its paths once. If another program renames the directory of a store before the command opens the file, the path
//! leads nowhere: a command that made the directory again would put its jobs where no master looks for them.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::mutex::lock;

/// Known directories; those above them were there too. As many as there are stores and run directories in the configurations.
static KNOWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The reason why a directory was not created.
#[derive(Debug)]
pub enum CreateError {
    /// The directory was there before.
    Gone(PathBuf),
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(directory) => write!(
                f,
                "\"{}\" was moved or removed since this process began: nothing is created in its place; use the new path, or create \
                 it and start again",
                directory.display()
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Remembers the nearest directory above `path` that is there now.
pub fn remember_above(path: &Path) {
    let Ok(path) = std::path::absolute(path) else { return };
    if let Some(found) = path.ancestors().skip(1).find(|directory| is_there(directory)) {
        lock(&KNOWN).insert(found.to_owned());
    }
}

/// Creates a directory and its missing parents, unless one of them is known.
///
/// # Errors
/// When a directory is gone, or the system refuses to create one.
pub fn create(directory: &Path, mode: u32) -> Result<(), CreateError> {
    let directory = std::path::absolute(directory)?;
    let missing: Vec<_> = directory.ancestors().take_while(|directory| !is_there(directory)).collect();
    if let Some(gone) = missing.iter().rev().find(|directory| is_known(directory)) {
        return Err(CreateError::Gone((*gone).to_owned()));
    }
    for missing in missing.into_iter().rev() {
        // Only the last part is created: a parent that disappears meanwhile is not made again.
        match DirBuilder::new().mode(mode).create(missing) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    if !fs::metadata(&directory)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
    }
    lock(&KNOWN).insert(directory);
    Ok(())
}

fn is_there(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

fn is_known(directory: &Path) -> bool {
    lock(&KNOWN).iter().any(|known| known.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_directory_is_not_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let (project, data) = (dir.path().join("project"), dir.path().join("project/a/data"));
        fs::create_dir(&project).unwrap();
        remember_above(&data.join("queue.db"));
        create(&data, 0o700).unwrap();
        fs::rename(&project, dir.path().join("moved")).unwrap();
        for gone in [&data, &project, &project.join("other/below")] {
            let Err(CreateError::Gone(first)) = create(gone, 0o700) else { panic!("{}", gone.display()) };
            assert_eq!(first, project);
            assert!(!project.exists());
        }
        let refusal = create(&data, 0o700).unwrap_err().to_string();
        assert!(refusal.contains("project\" was moved or removed"), "{refusal}");
        // An operator makes it again.
        fs::create_dir_all(&data).unwrap();
        create(&data, 0o700).unwrap();
        create(&dir.path().join("new/one"), 0o700).unwrap();
    }

    #[test]
    fn file_in_place_of_a_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            assert!(matches!(create(&dir.path().join(path), 0o700), Err(CreateError::Io(_))), "{path}");
        }
    }
}
