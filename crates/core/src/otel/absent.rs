//! The types of a build without the feature `otel`: empty, without an effect.

use std::collections::BTreeMap;

use super::{RunFacts, TurnFacts};
use crate::job::{NewJob, Outcome};
use crate::store::Pushed;

/// The span of a push.
pub struct PushSpan;

impl PushSpan {
    pub fn begin(_: Option<&str>, _: &[NewJob], _: Option<&BTreeMap<String, String>>) -> Self {
        Self
    }

    /// The jobs as they are.
    pub fn jobs<'a>(&'a self, jobs: &'a [NewJob]) -> &'a [NewJob] {
        jobs
    }

    pub fn end<E>(self, _: &Result<Vec<Pushed>, E>) {}
}

/// The tracing of the runs of a channel.
#[derive(Clone, Debug, Default)]
pub struct RunTracing(());

impl RunTracing {
    pub fn begin(&self, _: &RunFacts<'_>) -> RunSpan {
        RunSpan
    }

    pub fn turned(&self, _: &str, _: TurnFacts) {}
}

/// The span of a run.
#[derive(Debug)]
pub struct RunSpan;

impl RunSpan {
    /// The headers as they are.
    pub fn headers(&self, headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        headers.clone()
    }

    pub fn end(self, _: &Outcome, _: Option<i32>) {}
}

/// The trace of a run in this process.
#[derive(Clone, Debug)]
pub struct HandlerTrace;

impl HandlerTrace {
    #[must_use]
    pub fn of(_: &BTreeMap<String, String>) -> Self {
        Self
    }

    pub fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        code()
    }
}

/// The future as it is.
pub fn within_trace<F: Future>(_: Option<&BTreeMap<String, String>>, future: F) -> F {
    future
}
