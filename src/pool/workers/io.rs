//! The task that serves one worker's descriptors: socket both ways, stdout, stderr.
//!
//! The task only moves bytes and cuts them into frames and lines. After [`IoCommand::Drain`] it reads everything that
//! the worker left behind, and ends. End of file alone does not end it, because a grandchild may hold the other end of a pipe.
//!
//! A request waits for memory before it is passed on, and with it all frames behind it: the socket of the worker holds them back.
//! So does a long line from its first part on.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::frame_reader::{FrameReader, READ_CHUNK};
use super::outgoing::Outgoing;
use super::output::{MAX_FINAL_READ, Output};
use super::worker::MAX_UNREAD_BYTES;
use crate::guardian::handle::ChildId;
use crate::pool::messages::{IoCommand, IoEvent, ReceivedFrame, RequestMemory};
use crate::producer_memory::{self, AnswerShare, Reservation, SMALL_BYTES, WorkerMemory};
use crate::wire::{FromWorker, MAX_LINE, ReadFrame};

/// Time without progress after which a worker that keeps memory from others has broken the protocol.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Memory of a long line: the line, and the jobs of its push as texts.
const LONG_LINE_BYTES: usize = 2 * MAX_LINE;

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
    pub(super) memory: IoMemory,
}

/// The memory for the frames of one worker.
pub(super) struct IoMemory {
    of_workers: WorkerMemory,
    /// Memory of the answers that this worker has not read; `None` after its end.
    answers: Option<AnswerShare>,
    /// A request that waits for memory. Until it has some, no further frame is read.
    held: Option<HeldRequest>,
    /// The memory of a long line; while the line arrives, and while its push is held.
    line: Option<Reservation>,
    /// The wait for it.
    waiting_line: Option<Pin<Box<dyn Future<Output = Reservation> + Send + Sync>>>,
}

/// A request that waits for memory.
struct HeldRequest {
    frame: ReadFrame,
    line_bytes: usize,
    memory: Pin<Box<dyn Future<Output = RequestMemory> + Send + Sync>>,
}

impl IoMemory {
    pub(super) fn new(of_workers: &WorkerMemory) -> Self {
        Self {
            answers: Some(AnswerShare::new(&of_workers.answers)),
            of_workers: of_workers.clone(),
            held: None,
            line: None,
            waiting_line: None,
        }
    }

    /// Gives the frame the memory that it needs, if it is free. Otherwise the frame is held.
    fn admit(&mut self, frame: ReadFrame, line_bytes: usize) -> Option<ReceivedFrame> {
        let Some(jobs) = requested_jobs(&frame) else { return Some(frame.into()) };
        let answer = self.answers.as_ref().map(|answers| answers.try_reserve(jobs));
        let pushed =
            (jobs > 0).then(|| self.of_workers.pushes.try_reserve(producer_memory::parsed(line_bytes)));
        if !matches!(answer, Some(None)) && !matches!(pushed, Some(None)) {
            let memory = RequestMemory { jobs: pushed.flatten(), answer: answer.flatten() };
            return Some(ReceivedFrame { frame, memory: Some(memory) });
        }
        drop((answer, pushed));
        self.hold(frame, line_bytes, jobs);
        None
    }

    fn hold(&mut self, frame: ReadFrame, line_bytes: usize, jobs: usize) {
        let (answers, pushes) = (self.answers.clone(), self.of_workers.pushes.clone());
        let memory = Box::pin(async move {
            let answer = match answers {
                Some(answers) => Some(answers.reserve(jobs).await),
                None => None,
            };
            let jobs = match jobs {
                0 => None,
                _ => Some(pushes.reserve(producer_memory::parsed(line_bytes)).await),
            };
            RequestMemory { jobs, answer }
        });
        self.held = Some(HeldRequest { frame, line_bytes, memory });
    }

    /// The worker has ended: it reads no answers, so none are waited for.
    fn worker_ended(&mut self) {
        self.answers = None;
        self.waiting_line = None;
        if let Some(HeldRequest { frame, line_bytes, .. }) = self.held.take() {
            let jobs = requested_jobs(&frame).unwrap_or_default();
            self.hold(frame, line_bytes, jobs);
        }
    }

    /// Whether nothing may be read now.
    fn is_full(&self) -> bool {
        self.held.is_some() || self.waiting_line.is_some()
    }

    /// Adjusts the memory of a long line to the length of an unfinished one.
    fn follow_line(&mut self, unfinished: usize) {
        if self.held.is_some() {
            return;
        }
        if unfinished <= SMALL_BYTES {
            self.line = None;
        } else if self.line.is_none() {
            let budget = self.of_workers.long_lines.clone();
            self.line = budget.try_reserve(LONG_LINE_BYTES);
            self.waiting_line = match self.line {
                Some(_) => None,
                None => Some(Box::pin(async move { budget.reserve(LONG_LINE_BYTES).await })),
            };
        }
    }
}

/// The number of jobs of a request; `None` for a frame that is none.
fn requested_jobs(frame: &ReadFrame) -> Option<usize> {
    match frame {
        ReadFrame::Whole(FromWorker::Push { jobs, .. })
        | ReadFrame::Damaged(FromWorker::Push { jobs, .. }, _) => Some(jobs.len()),
        ReadFrame::Whole(FromWorker::Claim { .. })
        | ReadFrame::Damaged(FromWorker::Claim { .. }, _)
        | ReadFrame::Refused { .. } => Some(0),
        _ => None,
    }
}

impl WorkerIo {
    pub(super) async fn serve(mut self) {
        let mut incoming = FrameReader::new();
        let mut outgoing = Outgoing::default();
        let mut last_progress = Instant::now();
        let mut is_stalled = false;
        loop {
            let is_full = self.memory.is_full();
            let keeps_memory = is_full && !outgoing.is_empty() || !is_full && self.memory.line.is_some();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(IoCommand::Send(frames)) => {
                        if outgoing.is_empty() {
                            last_progress = Instant::now();
                        }
                        outgoing.push(frames);
                    }
                    Some(IoCommand::Drain) => break,
                    // The pool has ended, and the worker with it.
                    None => return,
                },
                memory = request_memory(&mut self.memory.held) => {
                    self.report_held(memory).await;
                    self.report(&mut incoming).await;
                }
                memory = line_memory(&mut self.memory.waiting_line) => {
                    self.memory.waiting_line = None;
                    self.memory.line = Some(memory);
                    last_progress = Instant::now();
                }
                ready = ready(self.socket.as_ref(), !is_full, !outgoing.is_empty()) => {
                    let is_lost = ready.is_err();
                    let read = match is_full {
                        false => self.read_frames(&mut incoming).await,
                        true => ReadResult::Nothing,
                    };
                    if read == ReadResult::Some {
                        last_progress = Instant::now();
                    }
                    if is_lost || read == ReadResult::End {
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
                () = sleep_until(last_progress + STALL_TIMEOUT), if keeps_memory && !is_stalled => {
                    last_progress = Instant::now();
                    let why = match is_full {
                        true => "it sends requests and does not read the answers",
                        false => "it stops in the middle of a long frame",
                    };
                    // A slow line does no harm while there is memory for others.
                    if is_full || self.memory.of_workers.long_lines.is_short() {
                        is_stalled = true;
                        self.report_event(IoEvent::Stalled(self.child, why)).await;
                    }
                }
            }
            let written = match &self.socket {
                Some(socket) => outgoing.write(socket),
                None => outgoing.clear(),
            };
            if written > 0 {
                last_progress = Instant::now();
            }
            let before = self.unread.fetch_sub(written, Ordering::Relaxed);
            if before >= MAX_UNREAD_BYTES && before - written < MAX_UNREAD_BYTES {
                self.report_event(IoEvent::Room).await;
            }
        }
        outgoing.clear();
        self.memory.worker_ended();
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

    /// Passes on the requests that wait for memory, and the frames behind them. After the end of the worker.
    async fn report_all_held(&mut self, incoming: &mut FrameReader) {
        self.memory.waiting_line = None;
        while self.memory.held.is_some() {
            let memory = request_memory(&mut self.memory.held).await;
            self.report_held(memory).await;
            self.report(incoming).await;
        }
    }

    /// Passes on the request that has waited for this memory.
    async fn report_held(&mut self, memory: RequestMemory) {
        if let Some(HeldRequest { frame, .. }) = self.memory.held.take() {
            let received = ReceivedFrame { frame, memory: Some(memory) };
            self.report_event(IoEvent::Frames(self.child, vec![received])).await;
        }
    }

    /// Passes on the frames that have arrived, up to a request that has to wait for memory.
    async fn report(&mut self, incoming: &mut FrameReader) {
        let mut frames = Vec::new();
        let mut violation = None;
        while self.memory.held.is_none()
            && let Some((line_bytes, read)) = incoming.next_frame()
        {
            match read {
                Ok(frame) => frames.extend(self.memory.admit(frame, line_bytes)),
                Err(error) => drop(violation.get_or_insert(error)),
            }
        }
        self.memory.follow_line(incoming.lines.unfinished());
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

/// Waits for the memory of a held request; pending without one.
async fn request_memory(held: &mut Option<HeldRequest>) -> RequestMemory {
    match held {
        Some(held) => held.memory.as_mut().await,
        None => pending().await,
    }
}

/// Waits for the memory of a long line; pending without a wait.
async fn line_memory(
    waiting: &mut Option<Pin<Box<dyn Future<Output = Reservation> + Send + Sync>>>,
) -> Reservation {
    match waiting {
        Some(memory) => memory.as_mut().await,
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
