//! Frames on their way to one worker, with the memory that is reserved for them.

use std::collections::VecDeque;
use std::io;

use tokio::net::UnixStream;

use crate::pool::messages::OutgoingFrames;

/// The frames that a worker has not read, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    waiting: VecDeque<OutgoingFrames>,
    /// Bytes of the first that are written.
    written: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, frames: OutgoingFrames) {
        self.waiting.push_back(frames);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes as much as the socket takes, and returns how much. The rest waits until the worker reads.
    pub(super) fn write(&mut self, socket: &UnixStream) -> usize {
        let mut total = 0;
        while let Some(first) = self.waiting.front() {
            match socket.try_write(&first.bytes[self.written..]) {
                Ok(n) => {
                    total += n;
                    self.written += n;
                    if self.written == first.bytes.len() {
                        self.waiting.pop_front();
                        self.written = 0;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // The worker has ended; its exit follows.
                Err(_) => total += self.clear(),
            }
        }
        total
    }

    /// Drops all frames; returns the number of bytes that are not written.
    pub(super) fn clear(&mut self) -> usize {
        let all: usize = self.waiting.drain(..).map(|frames| frames.bytes.len()).sum();
        all - std::mem::take(&mut self.written)
    }
}
