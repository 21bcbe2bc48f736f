//! The files of a program as they are on disk, to detect that the program has changed since a worker was started from it.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::pool::spec::PoolSpec;

/// The files of a program at one moment: device, inode, size and time of change of each; `None` for a missing file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramFiles(Vec<Option<[i128; 5]>>);

impl ProgramFiles {
    /// The files as they are now; none where the pool does not follow them.
    pub(crate) fn of(spec: &PoolSpec) -> Self {
        if spec.follows_files() { Self::now(&spec.files) } else { Self::default() }
    }

    fn now(paths: &[PathBuf]) -> Self {
        let identity = |path: &PathBuf| {
            let found = path.metadata().ok()?;
            let (device, inode, size) = (found.dev().into(), found.ino().into(), found.size().into());
            Some([device, inode, size, found.mtime().into(), found.mtime_nsec().into()])
        };
        Self(paths.iter().map(identity).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_or_missing_file_differs() {
        let dir = tempfile::tempdir().unwrap();
        let found = [dir.path().join("worker.php")];
        let missing = ProgramFiles::now(&found);
        std::fs::write(&found[0], "1").unwrap();
        let before = ProgramFiles::now(&found);
        assert_ne!(before, missing);
        assert_eq!(before, ProgramFiles::now(&found));
        std::fs::write(&found[0], "22").unwrap();
        assert_ne!(before, ProgramFiles::now(&found));
        std::fs::remove_file(&found[0]).unwrap();
        assert_eq!(ProgramFiles::now(&found), missing);
    }
}
