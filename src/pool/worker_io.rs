//! The task that serves one worker's descriptors: socket both ways, stdout, stderr.
//!
//! It only moves bytes and cuts them into frames and lines. It ends when told to drain, after it has read
//! everything the worker left behind; end of file alone means nothing, for a grandchild may hold the other end.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::worker::MAX_UNREAD_BYTES;
use super::worker_output::Output;
use crate::guardian::handle::ChildId;
use crate::wire::{self, FromWorker, Line, LineBuffer, MAX_LINE, WireError};

/// How much is read at once.
const READ_CHUNK: usize = 64 << 10;

/// More than a socket or pipe can hold of what a dead worker left behind.
pub(super) const MAX_FINAL_READ: usize = 4 << 20;

/// What the pool tells the task.
#[derive(Debug)]
pub(super) enum IoCommand {
    /// Write these frames.
    Send(Vec<u8>),
    /// The process and its tree are gone: read the rest, report it, end.
    Drain,
}

/// What the task tells the pool.
#[derive(Debug)]
pub(super) enum IoEvent {
    /// The worker said these.
    Frames(ChildId, Vec<FromWorker>),
    /// The worker said something that is no frame.
    Violation(ChildId, WireError),
    /// The worker has read so much that it can be given runs again.
    Room,
    /// The worker closed its socket.
    Hangup(ChildId),
    /// Bytes that workers use.
    Memory(Vec<(ChildId, u64)>),
    /// Everything is read.
    Closed {
        /// Which worker.
        child: ChildId,
        /// The last lines of its stderr.
        tail: String,
    },
}

pub(super) struct WorkerIo {
    pub(super) child: ChildId,
    pub(super) socket: Option<UnixStream>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) commands: mpsc::UnboundedReceiver<IoCommand>,
    /// How many bytes were handed over in `commands` and are not written.
    pub(super) unread: Arc<AtomicUsize>,
    pub(super) events: mpsc::Sender<IoEvent>,
}

impl WorkerIo {
    pub(super) async fn serve(mut self) {
        let mut incoming = LineBuffer::new(MAX_LINE, READ_CHUNK);
        let mut outgoing: Vec<u8> = Vec::new();
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(IoCommand::Send(frames)) if outgoing.is_empty() => outgoing = frames,
                    Some(IoCommand::Send(frames)) => outgoing.extend_from_slice(&frames),
                    Some(IoCommand::Drain) => break,
                    // The pool is gone, and the worker with it.
                    None => return,
                },
                ready = ready(self.socket.as_ref(), !outgoing.is_empty()) => {
                    if ready.is_err() || self.read_frames(&mut incoming).await == ReadResult::End {
                        self.socket = None;
                        self.tell(IoEvent::Hangup(self.child)).await;
                    }
                    // One who says or prints something without end must not keep the others from their turn.
                    tokio::task::yield_now().await;
                }
                () = self.stdout.readable() => {
                    self.stdout.read_once();
                    tokio::task::yield_now().await;
                }
                () = self.stderr.readable() => {
                    self.stderr.read_once();
                    tokio::task::yield_now().await;
                }
            }
            let waiting = outgoing.len();
            if let Some(socket) = &self.socket {
                write_some(socket, &mut outgoing);
            } else {
                outgoing.clear();
            }
            let gone = waiting - outgoing.len();
            let before = self.unread.fetch_sub(gone, Ordering::Relaxed);
            if before >= MAX_UNREAD_BYTES && before - gone < MAX_UNREAD_BYTES {
                self.tell(IoEvent::Room).await;
            }
        }
        // Bounded, in case somebody outside the tree got hold of the other end and goes on.
        for _ in 0..MAX_FINAL_READ / READ_CHUNK {
            if self.read_frames(&mut incoming).await != ReadResult::Some {
                break;
            }
        }
        self.stdout.drain();
        self.stderr.drain();
        let tail = self.stderr.tail();
        self.tell(IoEvent::Closed { child: self.child, tail }).await;
    }

    /// Reads once and passes on the frames that are complete.
    async fn read_frames(&mut self, incoming: &mut LineBuffer) -> ReadResult {
        let Some(socket) = &self.socket else { return ReadResult::End };
        let read = match incoming.fill(|space| socket.try_read(space)) {
            Ok(0) => ReadResult::End,
            Ok(_) => ReadResult::Some,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ReadResult::Nothing,
            Err(_) => ReadResult::End,
        };
        if read == ReadResult::Some {
            // What the worker printed before it said this is there by now; its job is known until this is reported.
            self.stdout.catch_up();
            self.stderr.catch_up();
        }
        self.report(incoming).await;
        read
    }

    /// Passes on the frames that have arrived.
    async fn report(&self, incoming: &mut LineBuffer) {
        let mut frames = Vec::new();
        let mut violation = None;
        while let Some(line) = incoming.next_line() {
            let decoded = match line {
                Line::Truncated(_) => Err(WireError::TooLong),
                Line::Whole(b"") => continue,
                Line::Whole(line) => wire::decode_from_worker(line),
            };
            match decoded {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    violation.get_or_insert(error);
                }
            }
        }
        if !frames.is_empty() {
            self.tell(IoEvent::Frames(self.child, frames)).await;
        }
        if let Some(error) = violation {
            self.tell(IoEvent::Violation(self.child, error)).await;
        }
    }

    async fn tell(&self, event: IoEvent) {
        // Nobody listens when the pool is gone; then nothing is left to report.
        let _ = self.events.send(event).await;
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadResult {
    Some,
    /// Nothing is there now.
    Nothing,
    /// The other end is closed.
    End,
}

async fn ready(socket: Option<&UnixStream>, writing: bool) -> io::Result<()> {
    let Some(socket) = socket else { return pending().await };
    let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    socket.ready(interest).await.map(drop)
}

/// Writes what fits; the rest waits until the worker reads.
fn write_some(socket: &UnixStream, outgoing: &mut Vec<u8>) {
    while !outgoing.is_empty() {
        match socket.try_write(outgoing) {
            Ok(n) => drop(outgoing.drain(..n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // The worker is gone; its exit tells the rest.
            Err(_) => outgoing.clear(),
        }
    }
}
