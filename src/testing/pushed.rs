//! What a test sees of the jobs of its queue.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::job::{AttemptError, FailReason, JobId, JobMeta, NewJob, Payload, Priority, Start};
use crate::store::JobView;

/// A job that was pushed, with its options. It equals a `J` with the same data.
#[derive(Clone, Debug)]
pub struct PushedJob<J> {
    /// Its number.
    pub id: JobId,
    /// Its data.
    pub job: J,
    /// When it may run.
    pub start: Start,
    /// Everything else that was said about it.
    pub meta: JobMeta,
}

/// A job that rests in `failed`.
#[derive(Clone, Debug)]
pub struct FailedJob {
    /// Its number.
    pub id: JobId,
    /// Its name.
    pub job: String,
    /// Its data as JSON.
    pub payload: String,
    /// Why it failed.
    pub reason: FailReason,
    /// The text of the last error.
    pub error: String,
    /// Its last errors, oldest first.
    pub errors: Vec<AttemptError>,
}

impl<J> PushedJob<J> {
    pub(super) fn of(id: JobId, pushed: &NewJob, job: J) -> Self {
        Self { id, job, start: pushed.start, meta: pushed.meta.clone() }
    }

    /// How long after the push it may run; `None` when at once, or when it was pushed for a certain time.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.start {
            Start::After(delay) => Some(delay),
            Start::Now | Start::At(_) => None,
        }
    }

    /// Its unique key.
    #[must_use]
    pub fn unique(&self) -> Option<&str> {
        self.meta.unique.as_deref()
    }

    /// Its priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.meta.priority
    }

    /// What was sent along.
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

/// A payload as a value, for which white space and the order of keys do not count.
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
