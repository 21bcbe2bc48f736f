//! One run of a job as a service, so that middleware can stand around it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::panic::{CatchPanic, catch_panic};
use super::registry::{HandlerFn, JobHandler, parse};
use super::{Context, JobError, Payload};

/// The end of a run on its way.
pub type RunFuture = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

type Around = dyn Fn(JobCall) -> RunFuture + Send + Sync;

/// One run, on its way to the job's handler.
pub struct JobCall {
    ctx: Context,
    payload: Payload,
    handler: JobHandler,
    /// Dropped with this, or by the thread of the handler when that has ended.
    busy: Option<Busy>,
}

/// For as long as this is there, a handler may run on a thread of its own.
pub(crate) type Busy = oneshot::Sender<Infallible>;

impl JobCall {
    #[doc(hidden)]
    pub fn new(ctx: Context, payload: Payload, handler: JobHandler, busy: Option<Busy>) -> Self {
        Self { ctx, payload, handler, busy }
    }

    /// What is known of the run.
    #[must_use]
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// The job's data as JSON.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.as_str()
    }

    /// The job's data, or the part of it that `T` has.
    ///
    /// # Errors
    /// When it does not fit `T`; the error says where, and fails the job for good.
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
                // It panics only when the runtime goes away, and then nobody hears of it.
                tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| Err(error.into()))
            }),
        }
    }
}

/// The same code for another thread, inside the span that is current here.
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

/// What runs a job: its handler, or middleware around it. Cheap to clone.
///
/// It is a tower `Service` of [`JobCall`], and takes any tower layer with [`JobService::with`]; without tower,
/// [`JobService::wrap`] takes a function.
#[derive(Clone, Default)]
pub struct JobService {
    around: Option<Arc<Around>>,
}

impl JobService {
    /// Whether nothing stands around the handler.
    pub(crate) fn is_plain(&self) -> bool {
        self.around.is_none()
    }

    /// Puts a function around this service: it gets each run and what would run it.
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
    pub fn wrap<F, R>(self, around: F) -> Self
    where
        F: Fn(JobCall, Self) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let wrapped = move |call| Box::pin(around(call, self.clone())) as RunFuture;
        Self { around: Some(Arc::new(wrapped)) }
    }

    /// Runs a job.
    #[must_use = "a run that is not awaited does not happen"]
    pub fn run(&self, call: JobCall) -> RunFuture {
        match &self.around {
            Some(around) => around(call),
            None => call.handle(),
        }
    }
}

impl fmt::Debug for JobService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain() { "JobService(handler)" } else { "JobService(middleware)" })
    }
}
