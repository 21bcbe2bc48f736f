//! The export of a build without the feature `otel`: nothing.

use aint_queue_core::otel::RunTracing;

use crate::config::{Mode, Otel};

/// The export of spans.
#[derive(Debug)]
pub struct SpanExport;

impl SpanExport {
    /// No export.
    #[must_use]
    pub fn start(_: Option<&Otel>) -> Self {
        Self
    }

    /// No tracing.
    #[must_use]
    pub fn run_tracing(&self, _: Mode) -> RunTracing {
        RunTracing::default()
    }

    /// Nothing to send.
    pub fn stop(&self) {}
}
