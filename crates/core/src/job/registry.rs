//! The handlers of a program, by job name.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::app_state::{AppState, AppStateFactories};
use super::handler::{AsyncFn, FailedCallback, HandlerFn, JobHandler, RunFuture, parse};
use super::{AsyncJob, Context, Job, JobError, JobOptions, JobService, RetryDecision, is_job_name};

type AppLayer = Arc<dyn Fn(JobService) -> JobService + Send + Sync>;

/// A registered handler with the middleware of its job type.
#[derive(Clone)]
struct Registered {
    handler: JobHandler,
    layers: fn(JobService) -> JobService,
}

/// The handlers of a program by job name, with its middleware and its shared state.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: Arc<BTreeMap<&'static str, Registered>>,
    /// Handler of all unregistered names.
    fallback: Option<Registered>,
    layers: Vec<AppLayer>,
    states: AppStateFactories,
    duplicate: Option<DuplicateJob>,
}

/// A job type that cannot be registered; the program refuses to start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DuplicateJob {
    /// Two types have the same name.
    #[error("two job types are registered as \"{0}\": give one of them another NAME")]
    Name(&'static str),
}

/// Compile-time check of a job name.
macro_rules! check_name {
    ($name:expr) => {
        const { assert!(is_job_name($name), "a job's NAME is 1 to 128 of A-Z a-z 0-9 _ . : @ / - \\") }
    };
}

impl Registry {
    /// Registers a blocking job.
    pub fn add<J: Job>(&mut self) {
        check_name!(J::NAME);
        let callback = J::failed().map(|failed| {
            FailedCallback::Blocking(Arc::new(move |payload, failure, ctx| {
                failed(parse::<J>(payload)?, failure, ctx)
            }))
        });
        let handler = JobHandler {
            run: HandlerFn::Blocking(Arc::new(|payload, ctx| parse::<J>(payload)?.handle(ctx))),
            decide: |error, ctx| decide(J::can_retry(error, ctx), || J::retry_after(error, ctx)),
            options: JobOptions {
                max_attempts: J::MAX_ATTEMPTS,
                timeout: J::TIMEOUT,
                failed: callback.is_some(),
            },
            failed: callback,
        };
        self.insert(J::NAME, Registered { handler, layers: J::layers });
    }

    /// Registers an asynchronous job.
    pub fn add_async<J: AsyncJob>(&mut self) {
        check_name!(J::NAME);
        let callback = J::failed().map(|failed| {
            FailedCallback::Async(Arc::new(move |payload: &str, failure, ctx| match parse::<J>(payload) {
                Ok(job) => Box::pin(async move { failed(job, &failure, &ctx).await }),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }))
        });
        let run: AsyncFn = Arc::new(|payload, ctx| match parse::<J>(payload) {
            Ok(job) => Box::pin(async move { job.handle(&ctx).await }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        });
        let handler = JobHandler {
            run: HandlerFn::Async(run),
            decide: |error, ctx| decide(J::can_retry(error, ctx), || J::retry_after(error, ctx)),
            options: JobOptions {
                max_attempts: J::MAX_ATTEMPTS,
                timeout: J::TIMEOUT,
                failed: callback.is_some(),
            },
            failed: callback,
        };
        self.insert(J::NAME, Registered { handler, layers: J::layers });
    }

    /// Registers `run` for all unregistered names. `run` gets the payload's text; [`Context::job`] is the name.
    #[doc(hidden)]
    pub fn add_fallback(&mut self, run: impl Fn(&str, Context) -> RunFuture + Send + Sync + 'static) {
        let handler = JobHandler {
            run: HandlerFn::Async(Arc::new(run)),
            failed: None,
            decide: |_, _| RetryDecision::ByPolicy,
            options: JobOptions::default(),
        };
        self.fallback = Some(Registered { handler, layers: |service| service });
    }

    /// Makes the registered ones of these jobs fail for good with the message of `why`, which gets the name of the job.
    #[doc(hidden)]
    pub fn refuse(&mut self, names: impl IntoIterator<Item = &'static str>, why: fn(&str) -> String) {
        let handlers = Arc::make_mut(&mut self.handlers);
        for name in names {
            if let Some(registered) = handlers.get_mut(name) {
                let run: AsyncFn =
                    Arc::new(move |_, _| Box::pin(std::future::ready(Err(JobError::never(why(name))))));
                registered.handler = JobHandler {
                    run: HandlerFn::Async(run),
                    failed: None,
                    decide: |_, _| RetryDecision::Never,
                    options: JobOptions::default(),
                };
            }
        }
    }

    /// Adds a middleware layer around every job; the first one added is the outermost.
    #[doc(hidden)]
    pub fn add_layer(&mut self, layer: impl Fn(JobService) -> JobService + Send + Sync + 'static) {
        self.layers.push(Arc::new(layer));
    }

    /// Shares a value with all handlers.
    #[doc(hidden)]
    pub fn add_state<T: Send + Sync + 'static>(&mut self, value: T) {
        self.states.add(value);
    }

    /// Shares the value made by `make`, called only in a process that runs jobs.
    #[doc(hidden)]
    pub fn add_state_with<T, E>(&mut self, make: impl Fn() -> Result<T, E> + Send + Sync + 'static)
    where
        T: Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.states.add_with(make);
    }

    /// Makes the shared state. The error names the type that failed.
    #[doc(hidden)]
    pub fn state(&self) -> Result<AppState, String> {
        let named = |(name, error): (&str, Box<dyn Error + Send + Sync>)| {
            let error = JobError::from(error);
            format!("the state of the type {name} cannot be made: {}", error.message())
        };
        self.states.make().map_err(named)
    }

    /// The registered names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.handlers.keys().copied()
    }

    /// The registered names with the options of their handlers.
    #[doc(hidden)]
    pub fn specs(&self) -> impl Iterator<Item = (&'static str, JobOptions)> {
        self.handlers.iter().map(|(name, registered)| (*name, registered.handler.options))
    }

    /// Reports the first refused registration.
    ///
    /// # Errors
    /// [`DuplicateJob`] when two types have the same name.
    pub fn check(&self) -> Result<(), DuplicateJob> {
        self.duplicate.clone().map_or(Ok(()), Err)
    }

    /// All handlers with their services: application middleware around the job's middleware around the handler.
    #[doc(hidden)]
    pub fn prepared(&self) -> impl Iterator<Item = (&'static str, (JobHandler, JobService))> {
        self.handlers.iter().map(|(name, registered)| (*name, self.prepare(registered)))
    }

    /// The handler of all unregistered names, with its service.
    #[doc(hidden)]
    pub fn prepared_fallback(&self) -> Option<(JobHandler, JobService)> {
        self.fallback.as_ref().map(|registered| self.prepare(registered))
    }

    fn prepare(&self, registered: &Registered) -> (JobHandler, JobService) {
        let inner = (registered.layers)(JobService::default());
        let service = self.layers.iter().rev().fold(inner, |service, layer| layer(service));
        (registered.handler.clone(), service)
    }

    fn insert(&mut self, name: &'static str, handler: Registered) {
        if Arc::make_mut(&mut self.handlers).insert(name, handler).is_some() {
            self.duplicate.get_or_insert(DuplicateJob::Name(name));
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

fn decide(can_retry: bool, after: impl FnOnce() -> Option<std::time::Duration>) -> RetryDecision {
    match can_retry {
        false => RetryDecision::Never,
        true => after().map_or(RetryDecision::ByPolicy, RetryDecision::After),
    }
}
