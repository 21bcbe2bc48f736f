//! Spans of pushes and runs for OpenTelemetry, by its conventions for messaging.
//!
//! The spans go to the tracer provider of the process: an application sets one up with its own SDK, a master with the table
//! `[otel]` of its configuration. Without the feature `otel` every type here is empty, and every call does nothing.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod context;
#[cfg(feature = "otel")]
mod push;
#[cfg(feature = "otel")]
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(not(feature = "otel"))]
pub use absent::{HandlerTrace, PushSpan, RunSpan, RunTracing, within_trace};
#[cfg(feature = "otel")]
pub use context::{HandlerTrace, within_trace};
#[cfg(feature = "otel")]
pub use push::PushSpan;
#[cfg(feature = "otel")]
pub use run::{RunSpan, RunTracing};

use crate::job::JobId;

/// A run that begins.
#[derive(Clone, Copy, Debug)]
pub struct RunFacts<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The job.
    pub id: JobId,
    /// The job's name.
    pub job: &'a str,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Number of attempts the job has.
    pub max_attempts: u32,
    /// Whether the push was less than an hour ago.
    pub is_soon: bool,
    /// The headers of the job.
    pub headers: &'a BTreeMap<String, String>,
}

/// A turn that the store has answered.
#[derive(Clone, Copy, Debug)]
pub struct TurnFacts {
    /// Number of settlements.
    pub settled: usize,
    /// Number of leased jobs.
    pub leased: usize,
    /// Duration of the call.
    pub took: Duration,
}
