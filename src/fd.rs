//! The system calls that have no safe form. The only unsafe code of the crate.
#![expect(unsafe_code, reason = "these calls have no safe form; each block says why it is sound")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes ownership of a descriptor this process was started with, and keeps it from its own children.
///
/// # Errors
/// When `number` is not an open descriptor above the standard three.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::other(format!("descriptor {number} is a standard stream")));
    }
    // SAFETY: the caller's process was started with this descriptor for this purpose, so nothing else in
    // it owns the number; the check below turns a number that is not open into an error.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    if let Err(error) = fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        // Dropping it would close a number we do not own.
        std::mem::forget(owned);
        return Err(error.into());
    }
    Ok(owned)
}
