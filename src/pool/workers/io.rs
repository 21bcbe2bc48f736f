//! The task that serves one worker's descriptors: socket both ways, stdout, stderr.
//!
//! The task only moves bytes and cuts them into frames and lines. After [`IoCommand::Drain`] it reads everything that
//! the worker left behind, and ends. End of file alone does not end it, because a grandchild may hold the other end of a pipe.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::output::{MAX_FINAL_READ, Output};
use super::worker::MAX_UNREAD_BYTES;
use crate::guardian::handle::ChildId;
use crate::pool::messages::{IoCommand, IoEvent};
use crate::wire::{self, Line, LineBuffer, MAX_LINE, WireError};

/// Bytes read at once.
const READ_CHUNK: usize = 64 << 10;

/// The I/O task of one worker.
pub(super) struct WorkerIo {
    pub(super) child: ChildId,
    pub(super) socket: Option<UnixStream>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) commands: mpsc::UnboundedReceiver<IoCommand>,
    /// Bytes handed over in `commands` that are not written yet.
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
                    // The pool has ended, and the worker with it.
                    None => return,
                },
                ready = ready(self.socket.as_ref(), !outgoing.is_empty()) => {
                    if ready.is_err() || self.read_frames(&mut incoming).await == ReadResult::End {
                        self.socket = None;
                        self.report_event(IoEvent::Hangup(self.child)).await;
                    }
                    // A worker that writes without end must not keep other tasks from their turn.
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
            let written = waiting - outgoing.len();
            let before = self.unread.fetch_sub(written, Ordering::Relaxed);
            if before >= MAX_UNREAD_BYTES && before - written < MAX_UNREAD_BYTES {
                self.report_event(IoEvent::Room).await;
            }
        }
        // Bounded, because a process outside the tree may hold the other end and write on.
        for _ in 0..MAX_FINAL_READ / READ_CHUNK {
            if self.read_frames(&mut incoming).await != ReadResult::Some {
                break;
            }
        }
        self.stdout.drain();
        self.stderr.drain();
        // Some interpreters print their errors to standard output.
        let mut tail = self.stderr.tail();
        if tail.is_empty() {
            tail = self.stdout.tail();
        }
        self.report_event(IoEvent::Closed { child: self.child, tail }).await;
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
            // Output printed before these frames has arrived by now, and its job is known until the frames are reported.
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
            self.report_event(IoEvent::Frames(self.child, frames)).await;
        }
        if let Some(error) = violation {
            self.report_event(IoEvent::Violation(self.child, error)).await;
        }
    }

    async fn report_event(&self, event: IoEvent) {
        // The send fails only when the pool has ended.
        let _ = self.events.send(event).await;
    }
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadResult {
    Some,
    /// The socket is empty.
    Nothing,
    /// The other end is closed.
    End,
}

async fn ready(socket: Option<&UnixStream>, writing: bool) -> io::Result<()> {
    let Some(socket) = socket else { return pending().await };
    let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    socket.ready(interest).await.map(drop)
}

/// Writes as much as the socket takes; the rest waits until the worker reads.
fn write_some(socket: &UnixStream, outgoing: &mut Vec<u8>) {
    while !outgoing.is_empty() {
        match socket.try_write(outgoing) {
            Ok(n) => drop(outgoing.drain(..n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // The worker has ended; its exit follows.
            Err(_) => outgoing.clear(),
        }
    }
}
