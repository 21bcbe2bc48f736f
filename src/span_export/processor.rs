//! The queue between the threads that end spans and the thread that sends them.
//!
//! Actors: any thread adds a span and never waits; the sending thread takes batches; a stop waits for it, for a second at
//! most. The queue holds [`MAX_QUEUED`] spans; more are dropped. Dropped spans are counted, and reported once a minute.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aint_queue_core::mutex::lock;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tracing::warn;

/// Most spans that wait.
pub(super) const MAX_QUEUED: usize = 2_048;
/// Most spans of one request.
const MAX_BATCH: usize = 512;
/// Longest wait of a span for others, which share its request.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// Time for one request.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time of a stop for what is queued.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests for one batch before it is given up.
const MAX_TRIES: u32 = 5;
/// Wait before the second request for a batch; it doubles.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(1);
/// Time between two reports of dropped spans.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Adds the spans that have ended to the queue.
#[derive(Debug)]
pub(super) struct QueueProcessor(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The sending thread has something to do.
    work: Condvar,
    /// The sending thread has sent what was queued, or has ended.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<SpanData>,
    /// Spans dropped since the last report.
    dropped: u64,
    /// Spans of the batch that is being sent.
    in_flight: usize,
    /// Whether a flush waits until all is sent.
    is_flushing: bool,
    /// Set by a stop: when the sending thread ends at the latest.
    stop_at: Option<Instant>,
    has_ended: bool,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.has_ended || (self.spans.is_empty() && self.in_flight == 0)
    }
}

impl QueueProcessor {
    /// Starts the sending thread.
    pub(super) fn start(exporter: impl SpanExporter + 'static, endpoint: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = Sender {
            shared: Arc::clone(&shared),
            runtime: Some(runtime),
            exporter,
            endpoint: endpoint.to_owned(),
            reported_at: None,
            last_error: String::new(),
        };
        thread::Builder::new().name("spans".to_owned()).spawn(move || sender.run())?;
        Ok(Self(shared))
    }

    /// Waits until the sending thread is idle.
    fn wait(&self, mut queue: MutexGuard<'_, Queue>, until: Instant) -> OTelSdkResult {
        self.0.work.notify_one();
        while !queue.is_idle() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(OTelSdkError::Timeout(STOP_TIMEOUT));
            }
            queue = self.0.idle.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl SpanProcessor for QueueProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let mut queue = lock(&self.0.queue);
        if queue.spans.len() >= MAX_QUEUED || queue.has_ended {
            queue.dropped += 1;
            return;
        }
        queue.spans.push_back(span);
        // The thread wakes for the first span, and again for a full batch.
        let wakes = queue.spans.len() == 1 || queue.spans.len() == MAX_BATCH;
        drop(queue);
        if wakes {
            self.0.work.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        let mut queue = lock(&self.0.queue);
        queue.is_flushing = true;
        self.wait(queue, Instant::now() + STOP_TIMEOUT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let mut queue = lock(&self.0.queue);
        let until = Instant::now() + timeout.min(STOP_TIMEOUT);
        queue.stop_at.get_or_insert(until);
        let stopped = self.wait(queue, until);
        let mut queue = lock(&self.0.queue);
        let left = std::mem::take(&mut queue.spans).len() as u64 + queue.in_flight as u64;
        let lost = left + std::mem::take(&mut queue.dropped);
        drop(queue);
        if lost > 0 {
            warn!(
                spans = lost,
                "spans not sent before the stop: the collector is slow or does not answer; jobs are not affected"
            );
        }
        stopped
    }

    fn set_resource(&mut self, _: &Resource) {}
}

/// The sending thread.
struct Sender<E> {
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
    exporter: E,
    endpoint: String,
    reported_at: Option<Instant>,
    last_error: String,
}

impl<E: SpanExporter> Sender<E> {
    fn run(mut self) {
        while let Some(batch) = self.next_batch() {
            self.send(batch);
            self.report();
        }
        self.report();
        if let Some(runtime) = self.runtime.take() {
            // A name lookup that hangs delays no stop.
            runtime.shutdown_background();
        }
        lock(&self.shared.queue).has_ended = true;
        self.shared.idle.notify_all();
    }

    /// Waits for spans; `None` after a stop, when there are none.
    fn next_batch(&self) -> Option<Vec<SpanData>> {
        let mut queue = lock(&self.shared.queue);
        queue.in_flight = 0;
        let mut first_at = None;
        loop {
            if queue.spans.is_empty() {
                if queue.stop_at.is_some() {
                    return None;
                }
                queue.is_flushing = false;
                self.shared.idle.notify_all();
                queue = self.shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let until = *first_at.get_or_insert_with(|| Instant::now() + BATCH_WAIT);
            let left = until.saturating_duration_since(Instant::now());
            let is_urgent = queue.stop_at.is_some() || queue.is_flushing;
            if queue.spans.len() >= MAX_BATCH || is_urgent || left.is_zero() {
                let number = queue.spans.len().min(MAX_BATCH);
                queue.in_flight = number;
                return Some(queue.spans.drain(..number).collect());
            }
            queue = self.shared.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a batch, several times if necessary, and gives it up after that. A stop leaves time for one request.
    fn send(&mut self, batch: Vec<SpanData>) {
        let mut wait = FIRST_RETRY_WAIT;
        for attempt in 1..=MAX_TRIES {
            let is_last = attempt == MAX_TRIES || lock(&self.shared.queue).stop_at.is_some();
            let Some(error) = self.try_send(batch.clone()) else { return };
            let is_first = std::mem::replace(&mut self.last_error, error).is_empty();
            if is_first {
                warn!(endpoint = %self.endpoint, error = self.last_error, "spans not sent: trying again; check otel.endpoint and the collector");
            }
            if is_last {
                break;
            }
            self.report();
            self.pause(wait);
            wait *= 2;
        }
        let mut queue = lock(&self.shared.queue);
        queue.dropped += batch.len() as u64;
        queue.in_flight = 0;
    }

    /// Sends a single request; returns the error.
    fn try_send(&self, batch: Vec<SpanData>) -> Option<String> {
        let limit = match lock(&self.shared.queue).stop_at {
            Some(stop_at) => stop_at.saturating_duration_since(Instant::now()),
            None => EXPORT_TIMEOUT,
        };
        let runtime = self.runtime.as_ref()?;
        let sent = runtime.block_on(async { tokio::time::timeout(limit, self.exporter.export(batch)).await });
        match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no response within {:.1} s", limit.as_secs_f64())),
        }
    }

    /// Waits before the next request; a stop ends the wait.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut queue = lock(&self.shared.queue);
        while queue.stop_at.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.shared.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reports dropped spans, once a minute and at the end.
    fn report(&mut self) {
        let now = Instant::now();
        let mut queue = lock(&self.shared.queue);
        let is_due = self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT_INTERVAL);
        if queue.dropped == 0 || !(is_due || queue.stop_at.is_some()) {
            return;
        }
        let spans = std::mem::take(&mut queue.dropped);
        drop(queue);
        self.reported_at = Some(now);
        warn!(endpoint = %self.endpoint, spans, error = self.last_error, "spans dropped: the collector is slow or does not answer; jobs are not affected");
    }
}

impl<E> fmt::Debug for Sender<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
