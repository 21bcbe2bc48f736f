//! The queue of frames from the runs of this worker to its master: progress, log lines and requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::current_run;
use crate::job::{JobRequest, Response, RunHost, truncated};
use crate::job_json;
use crate::wire::{FromWorker, MAX_LINE, RequestId, RunId};

/// Most queued frames at which progress and log lines are still accepted; more are dropped, so that a handler that reports
/// faster than the master reads cannot exhaust the memory of this process.
const MAX_QUEUED_FRAMES: usize = 1_000;
/// Longest log line of a handler in bytes.
const MAX_LOG_BYTES: usize = 16 << 10;

/// A frame of a run.
pub(super) struct OutgoingFrame {
    pub(super) frame: FromWorker,
    /// For a request: its run, its number, and the receiver of the response.
    pub(super) pending: Option<(RunId, RequestId, oneshot::Sender<Response>)>,
}

/// Sending end of the queue; each run has a clone.
#[derive(Clone)]
pub(super) struct FrameSender {
    frames: mpsc::UnboundedSender<OutgoingFrame>,
    queued: Arc<AtomicUsize>,
    last_request: Arc<AtomicU64>,
}

/// Receiving end of the queue.
pub(super) struct FrameReceiver {
    frames: mpsc::UnboundedReceiver<OutgoingFrame>,
    queued: Arc<AtomicUsize>,
}

pub(super) fn frame_channel() -> (FrameSender, FrameReceiver) {
    // The channel is unbounded, its content is not: requests are bounded by the number of runs, other frames are dropped
    // above a limit.
    let (queue, frames) = mpsc::unbounded_channel();
    let queued = Arc::<AtomicUsize>::default();
    let sender = FrameSender { frames: queue, queued: Arc::clone(&queued), last_request: Arc::default() };
    (sender, FrameReceiver { frames, queued })
}

impl FrameReceiver {
    /// Waits for the next frame. The channel cannot close while the worker runs, because the worker holds a sender.
    pub(super) async fn next(&mut self) -> Option<OutgoingFrame> {
        let frame = self.frames.recv().await;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        frame
    }

    /// The next frame if one is queued.
    pub(super) fn try_next(&mut self) -> Option<OutgoingFrame> {
        let frame = self.frames.try_recv().ok()?;
        self.queued.fetch_sub(1, Ordering::Relaxed);
        Some(frame)
    }
}

impl FrameSender {
    /// The link of one run.
    pub(super) fn of(&self, run: RunId) -> Box<dyn RunHost> {
        Box::new(RunLink { run, sender: self.clone() })
    }

    /// Sends a log line, of a run or of the worker as a whole.
    pub(super) fn log(&self, run: Option<RunId>, level: &str, message: String) {
        let message = truncated(&message, MAX_LOG_BYTES).to_owned();
        self.send_lossy(FromWorker::Log { run, level: level.to_owned(), message });
    }

    fn send(&self, frame: FromWorker, pending: Option<(RunId, RequestId, oneshot::Sender<Response>)>) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        // A closed channel means that this process is about to exit.
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
        current_run::within(self.run, code);
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
                    let why = format!(
                        "the jobs have {bytes} bytes as JSON, more than fits in one push from a job; push fewer at once"
                    );
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
