//! The task that serves one worker's descriptors: socket both ways, stdout, stderr.
//!
//! The task only moves bytes and cuts them into frames and lines. After [`IoCommand::Drain`] it reads everything that
//! the worker left behind, and ends. End of file alone does not end it, because a grandchild may hold the other end of a pipe.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::output::{MAX_FINAL_READ, Output};
use super::worker::MAX_UNREAD_BYTES;
use crate::guardian::handle::ChildId;
use crate::pool::messages::{IoCommand, IoEvent};
use crate::producer_memory::{self, MemoryBudget, Reservation};
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
    pub(super) push_memory: MemoryBudget,
    /// A push that waits for memory. Until it has some, no further frame is read: the socket of the worker holds them back.
    pub(super) held: Option<HeldPush>,
}

/// A push frame that waits for memory.
pub(super) struct HeldPush {
    frame: ReadFrame,
    memory: Pin<Box<dyn Future<Output = Reservation> + Send + Sync>>,
}

impl WorkerIo {
    pub(super) async fn serve(mut self) {
        let mut incoming = FrameReader::new();
        let mut outgoing: Vec<u8> = Vec::new();
        loop {
            let is_held = self.held.is_some();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(IoCommand::Send(frames)) if outgoing.is_empty() => outgoing = frames,
                    Some(IoCommand::Send(frames)) => outgoing.extend_from_slice(&frames),
                    Some(IoCommand::Drain) => break,
                    // The pool has ended, and the worker with it.
                    None => return,
                },
                memory = room(&mut self.held) => {
                    self.report_held(memory).await;
                    self.report(&mut incoming).await;
                }
                ready = ready(self.socket.as_ref(), !is_held, !outgoing.is_empty()) => {
                    let is_lost = ready.is_err();
                    if is_lost || self.held.is_none() && self.read_frames(&mut incoming).await == ReadResult::End {
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
            self.report_all_held(&mut incoming).await;
            if self.read_frames(&mut incoming).await != ReadResult::Some {
                break;
            }
        }
        // The worker writes no more, even if another process has the socket.
        incoming.is_at_end = true;
        self.report_all_held(&mut incoming).await;
        self.report(&mut incoming).await;
        self.report_all_held(&mut incoming).await;
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
    async fn read_frames(&mut self, incoming: &mut FrameReader) -> ReadResult {
        let Some(socket) = &self.socket else { return ReadResult::End };
        let read = match incoming.lines.fill(|space| socket.try_read(space)) {
            Ok(0) => ReadResult::End,
            Ok(_) => ReadResult::Some,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ReadResult::Nothing,
            Err(_) => ReadResult::End,
        };
        incoming.is_at_end = read == ReadResult::End;
        if read == ReadResult::Some {
            // Output printed before these frames has arrived by now, and its job is known until the frames are reported.
            self.stdout.catch_up();
            self.stderr.catch_up();
        }
        self.report(incoming).await;
        read
    }

    /// Passes on the pushes that wait for memory, and the frames behind them.
    async fn report_all_held(&mut self, incoming: &mut FrameReader) {
        while self.held.is_some() {
            let memory = room(&mut self.held).await;
            self.report_held(memory).await;
            self.report(incoming).await;
        }
    }

    /// Passes on the push that has waited for this memory.
    async fn report_held(&mut self, memory: Reservation) {
        if let Some(held) = self.held.take() {
            self.report_event(IoEvent::Push(self.child, held.frame, memory)).await;
        }
    }

    /// Passes on the frames that have arrived, up to a push that has to wait for memory.
    async fn report(&mut self, incoming: &mut FrameReader) {
        let mut frames = Vec::new();
        let mut violation = None;
        while self.held.is_none()
            && let Some((line_bytes, read)) = incoming.next_frame()
        {
            match read {
                Ok(frame) if frame.is_push() => {
                    if !frames.is_empty() {
                        self.report_event(IoEvent::Frames(self.child, std::mem::take(&mut frames))).await;
                    }
                    let (budget, needed) = (self.push_memory.clone(), producer_memory::parsed(line_bytes));
                    match budget.try_reserve(needed) {
                        Some(memory) => self.report_event(IoEvent::Push(self.child, frame, memory)).await,
                        None => {
                            let memory = Box::pin(async move { budget.reserve(needed).await });
                            self.held = Some(HeldPush { frame, memory });
                        }
                    }
                }
                Ok(frame) => frames.push(frame),
                Err(error) => drop(violation.get_or_insert(error)),
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

/// Cuts the stream of a worker into frames.
struct FrameReader {
    lines: LineBuffer,
    /// Whether the rest of a line that is too long is still to come.
    is_in_long_line: bool,
    /// That line, while its frame is not known.
    long_line: Option<wire::LongLine>,
    /// Whether nothing follows what was read, so that the last line needs no line break.
    is_at_end: bool,
    /// Frames behind the first one of the last line, whose line break was missing, and the length of that line.
    rest_of_line: VecDeque<Result<ReadFrame, WireError>>,
    line_bytes: usize,
}

impl FrameReader {
    fn new() -> Self {
        let lines = LineBuffer::new(MAX_LINE, READ_CHUNK);
        Self {
            lines,
            is_in_long_line: false,
            long_line: None,
            is_at_end: false,
            rest_of_line: VecDeque::new(),
            line_bytes: 0,
        }
    }

    /// The next frame of the complete lines, with the length of its line in bytes; an error for a line that is none.
    fn next_frame(&mut self) -> Option<(usize, Result<ReadFrame, WireError>)> {
        loop {
            if let Some(read) = self.rest_of_line.pop_front() {
                return Some((self.line_bytes, read));
            }
            let Some(line) = self.lines.next_line() else {
                if !self.is_at_end {
                    return None;
                }
                self.read_last_line();
                return self.rest_of_line.pop_front().map(|read| (self.line_bytes, read));
            };
            let is_rest = std::mem::replace(&mut self.is_in_long_line, matches!(line, Line::Truncated(_)));
            match line {
                Line::Whole(part) | Line::Truncated(part) if is_rest => {
                    let Some(long) = &mut self.long_line else { continue };
                    long.add(part);
                    if !self.is_in_long_line || long.is_endless() {
                        let frame = long.frame();
                        self.long_line = None;
                        return Some((part.len(), frame));
                    }
                }
                Line::Truncated(start) => match wire::decode_cut_line(start) {
                    Err(error) if wire::may_continue(&error, start) => {
                        self.long_line = Some(wire::LongLine::new(start));
                    }
                    read => return Some((start.len(), read)),
                },
                Line::Whole(b"") => {}
                Line::Whole(line) => {
                    let mut frames = wire::decode_from_worker(line);
                    let first = frames.next();
                    self.rest_of_line.extend(frames);
                    self.line_bytes = line.len();
                    if let Some(first) = first {
                        return Some((line.len(), first));
                    }
                }
            }
        }
    }

    /// Reads the line that the end of the stream has cut. A worker that was killed in the middle of a frame broke no rule, so a line
    /// that cannot be read is no violation.
    fn read_last_line(&mut self) {
        let line = self.lines.rest();
        self.line_bytes = line.len();
        if let Some(mut long) = self.long_line.take() {
            long.add(line);
            self.rest_of_line.extend(long.frame().ok().map(Ok));
        } else if !self.is_in_long_line {
            self.rest_of_line.extend(wire::decode_from_worker(line).filter(Result::is_ok));
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

/// Waits for the memory of a held push; pending without one.
async fn room(held: &mut Option<HeldPush>) -> Reservation {
    match held {
        Some(held) => held.memory.as_mut().await,
        None => pending().await,
    }
}

async fn ready(socket: Option<&UnixStream>, reading: bool, writing: bool) -> io::Result<()> {
    let Some(socket) = socket else { return pending().await };
    let interest = match (reading, writing) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return pending().await,
    };
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
        let text = "x".repeat(3 * MAX_LINE);
        let early = format!("{{\"type\":\"failed\",\"run\":1,\"error\":\"{text}\"}}\n");
        let late = format!("{{\"error\":\"{text}\",\"run\":3,\"type\":\"failed\"}}\n");
        let stream = [early.as_bytes(), b"{\"type\":\"done\",\"run\":2}\n", late.as_bytes()].concat();
        let (mut runs, mut violations) = (Vec::new(), 0);
        for part in stream.chunks(READ_CHUNK) {
            let filled = reader.lines.fill(|space| {
                space[..part.len()].copy_from_slice(part);
                Ok(part.len())
            });
            filled.unwrap();
            while let Some((_, read)) = reader.next_frame() {
                match read {
                    Ok(ReadFrame::Damaged(FromWorker::Ended { run, outcome: Outcome::Failed { .. } }, _))
                    | Ok(ReadFrame::Whole(FromWorker::Ended { run, outcome: Outcome::Done })) => {
                        runs.push(run)
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => violations += 1,
                }
            }
        }
        assert_eq!((runs, violations), (vec![1, 2, 3], 0));
    }

    fn last_frames(stream: &str) -> Vec<ReadFrame> {
        let mut reader = FrameReader::new();
        let filled = reader.lines.fill(|space| {
            space[..stream.len()].copy_from_slice(stream.as_bytes());
            Ok(stream.len())
        });
        filled.unwrap();
        assert!(reader.next_frame().is_none(), "{stream}: the rest of the line may follow");
        reader.is_at_end = true;
        std::iter::from_fn(|| reader.next_frame()).map(|(_, read)| read.unwrap()).collect()
    }

    #[test]
    fn last_line_needs_no_line_break() {
        let done = |run| ReadFrame::Whole(FromWorker::Ended { run, outcome: Outcome::Done });
        assert_eq!(last_frames(r#"{"type":"done","run":7}"#), [done(7)]);
        assert!(matches!(
            &last_frames(r#"{"type":"done","run":7}{"type":"done","run":8}"#)[..],
            [ReadFrame::Damaged(..), last] if *last == done(8)
        ));
        let cut = last_frames(r#"{"type":"failed","run":7,"error":"mailbox fu"#);
        let [ReadFrame::Damaged(FromWorker::Ended { run: 7, outcome }, _)] = &cut[..] else {
            panic!("{cut:?}")
        };
        assert!(matches!(outcome, Outcome::Failed { error, .. } if error == "mailbox fu"));
        // The run may be 71, and nothing says what these lines would have been.
        for unreadable in [r#"{"type":"done","run":7"#, r#"{"type":"#, "hello", "", " "] {
            assert_eq!(last_frames(unreadable), [], "{unreadable}");
        }
    }
}
