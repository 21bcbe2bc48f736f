//! The way of a run to its master: what it says and asks while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::events;
use crate::job::{JobRequest, Response, RunHost, truncated};
use crate::job_json;
use crate::wire::{FromWorker, MAX_LINE, RequestId, RunId};

/// So many frames may wait to be written before progress and log lines are dropped: a handler that says more than its
/// master reads must not fill this process.
const MAX_QUEUED_FRAMES: usize = 1_000;
/// Longest line a handler may put into the log.
const MAX_LOG_BYTES: usize = 16 << 10;

/// Something a run says.
pub(super) struct OutgoingFrame {
    pub(super) frame: FromWorker,
    /// Which run asks what, and who waits for the answer.
    pub(super) pending: Option<(RunId, RequestId, oneshot::Sender<Response>)>,
}

/// One end of the way, to be given to every run.
#[derive(Clone)]
pub(super) struct FrameSender {
    frames: mpsc::UnboundedSender<OutgoingFrame>,
    queued: Arc<AtomicUsize>,
    last_request: Arc<AtomicU64>,
}

/// The other end.
pub(super) struct FrameReceiver {
    frames: mpsc::UnboundedReceiver<OutgoingFrame>,
    queued: Arc<AtomicUsize>,
}

pub(super) fn frame_channel() -> (FrameSender, FrameReceiver) {
    // Bounded by hand: what asks is bounded by the number of runs, what only tells is dropped above a limit.
    let (queue, frames) = mpsc::unbounded_channel();
    let queued = Arc::<AtomicUsize>::default();
    let sender = FrameSender { frames: queue, queued: Arc::clone(&queued), last_request: Arc::default() };
    (sender, FrameReceiver { frames, queued })
}

impl FrameReceiver {
    /// What was said next. Never ends while this worker serves, as the worker itself holds an end.
    pub(super) async fn next(&mut self) -> Option<OutgoingFrame> {
        let frames = self.frames.recv().await;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        frames
    }

    /// What was said already.
    pub(super) fn try_next(&mut self) -> Option<OutgoingFrame> {
        let frames = self.frames.try_recv().ok()?;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        Some(frames)
    }
}

impl FrameSender {
    /// The link of one run.
    pub(super) fn of(&self, run: RunId) -> Box<dyn RunHost> {
        Box::new(RunLink { run, sender: self.clone() })
    }

    /// A line for the log, of a run or of nobody in particular.
    pub(super) fn log(&self, run: Option<RunId>, level: &str, message: String) {
        let message = truncated(&message, MAX_LOG_BYTES).to_owned();
        self.send_lossy(FromWorker::Log { run, level: level.to_owned(), message });
    }

    fn send(&self, frame: FromWorker, pending: Option<(RunId, RequestId, oneshot::Sender<Response>)>) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        // When nobody listens any more this process is about to end.
        let _ = self.frames.send(OutgoingFrame { frame, pending });
    }

    fn send_lossy(&self, frame: FromWorker) {
        if self.queued.load(Ordering::Relaxed) < MAX_QUEUED_FRAMES {
            self.send(frame, None);
        }
    }
}

struct RunLink {
    run: RunId,
    sender: FrameSender,
}

impl RunHost for RunLink {
    fn progress(&self, percent: f64) {
        self.sender.send_lossy(FromWorker::Progress { run: self.run, percent });
    }

    fn log(&self, level: &str, message: String) {
        self.sender.log(Some(self.run), level, message);
    }

    fn enter(&self, code: &mut dyn FnMut()) {
        events::within(self.run, code);
    }

    fn request(&self, request: JobRequest) -> oneshot::Receiver<Response> {
        let (sender, answer) = oneshot::channel();
        let (run, ask) = (self.run, self.sender.last_request.fetch_add(1, Ordering::Relaxed) + 1);
        let frame = match request {
            JobRequest::Claim(claim) => FromWorker::Claim { run, ask, claim },
            JobRequest::Push { channel, jobs } => {
                let jobs: Vec<_> = jobs.iter().map(job_json::write).collect();
                let bytes: usize = jobs.iter().map(|job| job.len() + 1).sum();
                if bytes > MAX_LINE - 1024 {
                    let why =
                        format!("the jobs have {bytes} bytes as JSON, more than one push of a job can carry");
                    let _ = sender.send(Response::Error(why));
                    return answer;
                }
                FromWorker::Push { run, ask, channel, jobs }
            }
        };
        self.sender.send(frame, Some((run, ask, sender)));
        answer
    }
}
