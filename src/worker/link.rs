//! The way of a run to its master: what it says and asks while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::events;
use crate::form;
use crate::job::{Answer, Ask, Link, bounded};
use crate::wire::{AskId, FromWorker, MAX_LINE, RunId};

/// So many frames may wait to be written before progress and log lines are dropped: a handler that says more than its
/// master reads must not fill this process.
const MAX_WAITING: usize = 1_000;
/// Longest line a handler may put into the log.
const MAX_LOG: usize = 16 << 10;

/// Something a run says.
pub(super) struct Said {
    pub(super) frame: FromWorker,
    /// Which run asks what, and who waits for the answer.
    pub(super) asked: Option<(RunId, AskId, oneshot::Sender<Answer>)>,
}

/// One end of the way, to be given to every run.
#[derive(Clone)]
pub(super) struct Lines {
    said: mpsc::UnboundedSender<Said>,
    waiting: Arc<AtomicUsize>,
    asks: Arc<AtomicU64>,
}

/// The other end.
pub(super) struct Heard {
    said: mpsc::UnboundedReceiver<Said>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn lines() -> (Lines, Heard) {
    // Bounded by hand: what asks is bounded by the number of runs, what only tells is dropped above a limit.
    let (sender, said) = mpsc::unbounded_channel();
    let waiting = Arc::<AtomicUsize>::default();
    let lines = Lines { said: sender, waiting: Arc::clone(&waiting), asks: Arc::default() };
    (lines, Heard { said, waiting })
}

impl Heard {
    /// What was said next. Never ends while this worker serves, as the worker itself holds an end.
    pub(super) async fn next(&mut self) -> Option<Said> {
        let said = self.said.recv().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        said
    }

    /// What was said already.
    pub(super) fn try_next(&mut self) -> Option<Said> {
        let said = self.said.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(said)
    }
}

impl Lines {
    /// The link of one run.
    pub(super) fn of(&self, run: RunId) -> Box<dyn Link> {
        Box::new(RunLink { run, lines: self.clone() })
    }

    /// A line for the log, of a run or of nobody in particular.
    pub(super) fn log(&self, run: Option<RunId>, level: &str, message: String) {
        let message = bounded(&message, MAX_LOG).to_owned();
        self.tell(FromWorker::Log { run, level: level.to_owned(), message });
    }

    fn say(&self, frame: FromWorker, asked: Option<(RunId, AskId, oneshot::Sender<Answer>)>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // When nobody listens any more this process is about to end.
        let _ = self.said.send(Said { frame, asked });
    }

    fn tell(&self, frame: FromWorker) {
        if self.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            self.say(frame, None);
        }
    }
}

struct RunLink {
    run: RunId,
    lines: Lines,
}

impl Link for RunLink {
    fn progress(&self, percent: f64) {
        self.lines.tell(FromWorker::Progress { run: self.run, percent });
    }

    fn log(&self, level: &str, message: String) {
        self.lines.log(Some(self.run), level, message);
    }

    fn enter(&self, code: &mut dyn FnMut()) {
        events::within(self.run, code);
    }

    fn ask(&self, asked: Ask) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let (run, ask) = (self.run, self.lines.asks.fetch_add(1, Ordering::Relaxed) + 1);
        let frame = match asked {
            Ask::Claim(claim) => FromWorker::Claim { run, ask, claim },
            Ask::Push { channel, jobs } => {
                let jobs: Vec<_> = jobs.iter().map(form::write).collect();
                let bytes: usize = jobs.iter().map(|job| job.len() + 1).sum();
                if bytes > MAX_LINE - 1024 {
                    let why =
                        format!("the jobs have {bytes} bytes as JSON, more than one push of a job can carry");
                    let _ = sender.send(Answer::Error(why));
                    return answer;
                }
                FromWorker::Push { run, ask, channel, jobs }
            }
        };
        self.lines.say(frame, Some((run, ask, sender)));
        answer
    }
}
