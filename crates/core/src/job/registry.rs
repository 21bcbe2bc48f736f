//! The handlers of a program, by job name.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::app_state::{AppState, AppStateFactories};
use super::service::RunFuture;
use super::{AsyncJob, Context, Failure, Job, JobError, JobOptions, JobService, RetryDecision, is_job_name};

type Ended = Result<(), JobError>;
type BlockingFn = Arc<dyn Fn(&str, &Context) -> Ended + Send + Sync>;
type AsyncFn = Arc<dyn Fn(&str, Context) -> RunFuture + Send + Sync>;
type BlockingCallback = Arc<dyn Fn(&str, &Failure, &Context) -> Ended + Send + Sync>;
type AsyncCallback = Arc<dyn Fn(&str, Failure, Context) -> RunFuture + Send + Sync>;
type AppLayer = Arc<dyn Fn(JobService) -> JobService + Send + Sync>;

/// A type-erased handler; takes the payload's text.
#[derive(Clone)]
#[doc(hidden)]
pub enum HandlerFn {
    /// Runs on a thread of its own.
    Blocking(BlockingFn),
    /// Runs as a task.
    Async(AsyncFn),
}

/// A type-erased failed callback.
#[derive(Clone)]
#[doc(hidden)]
pub enum FailedCallback {
    /// Runs on a thread of its own.
    Blocking(BlockingCallback),
    /// Runs as a task.
    Async(AsyncCallback),
}

/// The registration of one job type.
#[derive(Clone)]
#[doc(hidden)]
pub struct JobHandler {
    #[doc(hidden)]
    pub run: HandlerFn,
    #[doc(hidden)]
    pub failed: Option<FailedCallback>,
    /// Retry decision for errors that leave it to the policy.
    decide: fn(&JobError, &Context) -> RetryDecision,
    options: JobOptions,
    layers: fn(JobService) -> JobService,
}

impl JobHandler {
    #[doc(hidden)]
    pub fn options(&self) -> JobOptions {
        self.options
    }

    /// Completes the end of a run with the job type's retry decision.
    pub(crate) fn with_retry_decision(&self, ended: Ended, ctx: &Context) -> Ended {
        ended.map_err(|error| error.with_decision(|error| (self.decide)(error, ctx)))
    }
}

/// The handlers of a program by job name, with its middleware and its shared state.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: Arc<BTreeMap<&'static str, JobHandler>>,
    /// Handler of all unregistered names.
    fallback: Option<JobHandler>,
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
        const { assert!(is_job_name($name), "a job's NAME is 1 to 128 of A-Z a-z 0-9 _ . : - \\") }
    };
}

impl Registry {
    /// Registers a blocking job.
    pub fn add<J: Job>(&mut self) {
        check_name!(J::NAME);
        let failed = J::failed();
        let callback = failed.map(|failed| {
            FailedCallback::Blocking(Arc::new(move |payload, failure, ctx| {
                failed(parse::<J>(payload)?, failure, ctx)
            }))
        });
        let handler = JobHandler {
            run: HandlerFn::Blocking(Arc::new(|payload, ctx| parse::<J>(payload)?.handle(ctx))),
            failed: callback,
            decide: |error, ctx| decide(J::can_retry(error, ctx), || J::retry_after(error, ctx)),
            options: JobOptions {
                max_attempts: J::MAX_ATTEMPTS,
                timeout: J::TIMEOUT,
                failed: failed.is_some(),
            },
            layers: J::layers,
        };
        self.insert(J::NAME, handler);
    }

    /// Registers an asynchronous job.
    pub fn add_async<J: AsyncJob>(&mut self) {
        check_name!(J::NAME);
        let failed = J::failed();
        let callback = failed.map(|failed| {
            FailedCallback::Async(Arc::new(move |payload: &str, failure, ctx| match parse::<J>(payload) {
                Ok(job) => failed(job, failure, ctx),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }))
        });
        let run: AsyncFn = Arc::new(|payload, ctx| match parse::<J>(payload) {
            Ok(job) => Box::pin(job.handle(ctx)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        });
        let handler = JobHandler {
            run: HandlerFn::Async(run),
            failed: callback,
            decide: |error, ctx| decide(J::can_retry(error, ctx), || J::retry_after(error, ctx)),
            options: JobOptions {
                max_attempts: J::MAX_ATTEMPTS,
                timeout: J::TIMEOUT,
                failed: failed.is_some(),
            },
            layers: J::layers,
        };
        self.insert(J::NAME, handler);
    }

    /// Registers `run` for all unregistered names. `run` gets the payload's text; [`Context::job`] is the name.
    #[doc(hidden)]
    pub fn add_fallback(&mut self, run: impl Fn(&str, Context) -> RunFuture + Send + Sync + 'static) {
        self.fallback = Some(JobHandler {
            run: HandlerFn::Async(Arc::new(run)),
            failed: None,
            decide: |_, _| RetryDecision::ByPolicy,
            options: JobOptions::default(),
            layers: |service| service,
        });
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
        self.handlers.iter().map(|(name, handler)| (*name, handler.options))
    }

    /// Reports the first refused registration.
    ///
    /// # Errors
    /// [`DuplicateJob`] when two types have the same name.
    pub fn check(&self) -> Result<(), DuplicateJob> {
        self.duplicate.clone().map_or(Ok(()), Err)
    }

    #[doc(hidden)]
    pub fn handlers(&self) -> impl Iterator<Item = (&'static str, &JobHandler)> {
        self.handlers.iter().map(|(name, handler)| (*name, handler))
    }

    /// The handler of all unregistered names.
    #[doc(hidden)]
    pub fn fallback(&self) -> Option<&JobHandler> {
        self.fallback.as_ref()
    }

    /// The service that runs a job: application middleware around the job's middleware around the handler.
    #[doc(hidden)]
    pub fn service(&self, handler: &JobHandler) -> JobService {
        let inner = (handler.layers)(JobService::default());
        self.layers.iter().rev().fold(inner, |service, layer| layer(service))
    }

    fn insert(&mut self, name: &'static str, handler: JobHandler) {
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

#[doc(hidden)]
pub fn parse<J: DeserializeOwned>(payload: &str) -> Result<J, JobError> {
    serde_json::from_str(payload)
        // `struct A;` is `null` in JSON, `struct A {}` is `{}`: producers need not know which form an empty job has.
        .or_else(|error| match payload.trim() {
            "{}" => serde_json::from_str("null").map_err(|_| error),
            "null" => serde_json::from_str("{}").map_err(|_| error),
            _ => Err(error),
        })
        .map_err(|error| {
            JobError::never(format!(
                "the payload does not fit the job{}",
                error_location::<J>(payload, &error)
            ))
        })
}

/// Position of an error in the payload: `` at `items[2].price`: … ``. Parses again, so only errors pay for the path.
#[cfg(feature = "server")]
fn error_location<J: DeserializeOwned>(payload: &str, error: &serde_json::Error) -> String {
    let reader = &mut serde_json::Deserializer::from_str(payload);
    match serde_path_to_error::deserialize::<_, J>(reader) {
        Err(found) if found.path().iter().next().is_some() => {
            format!(" at `{}`: {}", found.path(), found.inner())
        }
        _ => format!(": {error}"),
    }
}

/// The error without its position: a producer seldom parses payloads, so it is built without the crate for paths.
#[cfg(not(feature = "server"))]
#[expect(clippy::extra_unused_type_parameters, reason = "the variant with `server` needs it")]
fn error_location<J>(_: &str, error: &serde_json::Error) -> String {
    format!(": {error}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Unit;

    #[derive(Deserialize)]
    struct Empty {}

    #[derive(Deserialize)]
    struct Needs {
        _it: u8,
    }

    #[derive(Deserialize)]
    struct Order {
        _items: Vec<Needs>,
    }

    #[test]
    fn job_without_data_takes_null_and_an_empty_object() {
        for payload in ["null", "{}", " {} "] {
            assert!(parse::<Unit>(payload).is_ok(), "{payload}");
            assert!(parse::<Empty>(payload).is_ok(), "{payload}");
            assert!(parse::<Option<Needs>>("null").is_ok());
        }
        let error = parse::<Needs>("null").map(|_| ()).unwrap_err();
        assert!(error.message().contains("invalid type: null"), "{error:?}");
    }

    #[test]
    fn mismatched_payload_error_has_its_path() {
        let error = parse::<Order>(r#"{"_items":[{"_it":1},{"_it":"x"}]}"#).map(|_| ()).unwrap_err();
        assert!(
            error
                .message()
                .starts_with("the payload does not fit the job at `_items[1]._it`: invalid type: string")
        );
        assert!(matches!(
            error.into_outcome(),
            crate::job::Outcome::Failed { next: RetryDecision::Never, .. }
        ));
    }
}
