//! Answers: JSON, and for everything that is refused the reason, its place and what would be right.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::job::JobId;
use crate::store::{Pushed, StoreError};

/// When to come back after the store was away, in seconds: it is looked for all the time.
const RETRY_AFTER_UNAVAILABLE: u32 = 1;
/// When to come back after the store was full, in seconds: somebody has to make room.
const RETRY_AFTER_FULL: u32 = 30;

/// What became of one job.
#[derive(Debug, Serialize)]
pub(super) struct PushedJob {
    id: JobId,
    /// Whether it was added; otherwise the job with its unique key has this id.
    pub(super) added: bool,
}

impl From<Pushed> for PushedJob {
    fn from(pushed: Pushed) -> Self {
        Self { id: pushed.id(), added: matches!(pushed, Pushed::Added(_)) }
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    body: Box<ErrorBody>,
    extra_header: Option<ExtraHeader>,
    /// The rest of the body is not worth reading.
    close_connection: bool,
}

/// What a status needs beside the body.
#[derive(Clone, Copy, Debug)]
enum ExtraHeader {
    /// Come back after so many seconds.
    RetryAfter(u32),
    /// How to say who one is.
    Authenticate,
}

/// The body of a [`ErrorResponse`].
#[derive(Debug, Serialize)]
struct ErrorBody {
    error: String,
    /// The place in the array, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The key of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// What became of the first jobs of an array, where they were pushed before the failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pushed: Vec<PushedJob>,
}

/// An answer that all went well.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("answers of our own have a JSON form");
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
        Self { status, body: Box::new(body), extra_header: None, close_connection: false }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is nothing here: jobs are pushed with POST /channels/{name}/jobs",
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here: jobs are pushed with POST")
    }

    pub(super) fn unauthorized() -> Self {
        let error = "the token is missing or wrong: send it as \"Authorization: Bearer …\"";
        Self::new(StatusCode::UNAUTHORIZED, error).with(ExtraHeader::Authenticate)
    }

    pub(super) fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
            .with(ExtraHeader::RetryAfter(RETRY_AFTER_UNAVAILABLE))
    }

    /// The store did not do it.
    pub(super) fn store(error: &StoreError) -> Self {
        let text = error_chain(error);
        match error {
            StoreError::Full { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                .with(ExtraHeader::RetryAfter(RETRY_AFTER_FULL)),
            StoreError::Unavailable { .. } => Self::unavailable(text),
            // Coming back does not help: somebody has to mend something, as the message says.
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }

    /// Names what the error is about.
    pub(super) fn at(mut self, index: Option<usize>, field: Option<&'static str>) -> Self {
        (self.body.index, self.body.field) = (index, field);
        self
    }

    /// Tells what was done all the same.
    pub(super) fn with_pushed(mut self, pushed: Vec<Pushed>) -> Self {
        self.body.pushed = pushed.into_iter().map(PushedJob::from).collect();
        self
    }

    /// Ends the connection with this answer.
    pub(super) fn closing(mut self) -> Self {
        self.close_connection = true;
        self
    }

    fn with(mut self, extra_header: ExtraHeader) -> Self {
        self.extra_header = Some(extra_header);
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
        let headers = response.headers_mut();
        match self.extra_header {
            Some(ExtraHeader::RetryAfter(seconds)) => _ = headers.insert(RETRY_AFTER, seconds.into()),
            Some(ExtraHeader::Authenticate) => {
                let how = HeaderValue::from_static("Bearer realm=\"aint-queue\"");
                headers.insert(WWW_AUTHENTICATE, how);
            }
            None => {}
        }
        if self.close_connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An error with its causes, each said once.
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
