//! `POST /channels/{name}/jobs`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{self, Added, Refusal, chain};
use super::body;
use super::input::{self, Input, Wrong};
use crate::queue::{PushManyError, Queue};
use crate::queues::Door;
use crate::store::{MAX_BATCH, PushError, Pushed};

/// Pushes one job or an array of jobs.
pub(super) async fn push(
    State(state): State<Arc<super::State>>,
    channel: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Ok(Path(name)) = channel else { return Err(Refusal::no_such_page()) };
    let door = state.queues.door(&name).map_err(|error| {
        // The error's own text names the file, which is nothing to producers.
        let (name, declared) = (error.name.escape_debug(), error.declared.join(", "));
        let text = format!("channel \"{name}\" is not declared; declared are: {declared}");
        Refusal::new(StatusCode::NOT_FOUND, text)
    })?;
    let (head, body) = request.into_parts();
    let taken = body::read(&state, &head.headers, body).await?;
    let Input { many, jobs } = input::parse(&taken.bytes).map_err(wrong)?;
    let place = taken.place;
    drop(taken.bytes);
    let queue = open(&door).await?;
    // A task of its own: a client that goes away in the middle does not leave half an array behind.
    let pushing = tokio::spawn(async move {
        let pushed = queue.push_jobs(jobs).await;
        drop(place);
        pushed
    });
    let pushed = pushing.await.map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "pushing broke off; some jobs may have been pushed")
    })?;
    pushed.map(|pushed| added(many, pushed)).map_err(not_all)
}

async fn open(door: &Door) -> Result<Queue, Refusal> {
    door.queue().await.map_err(|error| Refusal::store(&error))
}

/// The answer to jobs that are all in the store now: 201, or 200 when none was added.
fn added(many: bool, pushed: Vec<Pushed>) -> Response {
    let pushed: Vec<_> = pushed.into_iter().map(Added::from).collect();
    let status = if pushed.iter().any(|one| one.added) { StatusCode::CREATED } else { StatusCode::OK };
    match pushed.as_slice() {
        [one] if !many => answer::json(status, one),
        all => answer::json(status, &all),
    }
}

fn wrong(wrong: Wrong) -> Refusal {
    let text = wrong.to_string();
    match wrong {
        Wrong::Job(error) => Refusal::bad(text).about(None, error.key()),
        Wrong::JobAt { index, error } => Refusal::bad(text).about(Some(index), error.key()),
        Wrong::TooMany => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        Wrong::Empty | Wrong::NotUtf8 | Wrong::NotJson(_) => Refusal::bad(text),
    }
}

fn not_all(error: PushManyError) -> Refusal {
    let PushManyError { pushed, source } = error;
    let refusal = match &source {
        PushError::Store(error) => Refusal::store(error),
        // The store's clock may see a time differently than ours did.
        PushError::Job { index, .. } | PushError::Payload { index, .. } => {
            Refusal::bad(chain(&source)).about(Some(*index), None)
        }
        // No store runs jobs.
        PushError::Failed { .. } | PushError::TooLarge => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, chain(&source))
        }
    };
    refusal.after(pushed)
}

const _: () = assert!(input::MAX_JOBS.is_multiple_of(MAX_BATCH), "a full request is made of full batches");
