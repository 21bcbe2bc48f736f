//! One run inside a worker: start it, catch its panic, cancel it.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{Notify, mpsc};

use super::Start;
use crate::job::{Context, Handler, JobError, Outcome};
use crate::wire::RunId;

/// The end of a run.
pub(super) struct Ended {
    pub(super) run: RunId,
    pub(super) outcome: Outcome,
}

/// What became of a run that was to be started.
pub(super) enum Started {
    /// It ended at once.
    Ended(Outcome),
    /// It is aboard and will report.
    Aboard(Cancel),
}

/// Asks a run to end.
pub(super) struct Cancel {
    ctx: Context,
    abort: Arc<Notify>,
}

impl Cancel {
    pub(super) fn cancel(&self) {
        self.ctx.cancel();
        self.abort.notify_one();
    }
}

type Report = mpsc::UnboundedSender<Ended>;

pub(super) fn start(
    handler: Option<Handler>,
    start: &Start,
    ctx: Context,
    run: RunId,
    report: &Report,
) -> Started {
    let cancel = Cancel { ctx: ctx.clone(), abort: Arc::new(Notify::new()) };
    let report = report.clone();
    match handler {
        None => Started::Ended(JobError::unknown_job(&start.job).into_outcome()),
        Some(Handler::Blocking(handle)) => {
            let payload = start.payload.clone();
            tokio::task::spawn_blocking(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| handle(payload.as_str(), &ctx)));
                let outcome = outcome(ended);
                let _ = report.send(Ended { run, outcome });
            });
            Started::Aboard(cancel)
        }
        Some(Handler::Async(handle)) => {
            let payload = start.payload.as_str();
            let task = match catch_unwind(AssertUnwindSafe(|| handle(payload, ctx))) {
                Ok(task) => task,
                Err(panic) => return Started::Ended(panicked(panic.as_ref())),
            };
            let mut task = Caught(task);
            // A job that never waits is done here and now, without the cost of a task. Whatever it did
            // register is polled again by the task it becomes.
            let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(outcome) = Pin::new(&mut task).poll(&mut unwoken) {
                return Started::Ended(outcome);
            }
            let abort = Arc::clone(&cancel.abort);
            tokio::spawn(async move {
                let outcome = tokio::select! {
                    outcome = task => outcome,
                    () = abort.notified() => JobError::from("cancelled: its time was up").into_outcome(),
                };
                let _ = report.send(Ended { run, outcome });
            });
            Started::Aboard(cancel)
        }
    }
}

/// A handler's future whose panic is an outcome.
struct Caught(Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>);

impl Future for Caught {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Outcome> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(ended)) => Poll::Ready(outcome(Ok(ended))),
            Err(panic) => Poll::Ready(panicked(panic.as_ref())),
        }
    }
}

fn outcome(ended: std::thread::Result<Result<(), JobError>>) -> Outcome {
    match ended {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => error.into_outcome(),
        Err(panic) => panicked(panic.as_ref()),
    }
}

thread_local! {
    /// Where the last panic of this thread happened; the payload that `catch_unwind` hands over does not say.
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics leave their place behind, beside what they print.
pub(super) fn remember_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANIC_PLACE.set(info.location().map(ToString::to_string));
        print(info);
    }));
}

fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned());
    let place = PANIC_PLACE.take().map(|p| format!(" at {p}")).unwrap_or_default();
    JobError::from(format!("panicked{place}: {message}")).into_outcome()
}
