//! Type-erased handlers, and the parsing of their payloads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::payload_mismatch::mismatch;
use super::{Context, Failure, JobError, JobOptions, RetryDecision};

/// The pending end of a run.
pub type RunFuture = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

type Ended = Result<(), JobError>;
type BlockingFn = Arc<dyn Fn(&str, &Context) -> Ended + Send + Sync>;
pub(super) type AsyncFn = Arc<dyn Fn(&str, Context) -> RunFuture + Send + Sync>;
type BlockingCallback = Arc<dyn Fn(&str, &Failure, &Context) -> Ended + Send + Sync>;
type AsyncCallback = Arc<dyn Fn(&str, Failure, Context) -> RunFuture + Send + Sync>;

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
    pub run: HandlerFn,
    pub failed: Option<FailedCallback>,
    /// Retry decision for errors that leave it to the policy.
    pub(super) decide: fn(&JobError, &Context) -> RetryDecision,
    /// The options that the job type sets.
    pub(super) options: JobOptions,
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
            JobError::never(format!("the payload does not fit the job{}", mismatch::<J>(payload, &error)))
        })
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
                .starts_with("the payload does not fit the job at `_items[1]._it`: invalid type: a string")
        );
        assert!(matches!(
            error.into_outcome(),
            crate::job::Outcome::Failed { next: RetryDecision::Never, .. }
        ));
    }
}
