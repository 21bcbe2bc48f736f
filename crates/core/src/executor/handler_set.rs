//! The handlers of this program with their middleware, prepared once.

use std::collections::HashMap;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::job::{
    CatchPanic, Context, FailedCallback, Failure, HandlerFn, JobCall, JobError, JobHandler, JobOptions,
    JobService, Payload, Registry, RunFuture, catch_panic,
};

/// The prepared handlers of a process, by job name.
pub struct HandlerSet {
    named: HashMap<&'static str, PreparedHandler>,
    /// Handler of all other names.
    fallback: Option<PreparedHandler>,
}

/// The handler of one job name, with its middleware.
pub struct PreparedHandler {
    handler: JobHandler,
    service: JobService,
}

type Ended = Result<(), JobError>;

/// A run that is ready to start.
pub enum PreparedRun {
    /// Blocks its thread.
    Blocking(Box<dyn FnOnce() -> Ended + Send>),
    /// Runs as a task.
    Async {
        /// The task.
        task: RunFuture,
        /// Whether dropping the task ends the run; not when a separate thread runs the handler.
        may_drop: bool,
    },
}

impl HandlerSet {
    pub fn of(registry: &Registry) -> Self {
        let of = |(handler, service)| PreparedHandler { handler, service };
        let named = registry.prepared().map(|(name, prepared)| (name, of(prepared))).collect();
        Self { named, fallback: registry.prepared_fallback().map(of) }
    }

    pub fn get(&self, name: &str) -> Option<&PreparedHandler> {
        self.named.get(name).or(self.fallback.as_ref())
    }
}

impl PreparedHandler {
    /// Prepares a run; `None` for a failed callback that this handler does not have.
    pub fn prepare(&self, payload: Payload, ctx: &Context, failure: Option<Failure>) -> Option<PreparedRun> {
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
            // Without middleware the thread needs no task around it.
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
                    // Middleware may stop waiting, but the run lasts until the handler's thread ends.
                    let _ = idle.await;
                    ended
                });
                PreparedRun::Async { task, may_drop: false }
            }
        })
    }

    /// The options that the handler sets for every job of its name.
    pub fn options(&self) -> JobOptions {
        self.handler.options()
    }

    /// Adds the job type's retry decision to the end of one run.
    pub fn classify(&self, ctx: &Context) -> impl FnOnce(Ended) -> Ended + Send + use<> {
        let (handler, ctx) = (self.handler.clone(), ctx.clone());
        move |ended| match ended {
            Ok(()) => Ok(()),
            error => catch_panic(|| handler.with_retry_decision(error, &ctx)),
        }
    }
}

impl PreparedRun {
    /// A run made of the task returned by `make`; a panic in `make` is the end of that run.
    fn task(make: impl FnOnce() -> RunFuture) -> Self {
        let task = catch_panic(|| Ok(make()));
        let task = task.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))) as Pin<Box<_>>);
        Self::Async { task, may_drop: true }
    }
}
