//! What runs each job of this binary: handlers with their middleware, put together once.

use std::collections::HashMap;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::job::{
    CatchPanic, Context, FailedCallback, Failure, HandlerFn, JobCall, JobError, JobHandler, JobOptions,
    JobService, Payload, Registry, RunFuture, catch_panic,
};

/// The services of one process.
pub struct HandlerSet {
    named: HashMap<&'static str, PreparedHandler>,
    /// For every other name.
    fallback: Option<PreparedHandler>,
}

/// What runs jobs of one name.
pub struct PreparedHandler {
    handler: JobHandler,
    service: JobService,
}

type Ended = Result<(), JobError>;

/// A run, ready to begin.
pub enum PreparedRun {
    /// Blocks its thread.
    Blocking(Box<dyn FnOnce() -> Ended + Send>),
    /// Does not.
    Async {
        /// The run.
        task: RunFuture,
        /// Whether dropping it ends it: it does not where a thread of its own runs the handler.
        may_drop: bool,
    },
}

impl HandlerSet {
    pub fn of(registry: &Registry) -> Self {
        let of = |handler: &JobHandler| PreparedHandler {
            service: registry.service(handler),
            handler: handler.clone(),
        };
        let named = registry.handlers().map(|(name, handler)| (name, of(handler))).collect();
        Self { named, fallback: registry.fallback().map(of) }
    }

    pub fn get(&self, name: &str) -> Option<&PreparedHandler> {
        self.named.get(name).or(self.fallback.as_ref())
    }
}

impl PreparedHandler {
    /// The work of one run; `None` when there is none, as for a failed callback that this handler does not have.
    pub fn work(&self, payload: Payload, ctx: &Context, failure: Option<Failure>) -> Option<PreparedRun> {
        let ctx = ctx.clone();
        if let Some(failure) = failure {
            return Some(match self.handler.failed.clone()? {
                FailedCallback::Blocking(run) => {
                    PreparedRun::Blocking(Box::new(move || run(payload.as_str(), &failure, &ctx)))
                }
                FailedCallback::Async(run) => PreparedRun::task(move || run(payload.as_str(), failure, ctx)),
            });
        }
        Some(match (&self.handler.run, self.service.is_plain()) {
            // Without middleware there is no need for a task around the thread.
            (HandlerFn::Blocking(run), true) => {
                let run = run.clone();
                PreparedRun::Blocking(Box::new(move || run(payload.as_str(), &ctx)))
            }
            (HandlerFn::Async(run), true) => PreparedRun::task(|| run(payload.as_str(), ctx)),
            (HandlerFn::Async(_), false) => {
                let call = JobCall::new(ctx, payload, self.handler.clone(), None);
                PreparedRun::task(|| self.service.run(call))
            }
            (HandlerFn::Blocking(_), false) => {
                let (busy, idle) = oneshot::channel();
                let call = JobCall::new(ctx, payload, self.handler.clone(), Some(busy));
                let task = catch_panic(|| Ok(self.service.run(call)));
                let task = Box::pin(async move {
                    let ended = match task {
                        Ok(task) => CatchPanic(task).await,
                        Err(error) => Err(error),
                    };
                    // Middleware that gave up waiting did not end the thread, and the run lasts as long as that.
                    let _ = idle.await;
                    ended
                });
                PreparedRun::Async { task, may_drop: false }
            }
        })
    }

    /// What the handler wants for every job of its name.
    pub fn options(&self) -> JobOptions {
        self.handler.options()
    }

    /// What the job says of its errors, for one run.
    pub fn judge(&self, ctx: &Context) -> impl FnOnce(Ended) -> Ended + Send + use<> {
        let (handler, ctx) = (self.handler.clone(), ctx.clone());
        move |ended| match ended {
            Ok(()) => Ok(()),
            error => catch_panic(|| handler.with_retry_decision(error, &ctx)),
        }
    }
}

impl PreparedRun {
    /// The task `make` answers; a panic on the way is its end.
    fn task(make: impl FnOnce() -> RunFuture) -> Self {
        let task = catch_panic(|| Ok(make()));
        let task = task.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))) as Pin<Box<_>>);
        Self::Async { task, may_drop: true }
    }
}
