//! The default run directory of a master.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The run directory of this user when none is configured.
pub(super) fn of_user() -> PathBuf {
    choose(user(), env::var_os("XDG_RUNTIME_DIR"), &env::temp_dir())
}

/// The effective user of this process.
#[cfg(feature = "server")]
fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The effective user of this process, read from `/proc` because a producer has no system call crate. Only a master uses
/// the run directory, so a wrong answer here is harmless.
#[cfg(not(feature = "server"))]
fn user() -> u32 {
    use std::os::unix::fs::MetadataExt;

    std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
}

fn choose(uid: u32, runtime: Option<OsString>, temporary: &Path) -> PathBuf {
    match runtime.map(PathBuf::from).filter(|runtime| runtime.is_absolute()) {
        _ if uid == 0 => PathBuf::from("/run/aint-queue"),
        Some(runtime) => runtime.join("aint-queue"),
        None => temporary.join(format!("aint-queue-{uid}")),
    }
}
