//! Permits of requests of one kind: a kind that takes all of its own leaves the others theirs.
//!
//! A request gets its permit once its head is read and authorized, and keeps it until its response. Requests of health and metrics
//! need none: they are answered from memory.

use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::event_log::EventCount;

/// The permits of one kind of requests.
pub struct Permits {
    free: Arc<Semaphore>,
    limit: usize,
    /// The remedy, for the log.
    remedy: &'static str,
    refused: Mutex<EventCount>,
}

/// The use of something limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The number in use.
    pub taken: usize,
    /// The most that can be.
    pub limit: usize,
}

/// As many requests as there are permits are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} requests are under way: retry, or send them one after the other")]
pub struct AtLimit(pub usize);

/// The right of one request to be served; given back on drop.
pub type Permit = OwnedSemaphorePermit;

impl Permits {
    /// Creates `limit` permits; `remedy` is for the log, as in "raise max_connections".
    #[must_use]
    pub fn new(limit: usize, remedy: &'static str) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit, remedy, refused: Mutex::default() }
    }

    /// The number of taken permits, and of all.
    #[must_use]
    pub fn used(&self) -> Used {
        Used { taken: self.limit - self.free.available_permits(), limit: self.limit }
    }

    /// Takes a permit for a request, without waiting.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take(&self, now: Instant) -> Result<Permit, AtLimit> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let mut refused = lock(&self.refused);
            refused.add();
            if let Some(refused) = refused.take_due(now) {
                let (limit, remedy) = (self.limit, self.remedy);
                warn!(refused, limit, "HTTP requests at their limit: refused more with 503; {remedy}");
            }
            AtLimit(self.limit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permit_is_free_again_after_its_request() {
        let permits = Permits::new(2, "raise the limit");
        let first = permits.take(Instant::now()).unwrap();
        let _second = permits.take(Instant::now()).unwrap();
        assert_eq!(permits.take(Instant::now()).err(), Some(AtLimit(2)));
        drop(first);
        assert!(permits.take(Instant::now()).is_ok());
    }
}
