//! Metrics and health of the master, as a listener shows them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::auth::MayRead;
use super::response::{self, ErrorResponse};

/// Time for which an answer is used again: any number of scrapes and probes costs as much as one a second.
const REUSE: Duration = Duration::from_secs(1);

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
    metrics: Mutex<Option<(Instant, Arc<str>)>>,
    health: tokio::sync::Mutex<Option<(Instant, Arc<[ChannelHealth]>)>>,
}

impl View {
    pub(super) fn new(observed: Arc<dyn Observed>) -> Self {
        Self { observed, metrics: Mutex::default(), health: tokio::sync::Mutex::default() }
    }

    fn metrics(&self, now: Instant) -> Arc<str> {
        let mut last = lock(&self.metrics);
        match &*last {
            Some((at, text)) if now.duration_since(*at) < REUSE => Arc::clone(text),
            _ => {
                let text: Arc<str> = self.observed.metrics().into();
                *last = Some((now, Arc::clone(&text)));
                text
            }
        }
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
pub(super) async fn metrics(State(view): State<Arc<View>>) -> Response {
    let mut response = Response::new(Body::from(view.metrics(Instant::now()).to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
