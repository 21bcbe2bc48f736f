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
use crate::wire::{self, Line, LineBuffer, MAX_LINE, ReadFrame, WireError};

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
        let mut incoming = FrameReader::new();
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
        let tail = self.stderr.tail();
        self.report_event(IoEvent::Closed { child: self.child, tail }).await;
    }

    /// Reads once and passes on the frames that are complete.
    async fn read_frames(&mut self, incoming: &mut FrameReader) -> ReadResult {
        let Some(socket) = &self.socket else { return ReadResult::End };
        let read = match incoming.lines.fill(|space| socket.try_read(space)) {
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
    async fn report(&self, incoming: &mut FrameReader) {
        let FrameBatch { frames, violation } = incoming.take();
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

/// Frames that have arrived, and the first line among them that is none.
#[derive(Debug, Default)]
struct FrameBatch {
    frames: Vec<ReadFrame>,
    violation: Option<WireError>,
}

/// Cuts the stream of a worker into frames.
struct FrameReader {
    lines: LineBuffer,
    /// Whether the rest of a line that is too long is still to come.
    is_in_long_line: bool,
}

impl FrameReader {
    fn new() -> Self {
        Self { lines: LineBuffer::new(MAX_LINE, READ_CHUNK), is_in_long_line: false }
    }

    /// The frames of the complete lines.
    fn take(&mut self) -> FrameBatch {
        let mut batch = FrameBatch::default();
        while let Some(line) = self.lines.next_line() {
            let is_rest = std::mem::replace(&mut self.is_in_long_line, matches!(line, Line::Truncated(_)));
            match line {
                _ if is_rest => {}
                Line::Truncated(start) => batch.add(wire::decode_cut_line(start)),
                Line::Whole(b"") => {}
                Line::Whole(line) => wire::decode_from_worker(line).for_each(|read| batch.add(read)),
            }
        }
        batch
    }
}

impl FrameBatch {
    fn add(&mut self, read: Result<ReadFrame, WireError>) {
        match read {
            Ok(frame) => self.frames.push(frame),
            Err(error) => drop(self.violation.get_or_insert(error)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Outcome;
    use crate::wire::FromWorker;

    #[test]
    fn long_line_ends_its_run_and_the_next_line_is_read() {
        let mut reader = FrameReader::new();
        let long = format!("{{\"type\":\"failed\",\"run\":1,\"error\":\"{}\"}}\n", "x".repeat(3 * MAX_LINE));
        let stream = [long.as_bytes(), b"{\"type\":\"done\",\"run\":2}\n"].concat();
        let (mut runs, mut violations) = (Vec::new(), 0);
        for part in stream.chunks(READ_CHUNK) {
            let filled = reader.lines.fill(|space| {
                space[..part.len()].copy_from_slice(part);
                Ok(part.len())
            });
            filled.unwrap();
            let FrameBatch { frames, violation } = reader.take();
            violations += usize::from(violation.is_some());
            runs.extend(frames.into_iter().map(|read| match read {
                ReadFrame::Damaged(FromWorker::Ended { run, outcome: Outcome::Failed { .. } }, _) => run,
                ReadFrame::Whole(FromWorker::Ended { run, outcome: Outcome::Done }) => run,
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!((runs, violations), (vec![1, 2], 0));
    }
}
