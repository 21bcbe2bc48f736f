//! Responses in JSON. An error response has the reason, the place in the request and the remedy.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::job::JobId;
use crate::store::{Pushed, RefusedPushes, StoreError};

/// `Retry-After` while the store is unavailable, in seconds: it may return at any time.
const RETRY_AFTER_UNAVAILABLE: u32 = 1;
/// `Retry-After` while the store is full, in seconds: an operator has to free memory.
const RETRY_AFTER_FULL: u32 = 30;

/// The result of pushing one job.
#[derive(Debug, Serialize)]
pub(super) struct PushedJob {
    id: JobId,
    /// Whether the job was added; if not, `id` is that of the job that holds its unique key.
    pub(super) added: bool,
}

impl From<Pushed> for PushedJob {
    fn from(pushed: Pushed) -> Self {
        Self { id: pushed.id(), added: matches!(pushed, Pushed::Added(_)) }
    }
}

/// The response to a request that failed or was refused.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    body: Box<ErrorBody>,
    extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// The requests of all producers had no room in memory.
    is_for_memory: bool,
}

/// The body of a [`ErrorResponse`].
#[derive(Debug, Serialize)]
struct ErrorBody {
    error: String,
    /// Index in the array, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The key of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The jobs of the array that were pushed before the failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pushed: Vec<PushedJob>,
}

/// A response with status 200.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("a response body is plain data");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let body = ErrorBody { error: error.into(), index: None, field: None, pushed: Vec::new() };
        Self { status, body: Box::new(body), extra_headers: Vec::new(), is_for_memory: false }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found: push jobs with POST /channels/{name}/jobs")
    }

    pub(super) fn only_metrics() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found: this listener has /metrics, /healthz and /readyz")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method not allowed: push jobs with POST, read metrics and health with GET",
        )
    }

    pub(super) fn unauthorized() -> Self {
        let error = "the token is missing or wrong: send it as \"Authorization: Bearer …\"";
        let how = HeaderValue::from_static("Bearer realm=\"aint-queue\"");
        Self::new(StatusCode::UNAUTHORIZED, error).with(WWW_AUTHENTICATE, how)
    }

    pub(super) fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error).with(RETRY_AFTER, RETRY_AFTER_UNAVAILABLE.into())
    }

    /// The requests of all producers have no room in memory.
    pub(super) fn producers_busy() -> Self {
        let error = "requests of all producers have too many bytes at once: retry, or send smaller requests";
        Self { is_for_memory: true, ..Self::unavailable(error) }
    }

    /// Clients have not read the responses to earlier requests.
    pub(super) fn responses_unread() -> Self {
        Self::unavailable("clients have too many unread responses: read them, and retry")
    }

    /// Counts a refusal for lack of memory with the refused pushes into a channel.
    pub(super) fn count_for(&self, channel: &str) {
        if self.is_for_memory {
            RefusedPushes::count_without_memory(channel);
        }
    }

    /// The store has failed or refused.
    pub(super) fn store(error: &StoreError) -> Self {
        let text = error_chain(error);
        match error {
            StoreError::Full { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).with(RETRY_AFTER, RETRY_AFTER_FULL.into())
            }
            StoreError::Unavailable { .. } => Self::unavailable(text),
            // A retry does not help: the message has the remedy for the operator.
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }

    /// Sets the job and the key that the error is about.
    pub(super) fn at(mut self, index: Option<usize>, field: Option<&str>) -> Self {
        (self.body.index, self.body.field) = (index, field.map(str::to_owned));
        self
    }

    /// Adds the jobs that were pushed nevertheless.
    pub(super) fn with_pushed(mut self, pushed: Vec<Pushed>) -> Self {
        self.body.pushed = pushed.into_iter().map(PushedJob::from).collect();
        self
    }

    /// Number of jobs that were added before the error.
    pub(super) fn added(&self) -> usize {
        self.body.pushed.iter().filter(|job| job.added).count()
    }

    /// Closes the connection after this response, because the rest of the body stays unread.
    pub(super) fn closing(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extra_headers.push((name, value));
        self
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &*self.body);
        response.headers_mut().extend(self.extra_headers);
        response
    }
}

/// An error with its causes, without repetitions.
pub(super) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
