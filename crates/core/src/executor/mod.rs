//! Runs a job's handler in this process: starts it, catches its panic, cancels it.

mod handler_set;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use crate::job::{CatchPanic, Context, Failure, JobError, Outcome, Payload, catch_panic};
#[cfg(feature = "tracing")]
use crate::job::{TRACEPARENT, TraceContext};
use crate::otel::HandlerTrace;
use handler_set::PreparedRun;
pub use handler_set::{HandlerSet, PreparedHandler};

/// Share of the grace after which an unresponsive asynchronous handler is dropped: at the end of the grace the whole
/// worker would be killed.
const DROP_AFTER: u32 = 3;

/// The input of a run.
pub struct RunInput {
    pub payload: Payload,
    /// Set for a failed callback; the job itself does not run then.
    pub failure: Option<Failure>,
    pub ctx: Context,
}

/// The result of starting a run.
pub enum Started {
    /// Ended immediately; no report follows.
    Ended(Outcome),
    /// Running; a report follows.
    Running(CancelHandle),
}

/// Asks a run to end.
pub struct CancelHandle {
    ctx: Context,
    /// Time after which the task is dropped; `None` until cancelled.
    drop: watch::Sender<Option<Duration>>,
}

impl CancelHandle {
    pub fn cancel(&self, grace: Duration) {
        self.ctx.cancel();
        self.drop.send_replace(Some(grace / DROP_AFTER));
    }
}

/// The scope that the code of one run executes in.
pub trait RunScope: Send + Unpin + 'static {
    /// Executes code of the run inside the scope.
    fn enter<T>(&self, code: impl FnOnce() -> T) -> T;
}

#[cfg(feature = "tracing")]
impl RunScope for tracing::Span {
    fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        self.in_scope(code)
    }
}

/// The tracing span of one run.
#[cfg(feature = "tracing")]
pub fn span(ctx: &Context) -> tracing::Span {
    let traceparent = ctx.header(TRACEPARENT);
    let trace_id = TraceContext::of(ctx.headers()).map(|trace| tracing::field::display(trace.trace_id));
    tracing::error_span!(
        "job",
        id = ctx.id().0,
        name = ctx.job(),
        channel = ctx.channel(),
        attempt = ctx.attempt(),
        trace_id,
        traceparent
    )
}

/// The empty scope.
#[cfg(not(feature = "tracing"))]
pub struct NoSpan;

#[cfg(not(feature = "tracing"))]
impl RunScope for NoSpan {
    fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        code()
    }
}

/// The empty scope of one run.
#[cfg(not(feature = "tracing"))]
pub fn span(_: &Context) -> NoSpan {
    NoSpan
}

/// The scope of a run inside its trace.
struct InTrace<S> {
    trace: HandlerTrace,
    scope: S,
}

impl<S: RunScope> RunScope for InTrace<S> {
    fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        self.trace.enter(|| self.scope.enter(code))
    }
}

/// Starts a run; `report` gets its outcome unless it ends immediately.
pub fn start(
    service: Option<&PreparedHandler>,
    start: RunInput,
    scope: impl RunScope,
    report: impl FnOnce(Outcome) + Send + 'static,
) -> Started {
    let RunInput { payload, failure, ctx } = start;
    let Some(service) = service else {
        return Started::Ended(JobError::unknown_job(ctx.job()).into_outcome());
    };
    let scope = InTrace { trace: HandlerTrace::of(ctx.headers()), scope };
    match service.prepare(payload, &ctx, failure) {
        None => Started::Ended(Outcome::Done),
        Some(PreparedRun::Blocking(prepare)) => {
            let classify = service.classify(&ctx);
            let cancel = CancelHandle { ctx, drop: watch::Sender::new(None) };
            tokio::task::spawn_blocking(move || {
                report(outcome(classify(scope.enter(|| catch_panic(prepare)))))
            });
            Started::Running(cancel)
        }
        Some(PreparedRun::Async { task, may_drop }) => {
            let classify = service.classify(&ctx);
            let mut task = Scoped { scope, task: CatchPanic(task) };
            // A job that never waits ends at its first poll, without the cost of a task. Wakers registered by this poll are
            // replaced when the task polls again.
            let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(ended) = Pin::new(&mut task).poll(&mut unwoken) {
                drop_quietly(task);
                return Started::Ended(outcome(classify(ended)));
            }
            let cancel = CancelHandle { ctx, drop: watch::Sender::new(None) };
            let cancelled = cancel.drop.subscribe();
            tokio::spawn(async move {
                let ended = match may_drop {
                    true => run_until(&mut task, drop_deadline(cancelled)).await,
                    false => Some((&mut task).await),
                };
                drop_quietly(task);
                let ended = ended.unwrap_or_else(|| Err("cancelled: its time was up".into()));
                report(outcome(classify(ended)));
            });
            Started::Running(cancel)
        }
    }
}

/// A future polled inside a scope.
struct Scoped<S, F> {
    scope: S,
    task: F,
}

impl<S: RunScope, F: Future + Unpin> Future for Scoped<S, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let Self { scope, task } = &mut *self;
        scope.enter(|| Pin::new(task).poll(cx))
    }
}

/// Drops the rest of a run. A panic in its destructors is caught: the run has ended, and its end must be reported.
fn drop_quietly<S: RunScope, F>(task: Scoped<S, F>) {
    let Scoped { scope, task } = task;
    let _ = scope.enter(|| {
        catch_panic(|| {
            drop(task);
            Ok(())
        })
    });
}

/// The output of `task`; `None` when `end` completes first.
async fn run_until<T>(task: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut task, mut end) = (pin!(task), pin!(end));
    poll_fn(|cx| match task.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Completes when a cancelled run is to be dropped.
async fn drop_deadline(mut cancelled: watch::Receiver<Option<Duration>>) {
    let after = cancelled.wait_for(Option::is_some).await.ok().and_then(|after| *after);
    match after {
        Some(after) => tokio::time::sleep(after).await,
        // The handle is gone because the run has ended.
        None => std::future::pending().await,
    }
}

fn outcome(ended: Result<(), JobError>) -> Outcome {
    match ended {
        Ok(()) => Outcome::Done,
        Err(error) => error.into_outcome(),
    }
}
