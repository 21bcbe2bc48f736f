//! The worker's end of the socket: reads and writes frames without blocking.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::fd;
use crate::wire::{self, FromMaster, FromWorker, Line, LineBuffer, MAX_LINE};

/// Most bytes read at once.
const CHUNK: usize = 64 << 10;

pub(super) struct Socket {
    stream: UnixStream,
    incoming: LineBuffer,
    outgoing: Vec<u8>,
}

impl Socket {
    /// Takes the socket whose descriptor `AINT_QUEUE_FD` names.
    pub(super) fn inherited() -> io::Result<Self> {
        let number = std::env::var(wire::FD_VARIABLE).ok().and_then(|n| n.parse().ok());
        let number = number.ok_or_else(|| {
            io::Error::other(format!("environment variable {} does not name a descriptor", wire::FD_VARIABLE))
        })?;
        let socket: OwnedFd = fd::inherited(number)?;
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, incoming: LineBuffer::new(MAX_LINE, CHUNK), outgoing: Vec::new() })
    }

    /// Queues a frame, which `exchange` and `flush` write.
    pub(super) fn send(&mut self, frame: &FromWorker) {
        wire::encode_to_master(frame, &mut self.outgoing);
    }

    /// Writes queued frames, then waits until frames have arrived or more can be written. False when the master has closed
    /// the socket.
    pub(super) async fn exchange(&mut self) -> io::Result<bool> {
        self.write_some()?;
        let interest = match self.outgoing.is_empty() {
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        let ready = self.stream.ready(interest).await?;
        if ready.is_readable() {
            match self.incoming.fill(|space| self.stream.try_read(space)) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// The next complete frame that has arrived.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<FromMaster<'_>>> {
        match self.incoming.next_line() {
            None => Ok(None),
            Some(Line::Truncated(_)) => Err(io::Error::other("the master sent a line longer than the limit")),
            Some(Line::Whole(line)) => wire::decode_from_master(line).map(Some).map_err(io::Error::other),
        }
    }

    /// Writes all queued frames.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            self.write_some()?;
            if !self.outgoing.is_empty() {
                self.stream.writable().await?;
            }
        }
        Ok(())
    }

    fn write_some(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.stream.try_write(&self.outgoing) {
                Ok(n) => drop(self.outgoing.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The master is gone; the next read detects it.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    self.outgoing.clear();
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
