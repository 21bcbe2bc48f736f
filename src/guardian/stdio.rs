//! The descriptors a child is given for its standard streams.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::net::unix::pipe;

/// A pipe whose reading end is ours and never blocks, and whose writing end is an ordinary one for a child.
pub(crate) fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// A text as a file in memory for a child's standard input: it reads when it likes, and nobody waits for it.
pub(crate) fn input_file(text: &str) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"aint-queue-input", MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}
