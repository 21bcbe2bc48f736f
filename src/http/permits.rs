//! Permits of requests of one kind: a kind that takes all of its own leaves the others theirs.
//!
//! A request gets its permit once its head is read and authorized, and keeps it until its response. Requests of health and metrics
//! need none: they are answered from memory.

use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use prometheus::{IntCounter, IntGauge};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::event_log::EventCount;
use crate::metrics::{RefusalReason, RequestKind, RequestMetrics};

/// The permits of one kind of requests.
pub struct Permits {
    free: Arc<Semaphore>,
    limit: usize,
    /// The remedy, for the log.
    remedy: &'static str,
    unlogged: Mutex<EventCount>,
    under_way: IntGauge,
    refusals: IntCounter,
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
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    under_way: IntGauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.under_way.dec();
    }
}

impl Permits {
    /// Creates `limit` permits of a kind; `remedy` is for the log, as in "raise max_connections".
    #[must_use]
    pub fn new(kind: RequestKind, limit: usize, remedy: &'static str, metrics: &RequestMetrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            remedy,
            unlogged: Mutex::default(),
            under_way: metrics.under_way(kind),
            refusals: metrics.refusals(RefusalReason::Limit(kind)),
        }
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
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            self.refusals.inc();
            let mut unlogged = lock(&self.unlogged);
            unlogged.add();
            if let Some(refused) = unlogged.take_due(now) {
                let (limit, remedy) = (self.limit, self.remedy);
                warn!(refused, limit, "HTTP requests at their limit: refused more with 503; {remedy}");
            }
            return Err(AtLimit(self.limit));
        };
        self.under_way.inc();
        Ok(Permit { _place: place, under_way: self.under_way.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn permit_is_free_again_after_its_request() {
        let metrics = Metrics::default().requests();
        let permits = Permits::new(RequestKind::Push, 2, "raise the limit", &metrics);
        let first = permits.take(Instant::now()).unwrap();
        let _second = permits.take(Instant::now()).unwrap();
        assert_eq!(permits.take(Instant::now()).err(), Some(AtLimit(2)));
        let refusals = metrics.refusals(RefusalReason::Limit(RequestKind::Push)).get();
        assert_eq!((metrics.under_way(RequestKind::Push).get(), refusals), (2, 1));
        drop(first);
        assert_eq!(metrics.under_way(RequestKind::Push).get(), 1);
        assert!(permits.take(Instant::now()).is_ok());
    }
}
