//! Jobs of a test queue, as tests see them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::job::{AttemptError, FailReason, JobId, JobMeta, NewJob, Payload, Priority, Start};
use crate::store::JobView;

/// A pushed job with its options. Equal to a `J` with the same data.
#[derive(Clone, Debug)]
pub struct PushedJob<J> {
    /// The id.
    pub id: JobId,
    /// The data.
    pub job: J,
    /// Earliest start.
    pub start: Start,
    /// All other options.
    pub meta: JobMeta,
}

/// A job in `failed`.
#[derive(Clone, Debug)]
pub struct FailedJob {
    /// The id.
    pub id: JobId,
    /// The name.
    pub job: String,
    /// The data as JSON.
    pub payload: String,
    /// The reason of the failure.
    pub reason: FailReason,
    /// The text of the last error.
    pub error: String,
    /// The last errors, oldest first.
    pub errors: Vec<AttemptError>,
}

impl<J> PushedJob<J> {
    pub(super) fn of(id: JobId, pushed: &NewJob, job: J) -> Self {
        Self { id, job, start: pushed.start, meta: pushed.meta.clone() }
    }

    /// The delay of the push; `None` for an immediate start or an absolute time.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.start {
            Start::After(delay) => Some(delay),
            Start::Now | Start::At(_) => None,
        }
    }

    /// The unique key.
    #[must_use]
    pub fn unique(&self) -> Option<&str> {
        self.meta.unique.as_deref()
    }

    /// The priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.meta.priority
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.meta.headers
    }
}

impl<J: PartialEq> PartialEq<J> for PushedJob<J> {
    fn eq(&self, other: &J) -> bool {
        self.job == *other
    }
}

impl FailedJob {
    pub(super) fn of(listed: JobView) -> Self {
        let JobView { id, meta, payload, .. } = listed;
        Self {
            id,
            reason: meta.failed.unwrap_or(FailReason::Malformed),
            error: meta.last_error().to_owned(),
            job: meta.job,
            payload,
            errors: meta.errors,
        }
    }
}

/// A payload as a value, for comparisons that ignore white space and key order.
pub(super) fn value(payload: &Payload) -> serde_json::Value {
    serde_json::from_str(payload.as_str()).expect("a payload is JSON")
}

pub(super) fn decode<J: DeserializeOwned>(name: &str, payload: &Payload) -> J {
    match crate::job::parse(payload.as_str()) {
        Ok(job) => job,
        Err(error) => {
            panic!("a job \"{name}\" was pushed with {}, but {}", payload.as_str(), error.message())
        }
    }
}
