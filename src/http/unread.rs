//! Responses that clients have not read: their memory is counted until it is written.
//!
//! The response to a large array of jobs, the metrics and the pages of the dashboard may have hundreds of kilobytes, and every
//! connection may have one that its client does not read. While memory is short, a connection whose client reads nothing gives
//! way sooner.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::response::ErrorResponse;
use crate::producer_memory::{MemoryBudget, ProducerMemory, Reservation};

/// Responses up to this size are not counted: there are as many of them as connections.
const SMALL_RESPONSE: usize = 4 << 10;
/// Most bytes of a pushed job in a response, as JSON.
const PUSHED_JOB_BYTES: usize = 48;

/// The memory for unread responses, and the longest wait for it. Cheap to clone.
#[derive(Clone)]
pub(super) struct UnreadMemory {
    pushes: MemoryBudget,
    /// Of all else: producers never keep a scrape waiting.
    pages: MemoryBudget,
    limit: Duration,
}

/// The memory of one response.
#[derive(Clone)]
struct Reserved(Arc<Reservation>);

impl UnreadMemory {
    pub(super) fn new(memory: &ProducerMemory, limit: Duration) -> Self {
        Self { pushes: memory.responses.clone(), pages: memory.pages.clone(), limit }
    }

    /// Whether clients that do not read their responses have to give way.
    pub(super) fn is_short(&self) -> bool {
        self.pushes.is_short() || self.pages.is_short()
    }

    /// Waits for the memory of the response to a push of this many jobs; `None` for a small response.
    pub(super) async fn for_push(&self, jobs: usize) -> Result<Option<Reservation>, ErrorResponse> {
        match jobs * PUSHED_JOB_BYTES {
            ..=SMALL_RESPONSE => Ok(None),
            bytes => {
                let reserved = timeout(self.limit, self.pushes.reserve(bytes)).await;
                reserved.map(Some).map_err(|_| ErrorResponse::producers_busy())
            }
        }
    }

    async fn for_page(&self, bytes: usize) -> Result<Reservation, ErrorResponse> {
        let reserved = timeout(self.limit, self.pages.reserve(bytes)).await;
        reserved.map_err(|_| ErrorResponse::responses_unread())
    }
}

/// The response with memory that was reserved for it.
pub(super) fn with_memory(response: impl IntoResponse, memory: Option<Reservation>) -> Response {
    let mut response = response.into_response();
    if let Some(memory) = memory {
        response.extensions_mut().insert(Reserved(Arc::new(memory)));
    }
    response
}

/// Keeps the memory of a response reserved until its last byte is written.
pub(super) async fn counted(State(memory): State<UnreadMemory>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let reserved =
        response.extensions_mut().remove::<Reserved>().and_then(|Reserved(memory)| Arc::into_inner(memory));
    // A stream has no size. Its parts are small, and few of them wait.
    let Some(size) = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok()) else {
        return response;
    };
    if size <= SMALL_RESPONSE {
        return response;
    }
    let reserved = match reserved {
        Some(mut reserved) => {
            reserved.shrink_to(size);
            reserved
        }
        None => match memory.for_page(size).await {
            Ok(reserved) => reserved,
            Err(busy) => return busy.into_response(),
        },
    };
    let (head, body) = response.into_parts();
    // A body of known size is in memory already.
    let Ok(body) = body.collect().await else { return ErrorResponse::responses_unread().into_response() };
    let kept = Kept { bytes: body.to_bytes(), _memory: reserved };
    Response::from_parts(head, Body::from(Bytes::from_owner(kept)))
}

/// Bytes with their memory. The connection drops them once they are written.
struct Kept {
    bytes: Bytes,
    _memory: Reservation,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
