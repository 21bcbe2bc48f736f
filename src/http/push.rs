//! `POST /channels/{name}/jobs`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::parse::{self, ParseError, ParsedBody};
use super::response::{self, ErrorResponse, PushedJob, error_chain};
use super::{ListenerState, body};
use crate::queue::PushManyError;
use crate::store::{MAX_BATCH, PushError, Pushed};

/// Pushes one job or an array of jobs.
pub(super) async fn push(
    State(state): State<Arc<ListenerState>>,
    channel: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let Ok(Path(name)) = channel else { return Err(ErrorResponse::not_found()) };
    let lazy_queue = state.queues.lazy_queue(&name).map_err(|error| {
        // The error's own text names the configuration file, which producers must not learn.
        let (name, declared) = (error.name.escape_debug(), error.declared.join(", "));
        let text = format!("channel \"{name}\" is not declared; declared channels: {declared}");
        ErrorResponse::new(StatusCode::NOT_FOUND, text)
    })?;
    let (head, body) = request.into_parts();
    let received = body::read(&state, &head.headers, body).await?;
    let ParsedBody { is_array, jobs } = parse::parse(&received.bytes).map_err(parse_error)?;
    let permit = received.permit;
    drop(received.bytes);
    let queue = lazy_queue.queue().await.map_err(|error| ErrorResponse::store(&error))?;
    // A separate task: a client that disconnects cancels this handler, but the whole array is still pushed.
    let pushing = tokio::spawn(async move {
        let pushed = queue.push_jobs(jobs).await;
        drop(permit);
        pushed
    });
    let pushed = pushing.await.map_err(|_| {
        ErrorResponse::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the push was interrupted; some jobs may have been pushed",
        )
    })?;
    pushed.map(|pushed| added(is_array, pushed)).map_err(push_error)
}

/// The response when all jobs are in the store: 201, or 200 when none was added.
fn added(is_array: bool, pushed: Vec<Pushed>) -> Response {
    let pushed: Vec<_> = pushed.into_iter().map(PushedJob::from).collect();
    let status = if pushed.iter().any(|one| one.added) { StatusCode::CREATED } else { StatusCode::OK };
    match pushed.as_slice() {
        [one] if !is_array => response::json(status, one),
        all => response::json(status, &all),
    }
}

fn parse_error(error: ParseError) -> ErrorResponse {
    let text = error.to_string();
    match error {
        ParseError::Job(error) => ErrorResponse::bad_request(text).at(None, error.key()),
        ParseError::JobAt { index, error } => ErrorResponse::bad_request(text).at(Some(index), error.key()),
        ParseError::TooMany => ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        ParseError::Empty | ParseError::NotUtf8 | ParseError::NotJson(_) => ErrorResponse::bad_request(text),
    }
}

fn push_error(error: PushManyError) -> ErrorResponse {
    let PushManyError { pushed, source } = error;
    let response = match &source {
        PushError::Store(error) => ErrorResponse::store(error),
        // The store checks times by its own clock, which may differ from the listener's.
        PushError::Job { index, .. } | PushError::Payload { index, .. } => {
            ErrorResponse::bad_request(error_chain(&source)).at(Some(*index), None)
        }
        // These errors come from jobs that run inside the push, which no store does.
        PushError::Failed { .. } | PushError::TooLarge => {
            ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, error_chain(&source))
        }
    };
    response.with_pushed(pushed)
}

const _: () = assert!(parse::MAX_JOBS.is_multiple_of(MAX_BATCH), "a full request is made of full batches");
