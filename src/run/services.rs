//! What runs each job of this binary: handlers with their middleware, put together once.

use std::collections::HashMap;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::job::{
    Callback, Caught, Context, Failure, Handler, JobCall, JobError, JobOptions, JobService, Payload,
    Registry, Runner, Running, caught,
};

/// The services of one process.
pub(crate) struct Services {
    named: HashMap<&'static str, Service>,
    /// For every other name.
    any: Option<Service>,
}

/// What runs jobs of one name.
pub(crate) struct Service {
    handler: Handler,
    service: JobService,
}

type Ended = Result<(), JobError>;

/// A run, ready to begin.
pub(crate) enum Work {
    /// Blocks its thread.
    Blocking(Box<dyn FnOnce() -> Ended + Send>),
    /// Does not.
    Async {
        /// The run.
        task: Running,
        /// Whether dropping it ends it: it does not where a thread of its own runs the handler.
        may_drop: bool,
    },
}

impl Services {
    pub(crate) fn of(registry: &Registry) -> Self {
        let of = |handler: &Handler| Service { service: registry.service(handler), handler: handler.clone() };
        let named = registry.handlers().map(|(name, handler)| (name, of(handler))).collect();
        Self { named, any: registry.any().map(of) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Service> {
        self.named.get(name).or(self.any.as_ref())
    }
}

impl Service {
    /// The work of one run; `None` when there is none, as for a failed callback that this handler does not have.
    pub(crate) fn work(&self, payload: Payload, ctx: &Context, failure: Option<Failure>) -> Option<Work> {
        let ctx = ctx.clone();
        if let Some(failure) = failure {
            return Some(match self.handler.failed.clone()? {
                Callback::Blocking(run) => {
                    Work::Blocking(Box::new(move || run(payload.as_str(), &failure, &ctx)))
                }
                Callback::Async(run) => Work::task(move || run(payload.as_str(), failure, ctx)),
            });
        }
        Some(match (&self.handler.run, self.service.is_plain()) {
            // Without middleware there is no need for a task around the thread.
            (Runner::Blocking(run), true) => {
                let run = run.clone();
                Work::Blocking(Box::new(move || run(payload.as_str(), &ctx)))
            }
            (Runner::Async(run), true) => Work::task(|| run(payload.as_str(), ctx)),
            (Runner::Async(_), false) => {
                let call = JobCall::new(ctx, payload, self.handler.clone(), None);
                Work::task(|| self.service.run(call))
            }
            (Runner::Blocking(_), false) => {
                let (busy, idle) = oneshot::channel();
                let call = JobCall::new(ctx, payload, self.handler.clone(), Some(busy));
                let task = caught(|| Ok(self.service.run(call)));
                let task = Box::pin(async move {
                    let ended = match task {
                        Ok(task) => Caught(task).await,
                        Err(error) => Err(error),
                    };
                    // Middleware that gave up waiting did not end the thread, and the run lasts as long as that.
                    let _ = idle.await;
                    ended
                });
                Work::Async { task, may_drop: false }
            }
        })
    }

    /// What the handler wants for every job of its name.
    pub(crate) fn options(&self) -> JobOptions {
        self.handler.options()
    }

    /// What the job says of its errors, for one run.
    pub(crate) fn judge(&self, ctx: &Context) -> impl FnOnce(Ended) -> Ended + Send + use<> {
        let (handler, ctx) = (self.handler.clone(), ctx.clone());
        move |ended| match ended {
            Ok(()) => Ok(()),
            error => caught(|| handler.judged(error, &ctx)),
        }
    }
}

impl Work {
    /// The task `make` answers; a panic on the way is its end.
    fn task(make: impl FnOnce() -> Running) -> Self {
        let task = caught(|| Ok(make()));
        let task = task.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))) as Pin<Box<_>>);
        Self::Async { task, may_drop: true }
    }
}
