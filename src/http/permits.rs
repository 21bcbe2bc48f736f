//! Permits of requests of one kind: a kind that takes all of its own leaves the others theirs.
//!
//! A request gets its permit once its head is read and authorized, and keeps it until its response. Requests of health and metrics
//! need none: they are answered from memory.

use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::event_log::EventCount;
use super::response::ErrorResponse;

/// The permits of one kind of requests.
pub(super) struct Permits {
    free: Arc<Semaphore>,
    limit: usize,
    /// The key of the configuration that sets the limit.
    key: &'static str,
    refused: Mutex<EventCount>,
}

/// The right of one request to be served; given back on drop.
pub(super) type Permit = OwnedSemaphorePermit;

impl Permits {
    pub(super) fn new(limit: usize, key: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit, key, refused: Mutex::default() }
    }

    /// Takes a permit for a request, without waiting.
    pub(super) fn take(&self, now: Instant) -> Result<Permit, ErrorResponse> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let mut refused = lock(&self.refused);
            refused.add();
            if let Some(refused) = refused.take_due(now) {
                let (limit, key) = (self.limit, self.key);
                warn!(
                    refused,
                    limit, "HTTP requests at their limit: refused more with 503; raise {key} if this repeats"
                );
            }
            ErrorResponse::unavailable(format!(
                "{} requests are under way: retry, or send them one after the other",
                self.limit
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permit_is_free_again_after_its_request() {
        let permits = Permits::new(2, "max_connections in [http]");
        let first = permits.take(Instant::now()).unwrap();
        let _second = permits.take(Instant::now()).unwrap();
        let refusal = permits.take(Instant::now()).err().unwrap();
        assert_eq!(refusal.status(), 503);
        drop(first);
        assert!(permits.take(Instant::now()).is_ok());
    }
}
