//! The thread that writes the log, and the writer that hands lines to it without waiting.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use aint_queue_core::mutex::lock;
use tracing::{info, warn};
use tracing_subscriber::fmt::MakeWriter;

use super::line_queue::{DroppedLines, LineQueue};
use super::log_file::{LogFile, LogFileSettings};
use super::write_all::write_all;
use crate::sanitize;

/// Longest wait for a slow reader of the log before the process ends.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes written at once.
const BATCH_BYTES: usize = 64 << 10;

/// The worker whose line is being logged: its number, and the counter of its lines that found no room.
#[derive(Clone, Debug)]
pub struct WorkerOrigin {
    /// A number that no other worker of this process has.
    pub worker: u64,
    /// Lines that were dropped because the log was read too slowly.
    pub dropped: Arc<AtomicU64>,
}

thread_local! {
    /// The worker behind the events of this thread. The subscriber formats an event into a writer that knows neither the
    /// fields nor the caller, so the caller leaves the origin here for the time of the call.
    static ORIGIN: RefCell<Option<WorkerOrigin>> = const { RefCell::new(None) };
}

/// Logs lines of a worker: they take room from the share of that worker.
pub fn from_worker<T>(origin: &WorkerOrigin, log: impl FnOnce() -> T) -> T {
    ORIGIN.set(Some(origin.clone()));
    let logged = log();
    ORIGIN.take();
    logged
}

/// Hands lines to the writing thread. Clones write the same log.
#[derive(Clone, Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    /// The lines are JSON: their unsafe characters become `\u` escapes. Fields of text lines are sanitised one by one, because
    /// a text line may contain colours.
    is_json: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writing thread.
    has_work: Condvar,
    /// Signals that the writing thread has ended.
    has_ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: LineQueue,
    /// The lines being written.
    in_flight: DroppedLines,
    dropped: DroppedLines,
    closing: bool,
    ended: bool,
    /// The file is to be opened again.
    reopening: Option<Reopening>,
    /// Why the file could not be opened again the last time; the previous file takes the lines.
    reopen_error: Option<String>,
    /// Why the file could not be renamed at its size limit the last time.
    rename_error: Option<String>,
    /// The last error of the file that is not reported yet.
    file_error: Option<String>,
}

/// The reason to open the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reopening {
    /// A reload: only a failure is logged.
    Reload,
    /// A signal of a program that renames log files: success is logged, too.
    Signal,
}

/// The place of the written lines.
#[derive(Debug)]
enum Sink {
    Stderr(File),
    File(LogFile),
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr(stderr) => write_all(stderr, lines),
            Self::File(file) => file.write(lines),
        }
    }

    fn rename_error(&self) -> Option<String> {
        match self {
            Self::Stderr(_) => None,
            Self::File(file) => file.rename_error(),
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        match self {
            Self::Stderr(_) => Ok(()),
            Self::File(file) => file.reopen().map_err(|error| {
                format!(
                    "log file \"{}\" not opened again: writing to the previous file: {error}",
                    file.path().display()
                )
            }),
        }
    }
}

impl LogWriter {
    /// Starts a log in a file, or on standard error.
    ///
    /// # Errors
    /// When the file cannot be opened, the descriptor cannot be copied, or the thread cannot be started.
    pub fn start(is_json: bool, file: Option<LogFileSettings>) -> io::Result<Self> {
        let sink = match file {
            Some(settings) => Sink::File(LogFile::open(settings)?),
            // A copy of the descriptor: a thread that waits for the reader must not hold the lock of `io::stderr`.
            None => Sink::Stderr(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
        };
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_to(sink, is_json))?;
        Ok(Self { shared, is_json })
    }

    /// Number of lines dropped so far because the log was read too slowly.
    #[must_use]
    pub fn dropped(&self) -> DroppedLines {
        lock(&self.shared.state).dropped
    }

    /// Opens the file again before the next line, after another program has renamed or removed it. A failure is logged, and
    /// the previous file goes on to take the lines.
    pub fn reopen(&self, why: Reopening) {
        let reopening = &mut lock(&self.shared.state).reopening;
        *reopening = (*reopening).max(Some(why));
        self.shared.has_work.notify_one();
    }

    /// Why the file could not be opened again the last time, with its consequence; `None` when it could.
    #[must_use]
    pub fn reopen_error(&self) -> Option<String> {
        lock(&self.shared.state).reopen_error.clone()
    }

    /// Why the file could not be renamed at its size limit the last time, with the consequence; `None` when it could.
    #[must_use]
    pub fn rename_error(&self) -> Option<String> {
        lock(&self.shared.state).rename_error.clone()
    }

    /// Takes the last error of the file.
    pub(super) fn take_file_error(&self) -> Option<String> {
        lock(&self.shared.state).file_error.take()
    }

    /// Prints an error of the file to standard error.
    pub(super) fn print_file_error(&self, error: &str) {
        let message = format!("the log file takes no lines, and they are dropped: {error}");
        print_error(&message, self.is_json);
    }

    /// Queues a line of the master.
    pub fn write_line(&self, line: &[u8]) {
        self.shared.push(None, line);
    }

    /// Writes the queued lines and ends the log. Returns after at most `timeout`; lines that are left then count as dropped.
    pub fn close(&self, timeout: Duration) -> DroppedLines {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        state.closing = true;
        self.shared.has_work.notify_one();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let left = state.queue.take(usize::MAX).lines;
                let in_flight = state.in_flight;
                state.count(left);
                state.count(in_flight);
                break;
            }
            state = self.shared.has_ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.dropped
    }
}

impl State {
    fn count(&mut self, lines: DroppedLines) {
        self.dropped.master += lines.master;
        self.dropped.workers += lines.workers;
    }
}

impl Shared {
    fn push(&self, origin: Option<&WorkerOrigin>, line: &[u8]) {
        let mut state = lock(&self.state);
        if state.queue.push(origin.map(|origin| origin.worker), line) {
            self.has_work.notify_one();
        } else if let Some(origin) = origin {
            state.dropped.workers += 1;
            origin.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            state.dropped.master += 1;
        }
    }

    /// Writes until the log is closed and the queue is empty.
    fn write_to(&self, mut sink: Sink, is_json: bool) {
        loop {
            let mut state = lock(&self.state);
            while state.queue.is_empty() && !state.closing && state.reopening.is_none() {
                state = self.has_work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(why) = state.reopening.take() {
                drop(state);
                let error = sink.reopen().err();
                lock(&self.state).reopen_error.clone_from(&error);
                match error {
                    // The previous file may be removed, and the warning in it with it.
                    Some(error) => {
                        warn!("{error}");
                        print_error(&error, is_json);
                    }
                    None if why == Reopening::Signal => info!("log file opened again"),
                    None => {}
                }
                continue;
            }
            let batch = state.queue.take(BATCH_BYTES);
            if batch.bytes.is_empty() {
                state.ended = true;
                self.has_ended.notify_all();
                return;
            }
            state.in_flight = batch.lines;
            drop(state);
            let written = sink.write(&batch.bytes);
            let grows = sink.rename_error();
            let mut state = lock(&self.state);
            let is_news = grows.is_some() && state.rename_error.is_none();
            state.rename_error.clone_from(&grows);
            state.in_flight = DroppedLines::default();
            if let Err(error) = written {
                // The reader is gone, or the disk is full.
                state.count(batch.lines);
                state.file_error = matches!(sink, Sink::File(_)).then(|| error.to_string());
            }
            drop(state);
            if let Some(error) = grows.filter(|_| is_news) {
                warn!("{error}");
                print_error(&error, is_json);
            }
        }
    }
}

/// Prints an error of the log to standard error. A thread of its own does that, because the reader may be stuck.
fn print_error(message: &str, is_json: bool) {
    let text = if is_json {
        sanitize::json_text(&serde_json::json!({ "level": "ERROR", "message": message }).to_string())
            .into_owned()
    } else {
        format!("error: {}", sanitize::line(message))
    };
    thread::spawn(|| write_with_deadline(text + "\n"));
}

/// Writes a text to standard error on a thread of its own and waits at most [`FLUSH_TIMEOUT`] for it: for the last words of a
/// process whose log may have a stuck reader.
pub(crate) fn write_with_deadline(text: String) {
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return };
    let (done, is_done) = mpsc::channel();
    let write = move || {
        let _ = write_all(&mut File::from(stderr), text.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Collects one event and queues it when dropped.
#[derive(Debug)]
pub struct EventWriter<'a> {
    log: &'a LogWriter,
    line: Vec<u8>,
}

impl Write for EventWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for EventWriter<'_> {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let line = if self.log.is_json { sanitize::json_text(&line) } else { Cow::Borrowed(&*line) };
        ORIGIN.with_borrow(|origin| self.log.shared.push(origin.as_ref(), line.as_bytes()));
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        EventWriter { log: self, line: Vec::new() }
    }
}
