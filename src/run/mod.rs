//! One run of a job's handler in this process: started, its panic caught, cancelled.

mod services;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Instrument;

use crate::job::{Caught, Context, Failure, JobError, Outcome, Payload, caught};
use services::Work;
pub(crate) use services::{Service, Services};

/// How long after a cancel an asynchronous handler that does not end by itself is dropped: less than the shortest
/// default grace, after which the whole worker would be ended.
const DROP_AFTER: Duration = Duration::from_millis(100);

/// What became of a run that was to be started.
pub(crate) enum Started {
    /// It ended at once, and reports nothing.
    Ended(Outcome),
    /// It is under way and will report.
    Aboard(Cancel),
}

/// Asks a run to end.
pub(crate) struct Cancel {
    ctx: Context,
    abort: Arc<Notify>,
}

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.ctx.cancel();
        self.abort.notify_one();
    }
}

/// Starts a run. With a `failure` it is not that of the job itself, but of its failed callback.
pub(crate) fn start(
    service: Option<&Service>,
    payload: Payload,
    failure: Option<Failure>,
    ctx: Context,
    report: impl FnOnce(Outcome) + Send + 'static,
) -> Started {
    let Some(service) = service else {
        return Started::Ended(JobError::unknown_job(ctx.job()).into_outcome());
    };
    match service.work(payload, &ctx, failure) {
        None => Started::Ended(Outcome::Done),
        Some(Work::Blocking(work)) => {
            let cancel = Cancel { ctx: ctx.clone(), abort: Arc::default() };
            let judge = service.judge(&ctx);
            let span = span(&ctx);
            tokio::task::spawn_blocking(move || {
                report(outcome(judge(span.in_scope(|| caught(work)))));
            });
            Started::Aboard(cancel)
        }
        Some(Work::Async { task, may_drop }) => {
            let judge = service.judge(&ctx);
            let span = span(&ctx);
            let mut task = Caught(task);
            // A job that never waits is done here and now, without the cost of a task. Whatever it did
            // register is polled again by the task it becomes.
            let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(ended) = span.in_scope(|| Pin::new(&mut task).poll(&mut unwoken)) {
                return Started::Ended(outcome(judge(ended)));
            }
            let cancel = Cancel { ctx, abort: Arc::default() };
            let abort = Arc::clone(&cancel.abort);
            let work = async move {
                let ended = if may_drop { unless(task, dropped(&abort)).await } else { Some(task.await) };
                let ended = ended.unwrap_or_else(|| Err("cancelled: its time was up".into()));
                report(outcome(judge(ended)));
            };
            tokio::spawn(work.instrument(span));
            Started::Aboard(cancel)
        }
    }
}

/// What `task` ends with; `None` when `end` comes first, which drops it.
async fn unless<T>(task: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut task, mut end) = (pin!(task), pin!(end));
    poll_fn(|cx| match task.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Ends a moment after the run was cancelled.
async fn dropped(abort: &Notify) {
    abort.notified().await;
    tokio::time::sleep(DROP_AFTER).await;
}

fn span(ctx: &Context) -> tracing::Span {
    let traceparent = ctx.header("traceparent");
    tracing::info_span!(
        "job",
        id = ctx.id().0,
        name = ctx.job(),
        channel = ctx.channel(),
        attempt = ctx.attempt(),
        traceparent
    )
}

fn outcome(ended: Result<(), JobError>) -> Outcome {
    match ended {
        Ok(()) => Outcome::Done,
        Err(error) => error.into_outcome(),
    }
}
