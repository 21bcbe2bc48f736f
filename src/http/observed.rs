//! Metrics and health of the master, as a listener shows them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::auth::MayRead;
use super::response::{self, ErrorResponse};

/// Time for which an answer is used again: any number of scrapes and probes costs as much as one a second.
const REUSE: Duration = Duration::from_secs(1);

/// Metrics up to this size are not compressed: that would save nothing worth its time.
const MIN_COMPRESSED_BYTES: usize = 8 << 10;

/// The source of metrics and health.
#[async_trait]
pub trait Observed: Send + Sync {
    /// The metrics in the text format of Prometheus, from memory.
    fn metrics(&self) -> String;

    /// The health of each channel that is served. Channels that do not answer within five seconds are `stuck`.
    async fn health(&self) -> Vec<ChannelHealth>;
}

/// The health of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelHealth {
    /// The name of the channel.
    pub name: String,
    /// The actor of the channel does not answer.
    pub stuck: bool,
    /// Why the store cannot be used.
    pub store_error: Option<String>,
    /// Why no worker can be started.
    pub degraded: Option<String>,
    /// The channel stops.
    pub stopping: bool,
    /// `queue:quiet` is in effect.
    pub quiet: bool,
}

/// A reason why a channel is not ready: words for all clients, and details for readers of metrics.
struct Reason {
    words: &'static str,
    details: Option<String>,
}

impl ChannelHealth {
    /// Why the channel is not ready; quiet is a reason only if `strict`. A paused channel is ready.
    fn reasons(&self, strict: bool) -> Vec<Reason> {
        let found = |is: bool, words| is.then_some(Reason { words, details: None });
        let with = |error: &Option<String>, words| {
            error.as_ref().map(|error| Reason { words, details: Some(format!("{words}: {error}")) })
        };
        [
            found(self.stuck, "the channel does not answer"),
            with(&self.store_error, "the store is not available"),
            with(&self.degraded, "no worker can be started"),
            found(self.stopping, "stopping"),
            found(strict && self.quiet, "quiet"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The last answers of an [`Observed`].
pub(super) struct View {
    observed: Arc<dyn Observed>,
    metrics: Mutex<Option<RenderedMetrics>>,
    health: tokio::sync::Mutex<Option<(Instant, Arc<[ChannelHealth]>)>>,
}

/// The metrics at a time.
struct RenderedMetrics {
    at: Instant,
    text: Bytes,
    /// Made when a client asks for it.
    gzip: Option<Bytes>,
}

impl RenderedMetrics {
    fn gzip(&mut self) -> std::io::Result<Bytes> {
        if let Some(gzip) = &self.gzip {
            return Ok(gzip.clone());
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.text)?;
        let gzip = Bytes::from(encoder.finish()?);
        self.gzip = Some(gzip.clone());
        Ok(gzip)
    }
}

impl View {
    pub(super) fn new(observed: Arc<dyn Observed>) -> Self {
        Self { observed, metrics: Mutex::default(), health: tokio::sync::Mutex::default() }
    }

    /// The metrics, compressed for clients that accept it if they are large, and whether they are.
    fn metrics(&self, accepts_gzip: bool, now: Instant) -> (Bytes, bool) {
        let mut last = lock(&self.metrics);
        let last = match &mut *last {
            Some(rendered) if now.duration_since(rendered.at) < REUSE => rendered,
            last => {
                last.insert(RenderedMetrics { at: now, text: self.observed.metrics().into(), gzip: None })
            }
        };
        if accepts_gzip
            && last.text.len() > MIN_COMPRESSED_BYTES
            && let Ok(gzip) = last.gzip()
        {
            return (gzip, true);
        }
        (last.text.clone(), false)
    }

    async fn health(&self) -> Arc<[ChannelHealth]> {
        let mut last = self.health.lock().await;
        match &*last {
            Some((at, health)) if at.elapsed() < REUSE => Arc::clone(health),
            _ => {
                let health: Arc<[_]> = self.observed.health().await.into();
                *last = Some((Instant::now(), Arc::clone(&health)));
                health
            }
        }
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(view): State<Arc<View>>, headers: HeaderMap) -> Response {
    let (metrics, is_gzip) = view.metrics(accepts_gzip(&headers), Instant::now());
    let mut response = Response::new(Body::from(metrics));
    let headers = response.headers_mut();
    if is_gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether a client names gzip, or any encoding, without the weight 0. The name counts before the asterisk.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let sent = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = sent.flat_map(|value| value.split(',')).map(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        (name.trim(), weight.is_none_or(|weight| weight > 0.0))
    });
    let codings: Vec<_> = codings.collect();
    let weight = |wanted: &str| {
        codings.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, accepted)| *accepted)
    };
    weight("gzip").or_else(|| weight("*")).unwrap_or(false)
}

/// `GET /healthz` and `GET /health`: whether the master works, whatever its store does. A service manager restarts what fails here.
pub(super) async fn healthz(State(view): State<Arc<View>>) -> Response {
    if view.health().await.iter().any(|channel| channel.stuck) {
        let body = json!({ "status": "stuck", "error": "a channel does not answer" });
        return response::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    response::ok(&json!({ "status": "ok" }))
}

/// The parameters of `/readyz`.
#[derive(Debug, Deserialize)]
pub(super) struct ReadyQuery {
    channel: Option<String>,
    strict: Option<String>,
}

/// `GET /readyz`: whether jobs of every channel, or of one, can run now.
pub(super) async fn readyz(
    State(view): State<Arc<View>>,
    Extension(may_read): Extension<MayRead>,
    Query(query): Query<ReadyQuery>,
) -> Response {
    let health = view.health().await;
    let mut channels: Vec<_> = health.iter().collect();
    if let Some(name) = &query.channel {
        channels.retain(|channel| channel.name == *name);
        if channels.is_empty() && may_read.0 {
            let error = "this master does not serve the channel";
            return ErrorResponse::new(StatusCode::NOT_FOUND, error).into_response();
        }
        if channels.is_empty() {
            // For a stranger the same as a channel that does not answer: which channels exist is for readers.
            let stuck = ChannelHealth { stuck: true, ..ChannelHealth::default() };
            let (status, body) = readiness(&[&stuck], false, false);
            return response::json(status, &body);
        }
    }
    let (status, body) = readiness(&channels, query.strict.is_some(), may_read.0);
    response::json(status, &body)
}

/// The status and the body of an answer about these channels.
fn readiness(channels: &[&ChannelHealth], strict: bool, may_read: bool) -> (StatusCode, Value) {
    let mut ready = true;
    let (mut words, mut by_name) = (Vec::new(), Map::new());
    for channel in channels {
        let reasons = channel.reasons(strict);
        ready &= reasons.is_empty();
        let details: Vec<_> =
            reasons.iter().map(|reason| reason.details.as_deref().unwrap_or(reason.words)).collect();
        by_name.insert(channel.name.clone(), json!({ "ready": details.is_empty(), "reasons": details }));
        words.extend(reasons.iter().map(|reason| reason.words));
    }
    words.sort_unstable();
    words.dedup();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match may_read {
        true => (status, json!({ "ready": ready, "channels": by_name })),
        false => (status, json!({ "ready": ready, "reasons": words })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelHealth {
        ChannelHealth { name: name.to_owned(), ..ChannelHealth::default() }
    }

    /// Metrics of this many bytes.
    struct Sized(usize);

    #[async_trait]
    impl Observed for Sized {
        fn metrics(&self) -> String {
            "m".repeat(self.0)
        }

        async fn health(&self) -> Vec<ChannelHealth> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn large_metrics_are_compressed_for_clients_that_accept_it() {
        let scrape = async |bytes: usize, accepted: &'static str| {
            let view = Arc::new(View::new(Arc::new(Sized(bytes))));
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            let (head, body) = metrics(State(view), headers).await.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            (head.headers.get(CONTENT_ENCODING).cloned(), body)
        };
        let large = MIN_COMPRESSED_BYTES + 1;
        for accepted in ["gzip", "deflate, GZIP;q=0.5", "*", "identity;q=0, *;q=1"] {
            let (coding, body) = scrape(large, accepted).await;
            assert_eq!(coding.unwrap(), "gzip", "{accepted}");
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
            assert_eq!(text, "m".repeat(large));
        }
        for (bytes, accepted) in
            [(large, ""), (large, "identity"), (large, "gzip;q=0, *"), (large, "br"), (large - 1, "gzip")]
        {
            let (coding, body) = scrape(bytes, accepted).await;
            assert!(coding.is_none() && body.len() == bytes, "{accepted}");
        }
    }

    #[test]
    fn reasons_are_words_for_strangers_and_details_for_readers() {
        let mail = ChannelHealth { store_error: Some("10.0.0.5: refused".to_owned()), ..channel("mail") };
        let (ready, body) = readiness(&[&channel("a"), &mail], false, true);
        assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            json!({ "ready": false, "channels": {
                "a": { "ready": true, "reasons": [] },
                "mail": { "ready": false, "reasons": ["the store is not available: 10.0.0.5: refused"] },
            } })
        );
        let (_, body) = readiness(&[&channel("a"), &mail], false, false);
        assert_eq!(body, json!({ "ready": false, "reasons": ["the store is not available"] }));
    }

    #[test]
    fn quiet_channel_is_ready_unless_asked_strictly() {
        let quiet = ChannelHealth { quiet: true, ..channel("a") };
        assert_eq!(
            readiness(&[&quiet], false, false),
            (StatusCode::OK, json!({ "ready": true, "reasons": [] }))
        );
        assert_eq!(readiness(&[&quiet], true, false).0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
