//! Sends the spans of this process to an OpenTelemetry collector, as the table `[otel]` of the configuration says.
//!
//! A span goes into a bounded queue (`processor`); a thread of its own sends batches over HTTP (`client`). A collector that
//! is slow or down costs spans, which are counted and reported, and never delays a job. Without the feature `otel` nothing of
//! this is compiled.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod client;
#[cfg(feature = "otel")]
mod exporter;
#[cfg(feature = "otel")]
mod processor;

#[cfg(not(feature = "otel"))]
pub use absent::SpanExport;
#[cfg(feature = "otel")]
pub use exporter::SpanExport;
