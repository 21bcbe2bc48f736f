//! The limit on open descriptors of this process: raised to what the system allows, and given back to children.
//!
//! A master has three descriptors per worker and per connection one, so the usual soft limit of 1024 is soon too low for it.
//! Programs of others get the limit that the master was started with: some of them break with more than 1024 descriptors, and
//! `worker.limits.open_files` is the way to give them more.

use std::os::fd::RawFd;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Most descriptors that are not used for workers.
const MAX_RESERVE: u64 = 32;

/// The limit that this process was started with.
static AT_START: OnceLock<OpenFiles> = OnceLock::new();

/// A limit on open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// The limit in force.
    pub(crate) soft: u64,
    /// The value up to which the process may raise it.
    pub(crate) hard: u64,
}

/// Raises the limit of this process to its hard limit. Returns the limit that the process was started with, also at later
/// calls.
pub(crate) fn raise() -> OpenFiles {
    *AT_START.get_or_init(|| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        // A refusal leaves the limit as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        OpenFiles { soft, hard }
    })
}

/// Gives this process the limit back that it was started with, for the program that it executes next.
pub(crate) fn restore() {
    if let Some(OpenFiles { soft, hard }) = AT_START.get() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard);
    }
}

/// The limit that this process was started with, if it was raised.
pub(crate) fn at_start() -> Option<OpenFiles> {
    AT_START.get().copied()
}

/// Whether a new descriptor is among the last ones, which are kept for the store, the control socket and the log. The system
/// always uses the lowest free number, so a high one means that all below it are in use.
pub(crate) fn is_reserved(descriptor: RawFd) -> bool {
    let Some(OpenFiles { hard, .. }) = at_start() else { return false };
    u64::try_from(descriptor).is_ok_and(|number| number >= hard - MAX_RESERVE.min(hard / 8))
}
