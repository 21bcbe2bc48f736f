//! A run of a job as a service, so that middleware can wrap it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::handler::{HandlerFn, JobHandler, RunFuture, parse};
use super::panic::{CatchPanic, catch_panic};
use super::{Context, JobError, Payload};

type WrapFn = dyn Fn(JobCall) -> RunFuture + Send + Sync;

/// A run, passed through middleware to the job's handler.
pub struct JobCall {
    ctx: Context,
    payload: Payload,
    handler: JobHandler,
    /// Keeps the run busy until the handler's thread ends; dropped with the call if no thread starts.
    busy: Option<BusyGuard>,
}

/// Marks a handler thread as possibly running, until dropped.
pub(crate) type BusyGuard = oneshot::Sender<Infallible>;

impl JobCall {
    #[doc(hidden)]
    pub fn new(ctx: Context, payload: Payload, handler: JobHandler, busy: Option<BusyGuard>) -> Self {
        Self { ctx, payload, handler, busy }
    }

    /// The context of the run.
    #[must_use]
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// The job's data as JSON.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.as_str()
    }

    /// The job's data, or the fields of it that `T` has.
    ///
    /// # Errors
    /// When the payload does not fit `T`; the error names the position and fails the job permanently.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        parse(self.payload.as_str())
    }

    /// Runs the handler.
    fn handle(self) -> RunFuture {
        let Self { ctx, payload, handler, busy } = self;
        match handler.run {
            HandlerFn::Async(run) => match catch_panic(|| Ok(run(payload.as_str(), ctx))) {
                Ok(running) => Box::pin(CatchPanic(running)),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            },
            HandlerFn::Blocking(run) => Box::pin(async move {
                let run = in_this_span(move || {
                    let _busy = busy;
                    ctx.enter(|| catch_panic(|| run(payload.as_str(), &ctx)))
                });
                // The join fails only when the runtime shuts down, and then no receiver is left.
                tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| Err(error.into()))
            }),
        }
    }
}

/// Enters the current span on the thread that runs `code`.
#[cfg(feature = "tracing")]
fn in_this_span<T>(code: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = tracing::Span::current();
    move || span.in_scope(code)
}

#[cfg(not(feature = "tracing"))]
fn in_this_span<T>(code: impl FnOnce() -> T) -> impl FnOnce() -> T {
    code
}

impl fmt::Debug for JobCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobCall").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}

/// Runs a job: its handler, or middleware around it. Cheap to clone.
///
/// A tower `Service` of [`JobCall`] that takes any tower layer with [`JobService::with`]; [`JobService::wrap`] takes a
/// plain function.
#[derive(Clone, Default)]
pub struct JobService {
    wrap_fn: Option<Arc<WrapFn>>,
}

impl JobService {
    /// Whether the handler has no middleware.
    pub(crate) fn is_plain(&self) -> bool {
        self.wrap_fn.is_none()
    }

    /// Wraps this service into a function that gets each call and the inner service.
    ///
    /// ```
    /// # use aint_queue::{Context, Job, JobError};
    /// # use aint_queue::job::JobService;
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Report;
    /// # impl Job for Report {
    /// #     const NAME: &'static str = "report";
    /// #     fn handle(self, ctx: &Context) -> Result<(), JobError> { Ok(()) }
    /// fn layers(service: JobService) -> JobService {
    ///     service.wrap(|call, next| async move {
    ///         let begun = std::time::Instant::now();
    ///         let ctx = call.ctx().clone();
    ///         let ended = next.run(call).await;
    ///         ctx.log("info", format!("took {:?}", begun.elapsed()));
    ///         ended
    ///     })
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn wrap<F, R>(self, wrap_fn: F) -> Self
    where
        F: Fn(JobCall, Self) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let wrapped = move |call| Box::pin(wrap_fn(call, self.clone())) as RunFuture;
        Self { wrap_fn: Some(Arc::new(wrapped)) }
    }

    /// Runs a job.
    #[must_use = "a run that is not awaited does not happen"]
    pub fn run(&self, call: JobCall) -> RunFuture {
        match &self.wrap_fn {
            Some(wrap_fn) => wrap_fn(call),
            None => call.handle(),
        }
    }
}

impl fmt::Debug for JobService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain() { "JobService(handler)" } else { "JobService(middleware)" })
    }
}
