//! The set-up of the export, from the configuration and the environment.

use std::env;
use std::error::Error;

use aint_queue_core::otel::RunTracing;
use opentelemetry::{Key, KeyValue, global};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter};
use tracing::{info, warn};

use super::client::CollectorClient;
use super::processor::{EXPORT_TIMEOUT, QueueProcessor, STOP_TIMEOUT};
use crate::config::{Mode, Otel, traces_endpoint};

/// The name of the service by default.
const DEFAULT_SERVICE: &str = "aint-queue";

/// The export of the spans of this process; off unless it is configured.
#[derive(Debug)]
pub struct SpanExport(Option<Running>);

#[derive(Debug)]
struct Running {
    provider: SdkTracerProvider,
    config: Option<Otel>,
}

impl SpanExport {
    /// Starts the export that `[otel]` or the environment asks for. A mistake in either is logged, and costs the spans only.
    #[must_use]
    pub fn start(config: Option<&Otel>) -> Self {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let Some(endpoint) = traces_endpoint(config, &variable) else { return Self(None) };
        match provider(config, &endpoint, &variable) {
            Ok(provider) => {
                info!(%endpoint, "traces on: spans go to this collector");
                global::set_tracer_provider(provider.clone());
                Self(Some(Running { provider, config: config.cloned() }))
            }
            Err(error) => {
                warn!(%endpoint, error, "traces off: the export could not be set up; check [otel] and the variables OTEL_…");
                Self(None)
            }
        }
    }

    /// The tracing of runs in workers of this mode.
    #[must_use]
    pub fn run_tracing(&self, mode: Mode) -> RunTracing {
        match &self.0 {
            None => RunTracing::default(),
            Some(running) => {
                let (parent, turns) =
                    running.config.as_ref().map(|config| (config.parent, config.turns)).unwrap_or_default();
                RunTracing::on(parent, mode.as_str(), turns)
            }
        }
    }

    /// Sends what is queued, within a second, and ends the export.
    pub fn stop(&self) {
        if let Some(running) = &self.0 {
            // The processor reports what it could not send.
            let _ = running.provider.shutdown_with_timeout(STOP_TIMEOUT);
        }
    }
}

fn provider(
    config: Option<&Otel>,
    endpoint: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<SdkTracerProvider, Box<dyn Error + Send + Sync>> {
    let resource = resource(config, variable);
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(CollectorClient::new(endpoint.starts_with("https:"))?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        // The queue retries, where a stop can end the wait.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    exporter.set_resource(&resource);
    let processor = QueueProcessor::start(exporter, endpoint)?;
    let builder = SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor);
    let builder = match config.and_then(|config| config.sample_ratio) {
        Some(ratio) => {
            builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        }
        // The SDK reads OTEL_TRACES_SAMPLER.
        None => builder,
    };
    Ok(builder.build())
}

/// The process in traces: its service, and what OTEL_RESOURCE_ATTRIBUTES adds.
fn resource(config: Option<&Otel>, variable: &dyn Fn(&str) -> Option<String>) -> Resource {
    let found = Resource::builder().build();
    let name = Key::from_static_str("service.name");
    let of_resource = found.get(&name).map(|name| name.to_string());
    let of_resource = of_resource.filter(|name| !name.starts_with("unknown_service"));
    let written = config.and_then(|config| config.service_name.clone());
    let service = written.or_else(|| variable("OTEL_SERVICE_NAME")).or(of_resource);
    Resource::builder()
        .with_service_name(service.unwrap_or_else(|| DEFAULT_SERVICE.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build()
}
