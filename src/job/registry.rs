//! Which handler runs which job name.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{AsyncJob, Context, Job, JobError, JobOptions, is_job_name};

type Ended = Result<(), JobError>;
type BlockingFn = fn(&str, &Context) -> Ended;
type AsyncFn = fn(&str, Context) -> Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A handler with its type erased: it takes the payload's text.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Runs on a thread of its own.
    Blocking(BlockingFn),
    /// Runs as a task.
    Async(AsyncFn),
}

/// The handlers of one binary, by job name.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: Arc<BTreeMap<&'static str, Handler>>,
    wrong: Option<DuplicateJob>,
}

/// A job type that cannot be registered: the start is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DuplicateJob {
    /// Two types claim one name.
    #[error("two job types are registered as \"{0}\": give one of them another NAME")]
    Name(&'static str),
    /// A type's name breaks the rule for job names.
    #[error("the job name \"{0}\" is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . : - \\")]
    NotAName(&'static str),
}

impl Registry {
    /// Registers a blocking job.
    pub fn add<J: Job>(&mut self) {
        self.insert(J::NAME, Handler::Blocking(|payload, ctx| parse::<J>(payload)?.handle(ctx)));
    }

    /// Registers an asynchronous job.
    pub fn add_async<J: AsyncJob>(&mut self) {
        self.insert(
            J::NAME,
            Handler::Async(|payload, ctx| match parse::<J>(payload) {
                Ok(job) => Box::pin(job.handle(ctx)),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }),
        );
    }

    /// The registered names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.handlers.keys().copied()
    }

    /// The registered jobs with what their handlers want.
    pub(crate) fn specs(&self) -> impl Iterator<Item = (&'static str, JobOptions)> {
        self.handlers.keys().map(|name| (*name, JobOptions::default()))
    }

    /// The first registration that was refused, if any.
    ///
    /// # Errors
    /// When two types claim one name, or a name is not one.
    pub fn check(&self) -> Result<(), DuplicateJob> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Handler> {
        self.handlers.get(name).copied()
    }

    fn insert(&mut self, name: &'static str, handler: Handler) {
        if !is_job_name(name) {
            self.wrong.get_or_insert(DuplicateJob::NotAName(name));
        }
        if Arc::make_mut(&mut self.handlers).insert(name, handler).is_some() {
            self.wrong.get_or_insert(DuplicateJob::Name(name));
        }
    }
}

fn parse<J: DeserializeOwned>(payload: &str) -> Result<J, JobError> {
    serde_json::from_str(payload)
        // `struct A;` is `null` in JSON and `struct A {}` is `{}`: a producer need not know which a job without data is.
        .or_else(|error| match payload.trim() {
            "{}" => serde_json::from_str("null").map_err(|_| error),
            "null" => serde_json::from_str("{}").map_err(|_| error),
            _ => Err(error),
        })
        .map_err(|e| JobError::never(format!("the payload does not fit the job: {e}")))
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

    #[test]
    fn a_job_without_data_takes_null_and_an_empty_object() {
        for payload in ["null", "{}", " {} "] {
            assert!(parse::<Unit>(payload).is_ok(), "{payload}");
            assert!(parse::<Empty>(payload).is_ok(), "{payload}");
            assert!(parse::<Option<Needs>>("null").is_ok());
        }
        let error = parse::<Needs>("null").map(|_| ()).unwrap_err();
        assert!(format!("{error:?}").contains("invalid type: null"), "{error:?}");
    }
}
