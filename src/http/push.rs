//! `POST /channels/{name}/jobs`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ListenerState;
use super::body::{self, ReceivedBody};
use super::parse::{self, ParseError, ParsedBody};
use super::response::{self, ErrorResponse, PushedJob, error_chain};
use super::unread;
use crate::metrics::PushedVia;
use crate::producer_memory::{BATCH_BYTES, Reservation};
use crate::queue::{PushManyError, Queue};
use crate::queue_set::LazyQueue;
use crate::store::{MAX_BATCH, PushError, PushSize, Pushed};

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
    let received =
        body::read(&state, &head.headers, body).await.inspect_err(|error| error.count_for(&name))?;
    // A separate task: a client that disconnects cancels this handler, but the whole array is still pushed.
    let pushing = tokio::spawn(push_body(state, name, lazy_queue, received));
    pushing.await.map_err(|_| {
        ErrorResponse::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the push was interrupted; some jobs may have been pushed",
        )
    })?
}

/// Checks every job of a body, then pushes them. Only a batch of them is in memory at once.
async fn push_body(
    state: Arc<ListenerState>,
    channel: String,
    lazy_queue: Arc<LazyQueue>,
    received: ReceivedBody,
) -> Result<Response, ErrorResponse> {
    let ReceivedBody { bytes, reservation: _reservation, is_small } = received;
    let small = is_small.then(|| parse::parse(&bytes).map_err(parse_error)).transpose()?;
    let jobs = small.as_ref().map_or(parse::most_jobs(bytes.len()), ParsedBody::len);
    let unread = state.unread.for_push(jobs).await.inspect_err(|error| error.count_for(&channel))?;
    // A response that waits for room must not keep the others from their batch.
    let _batch = match is_small {
        true => None,
        false => Some(batch_memory(&state).await.inspect_err(|error| error.count_for(&channel))?),
    };
    // The list of the jobs may be larger than the body.
    let body = match small {
        Some(body) => body,
        None => parse::parse(&bytes).map_err(parse_error)?,
    };
    let answer = push_parsed(&state, &channel, &lazy_queue, &body).await;
    Ok(unread::with_memory(answer, unread))
}

/// Checks the jobs of a body and pushes them.
async fn push_parsed(
    state: &ListenerState,
    channel: &str,
    lazy_queue: &LazyQueue,
    body: &ParsedBody<'_>,
) -> Result<Response, ErrorResponse> {
    let size = match body.len() {
        0 | 1 => PushSize::default(),
        _ => check(body).await.map_err(parse_error)?,
    };
    let queue = lazy_queue.queue().await.map_err(|error| ErrorResponse::store(&error))?;
    queue
        .check_size(size)
        .map_err(|error| push_error(PushManyError { pushed: Vec::new(), source: error }))?;
    let result = push_jobs(&queue, body).await;
    let added = match &result {
        Ok(pushed) => pushed.iter().filter(|pushed| matches!(pushed, Pushed::Added(_))).count(),
        Err(error) => error.added(),
    };
    state.metrics.pushed(channel, PushedVia::Http, added as u64);
    Ok(response_to(body.is_array, result?))
}

/// Pushes the jobs of a body in batches. An error has the jobs that are in the store.
async fn push_jobs(queue: &Queue, body: &ParsedBody<'_>) -> Result<Vec<Pushed>, ErrorResponse> {
    let (mut batch, mut pushed) = (queue.batch(), Vec::new());
    for index in 0..body.len() {
        let job = match body.job(index) {
            Ok(job) => job,
            // The clock has made a time invalid since the check.
            Err(error) => return Err(parse_error(error).with_pushed(pushed)),
        };
        if !batch.has_room_for(&job) {
            queue.flush(&mut batch, &mut pushed).await.map_err(push_error)?;
        }
        batch.add(job);
    }
    queue.flush(&mut batch, &mut pushed).await.map_err(push_error)?;
    Ok(pushed)
}

/// Waits for the memory of a batch of parsed jobs.
async fn batch_memory(state: &ListenerState) -> Result<Reservation, ErrorResponse> {
    let reserving = state.memory.batches.reserve(BATCH_BYTES);
    let reserved = tokio::time::timeout(state.settings.timeout, reserving).await;
    reserved.map_err(|_| ErrorResponse::producers_busy())
}

/// Parses every job, without keeping it. Answers the least that they add to the channel.
async fn check(body: &ParsedBody<'_>) -> Result<PushSize, ParseError> {
    let mut size = PushSize::default();
    for index in 0..body.len() {
        size.add(&body.job(index)?);
        if index % MAX_BATCH == MAX_BATCH - 1 {
            // Other requests have their turn.
            tokio::task::yield_now().await;
        }
    }
    Ok(size)
}

/// The response when all jobs are in the store: 201, or 200 when none was added.
fn response_to(is_array: bool, pushed: Vec<Pushed>) -> Response {
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
        ParseError::TooDeep => ErrorResponse::bad_request(text),
        ParseError::TooMany => ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        ParseError::Empty | ParseError::NotUtf8 | ParseError::NotJson(_) => ErrorResponse::bad_request(text),
    }
}

fn push_error(error: PushManyError) -> ErrorResponse {
    let PushManyError { pushed, source } = error;
    let response = match &source {
        PushError::Store(error) => ErrorResponse::store(error),
        PushError::NeverFits { .. } => {
            ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, error_chain(&source))
        }
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
