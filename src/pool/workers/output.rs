//! The output of workers: lines for the log, and the end of stderr as an error text.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::unix::pipe;
use tracing::{debug, error, info, warn};

use crate::job::truncated;
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

/// Process and job of a printed line, for the log.
#[derive(Debug, Default)]
pub(crate) struct LogTag {
    pub(super) pid: AtomicU64,
    pub(super) job: AtomicU64,
}

/// An output stream of a worker.
pub(super) struct Output {
    pipe: Option<pipe::Receiver>,
    lines: LineBuffer,
    name: &'static str,
    channel: Arc<str>,
    tag: Arc<LogTag>,
    tail: VecDeque<String>,
}

impl Output {
    pub(super) fn new(
        pipe: pipe::Receiver,
        name: &'static str,
        channel: &Arc<str>,
        tag: &Arc<LogTag>,
    ) -> Self {
        Self {
            pipe: Some(pipe),
            lines: LineBuffer::new(MAX_LOG_LINE, READ_CHUNK),
            name,
            channel: Arc::clone(channel),
            tag: Arc::clone(tag),
            tail: VecDeque::new(),
        }
    }

    /// Waits until there is something to read; for ever once the stream has ended.
    pub(super) async fn readable(&self) {
        match &self.pipe {
            // The read that follows meets the same error.
            Some(pipe) => drop(pipe.readable().await),
            None => pending().await,
        }
    }

    /// Reads the output printed before a frame, so that it is logged while its job is still known. Bounded, like every
    /// read.
    pub(super) fn catch_up(&mut self) {
        // Reads the pipe directly: the runtime may not have noticed yet that it is readable.
        let direct = |pipe: &pipe::Receiver, space: &mut [u8]| Ok(nix::unistd::read(pipe, space)?);
        for _ in 0..4 {
            if !self.read_by(direct) {
                break;
            }
        }
    }

    /// Reads the rest, and logs an unfinished last line too.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_FINAL_READ / READ_CHUNK {
            if !self.read_once() {
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
            let line = plain(&String::from_utf8_lossy(line));
            self.log(&line);
        }
        self.pipe.is_some()
    }

    fn log(&mut self, line: &str) {
        let some = |n: u64| (n > 0).then_some(n);
        let pid = some(self.tag.pid.load(Ordering::Relaxed));
        let job = some(self.tag.job.load(Ordering::Relaxed));
        info!(target: "worker", channel = %self.channel, pid, job, stream = %self.name, "{line}");
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(truncated(line, TAIL_BYTES).to_owned());
    }
}

/// A line without control characters: output of a worker must not overwrite other lines on a terminal, nor turn the log
/// into something else than text.
fn plain(line: &str) -> String {
    let is_harmful = |c: char| c.is_control() && c != '\t';
    if !line.contains(is_harmful) {
        return line.to_owned();
    }
    line.chars().map(|c| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Logs a line of a `log` frame, cut like a printed one.
pub(crate) fn log_frame(channel: &str, pid: Option<i32>, job: Option<u64>, level: &str, message: &str) {
    let message = plain(truncated(message, MAX_LOG_LINE));
    match level {
        "error" => error!(target: "worker", %channel, pid, job, "{message}"),
        "warn" => warn!(target: "worker", %channel, pid, job, "{message}"),
        "debug" | "trace" => debug!(target: "worker", %channel, pid, job, "{message}"),
        _ => info!(target: "worker", %channel, pid, job, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_control_characters_are_escaped() {
        assert_eq!(plain("a\tb é"), "a\tb é");
        assert_eq!(plain("x\rERROR forged\0\u{1b}[31m"), "x\\rERROR forged\\u{0}\\u{1b}[31m");
    }
}
