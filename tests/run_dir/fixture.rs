//! Run directories of a test's own, and what is refused about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aint_queue::engine::master::run_dir::{LockError, RunDir};

/// An error with its causes, as people see it.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) fn refused(run_dir: &RunDir) -> LockError {
    run_dir.lock().map(drop).expect_err("the lock cannot be taken")
}

pub(crate) fn fresh() -> (tempfile::TempDir, RunDir) {
    let directory = tempfile::tempdir().unwrap();
    let run_dir = RunDir::open(directory.path(), "mail").unwrap();
    (directory, run_dir)
}

pub(crate) fn my_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

pub(crate) fn refusal(path: &Path) -> String {
    error_chain(&RunDir::open(path, "mail").map(drop).expect_err("it cannot be used"))
}

/// A directory that every user may read.
pub(crate) fn directory_open_to_all() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}
