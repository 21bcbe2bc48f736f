//! The output of workers: lines for the log, and the end of stderr as an error text.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::field::{DisplayValue, display};
use tracing::{debug, error, info, warn};

use super::log_share::{LogShare, OutputDrops};
use crate::job::{OutputStream, TraceId, truncated};
use crate::logging::{WorkerOrigin, from_worker};
use crate::pool::run_output::RunTag;
use crate::sanitize::output_line;
use crate::wire::{Line, LineBuffer};

/// Longest logged line in bytes; longer ones continue as further lines.
const MAX_LOG_LINE: usize = 4096;
/// Bytes read at once, which bounds how long logging blocks other tasks.
const READ_CHUNK: usize = 8 << 10;
/// Most bytes read after the worker has ended: more than a socket or pipe can hold.
pub(super) const MAX_FINAL_READ: usize = 4 << 20;
/// Size of the kept end of a stream, in lines and in bytes.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 2048;

/// The log of one worker: process and run of its lines, and its share.
#[derive(Debug)]
pub(crate) struct WorkerLog {
    pid: watch::Sender<Option<u32>>,
    /// The only run of the worker.
    run: Mutex<Option<RunTag>>,
    channel: Arc<str>,
    origin: WorkerOrigin,
    share: Mutex<LogShare>,
    drops: Arc<OutputDrops>,
}

impl WorkerLog {
    /// The log of a worker that may print `rate` bytes per second.
    pub(crate) fn new(channel: &Arc<str>, rate: u64, drops: &Arc<OutputDrops>, now: Instant) -> Self {
        static WORKERS: AtomicU64 = AtomicU64::new(0);
        let worker = WORKERS.fetch_add(1, Ordering::Relaxed);
        Self {
            pid: watch::Sender::new(None),
            run: Mutex::default(),
            channel: Arc::clone(channel),
            origin: WorkerOrigin { worker, dropped: Arc::clone(&drops.slow_reader) },
            share: Mutex::new(LogShare::new(rate, now)),
            drops: Arc::clone(drops),
        }
    }

    pub(super) fn set_pid(&self, pid: i32) {
        self.pid.send_replace(Some(pid.unsigned_abs()));
    }

    /// Sets the run that printed lines belong to; `None` when the worker has several or none.
    pub(super) fn set_run(&self, run: Option<RunTag>) {
        *lock(&self.run) = run;
    }

    fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Waits until the process id is known: lines that are printed before must name it, too.
    async fn identified(&self) {
        if self.pid().is_none() {
            // The sender lives as long as the log.
            let _ = self.pid.subscribe().wait_for(Option::is_some).await;
        }
    }

    /// Logs a line within the share of the worker.
    fn write(&self, line: &str, log: impl FnOnce()) {
        let now = Instant::now();
        if lock(&self.share).admit(line.len(), now) {
            from_worker(&self.origin, log);
        } else if let Some(lines) = self.drops.over_rate(now) {
            warn!(
                channel = %self.channel, pid = self.pid(), lines,
                "worker prints too much: its further lines are not logged; print less, or raise worker.log_bytes_per_second"
            );
        }
    }

    /// Logs a line of a stream, and keeps it with the run if the worker has exactly one: a process has one standard output,
    /// whatever the number of its runs.
    fn stream_line(&self, stream: OutputStream, line: &str) {
        let run = lock(&self.run);
        let (job, trace_id) = fields(run.as_ref());
        if let Some(tag) = &*run {
            tag.output.push(stream, line);
        }
        drop(run);
        let (channel, pid) = (&self.channel, self.pid());
        let stream = if stream == OutputStream::Stderr { "stderr" } else { "stdout" };
        self.write(line, || info!(target: "worker", %channel, pid, job, trace_id, %stream, "{line}"));
    }

    /// Logs a line of a `log` frame, cut like a printed one, and keeps it with the run that the frame names, or with
    /// the only run of the worker.
    pub(crate) fn frame(&self, run: Option<&RunTag>, level: &str, message: &str) {
        let message = output_line(truncated(message, MAX_LOG_LINE));
        let only = lock(&self.run);
        let run = run.or(only.as_ref());
        if let Some(tag) = run {
            tag.output.push(OutputStream::Log, &message);
        }
        let (job, trace_id) = fields(run);
        drop(only);
        let (channel, pid) = (&self.channel, self.pid());
        self.write(&message, || match level {
            "error" => error!(target: "worker", %channel, pid, job, trace_id, "{message}"),
            "warn" => warn!(target: "worker", %channel, pid, job, trace_id, "{message}"),
            "debug" | "trace" => debug!(target: "worker", %channel, pid, job, trace_id, "{message}"),
            _ => info!(target: "worker", %channel, pid, job, trace_id, "{message}"),
        });
    }
}

/// The fields of a line of a run: its job and its trace.
fn fields(run: Option<&RunTag>) -> (Option<u64>, Option<DisplayValue<TraceId>>) {
    (run.map(|tag| tag.id.0), run.and_then(|tag| tag.trace_id).map(display))
}

/// Warnings of damaged frames of a worker; further ones follow at each doubling.
const MAX_DAMAGE_WARNINGS: u32 = 10;

impl WorkerLog {
    /// Warns of a damaged frame, the `number`th of this worker. Frames come as often as the worker likes, so that those
    /// beyond the limit are counted and reported once a minute.
    pub(crate) fn damage(&self, number: u32, why: &str, now: Instant) {
        let (channel, pid) = (&self.channel, self.pid());
        if number <= MAX_DAMAGE_WARNINGS || number.is_power_of_two() {
            warn!(%channel, pid, count = number, "damaged frame of a worker: {why}");
        } else if let Some(frames) = self.drops.damaged(now) {
            warn!(%channel, pid, frames, "damaged frames of workers without a line of their own; the last one: {why}");
        }
    }
}

/// The log of a worker without output.
impl Default for WorkerLog {
    fn default() -> Self {
        Self::new(&Arc::from(""), 0, &Arc::default(), Instant::now())
    }
}

/// An output stream of a worker.
pub(super) struct Output {
    pipe: Option<pipe::Receiver>,
    lines: LineBuffer,
    stream: OutputStream,
    log: Arc<WorkerLog>,
    tail: VecDeque<String>,
}

impl Output {
    pub(super) fn new(pipe: pipe::Receiver, stream: OutputStream, log: &Arc<WorkerLog>) -> Self {
        Self {
            pipe: Some(pipe),
            lines: LineBuffer::new(MAX_LOG_LINE, READ_CHUNK),
            stream,
            log: Arc::clone(log),
            tail: VecDeque::new(),
        }
    }

    /// Waits until there is something to read; for ever once the stream has ended.
    pub(super) async fn readable(&self) {
        match &self.pipe {
            Some(pipe) => {
                self.log.identified().await;
                // The read that follows meets the same error.
                drop(pipe.readable().await);
            }
            None => pending().await,
        }
    }

    /// Reads the output printed before a frame, so that it is logged while its job is still known. Bounded, like every
    /// read.
    pub(super) fn catch_up(&mut self) {
        if self.log.pid().is_none() {
            // No run begins before the process id is known.
            return;
        }
        for _ in 0..4 {
            if !self.read_by(read_directly) {
                break;
            }
        }
    }

    /// Reads the rest, and logs an unfinished last line too.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_FINAL_READ / READ_CHUNK {
            if !self.read_by(read_directly) {
                break;
            }
        }
        let rest = String::from_utf8_lossy(self.lines.rest()).into_owned();
        if !rest.is_empty() {
            self.log(&rest);
        }
    }

    /// The last lines, at most [`TAIL_BYTES`].
    pub(super) fn tail(&mut self) -> String {
        let all = self.tail.make_contiguous().join("\n");
        let from = all.ceil_char_boundary(all.len().saturating_sub(TAIL_BYTES));
        all[from..].to_owned()
    }

    /// Reads once and logs the lines that are complete; answers whether the stream is still open and had data.
    pub(super) fn read_once(&mut self) -> bool {
        self.read_by(pipe::Receiver::try_read)
    }

    fn read_by(&mut self, read: impl FnOnce(&pipe::Receiver, &mut [u8]) -> io::Result<usize>) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        match self.lines.fill(|space| read(pipe, space)) {
            Ok(0) => self.pipe = None,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => self.pipe = None,
        }
        while let Some(line) = self.lines.next_line() {
            let (Line::Whole(line) | Line::Truncated(line)) = line;
            let line = String::from_utf8_lossy(line).into_owned();
            self.log(&line);
        }
        self.pipe.is_some()
    }

    /// Logs a line and keeps it in the tail. A line of a worker must not overwrite others on a terminal, nor turn the log into
    /// something else than text.
    fn log(&mut self, line: &str) {
        let line = output_line(line);
        self.log.stream_line(self.stream, &line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(truncated(&line, TAIL_BYTES).to_owned());
    }
}

/// Reads a pipe without the runtime, which may not have noticed yet that the pipe is readable.
fn read_directly(pipe: &pipe::Receiver, space: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(pipe, space)?)
}
