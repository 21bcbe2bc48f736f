//! Descriptors for a child's standard streams.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::net::unix::pipe;

/// A pipe for a child's output: a non-blocking reading end for the master, a blocking writing end for the child.
pub(crate) fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// A memory file with `text` for a child's standard input. The child reads it at any pace without a writer that waits.
pub(crate) fn input_file(text: &str) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"aint-queue-input", MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}
