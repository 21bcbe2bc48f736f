//! The path of this program: the path to start workers and to re-exec.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The absolute path this program was started with, links not resolved: after a deployment swaps the link or the file,
/// workers start the new program.
///
/// # Errors
/// When neither the first argument nor the system gives the path.
pub fn own_program() -> io::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from);
    let found = named.and_then(|path| locate(&path)).filter(|path| path.is_file());
    found.map_or_else(|| std::env::current_exe().map(without_deleted_suffix), Ok)
}

/// The path without the suffix that the system adds for a removed file: a new file may take its place later.
fn without_deleted_suffix(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b" (deleted)").map_or_else(|| path.clone(), |named| OsStr::from_bytes(named).into())
}

/// Whether the program file on disk differs from the one this process runs. Workers started now run the file on disk.
pub(super) fn is_program_replaced() -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    // This link leads to the running file even after another file has taken its path.
    let running = identity(Path::new("/proc/self/exe"));
    let on_disk = own_program().ok().and_then(|path| identity(&path));
    matches!((running, on_disk), (Some(running), Some(on_disk)) if running != on_disk)
}

fn locate(path: &Path) -> Option<PathBuf> {
    if path.components().count() > 1 {
        return std::path::absolute(path).ok();
    }
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|dir| dir.join(path)).find(|candidate| candidate.is_file())
}
