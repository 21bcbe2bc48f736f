//! The wait of an idle channel for work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;

/// Shortest pause after a wait that failed: the wait must not spin while the store is unavailable.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after a wait that failed: the channel must not sleep past the end of an outage.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The wait for the store to announce work.
pub(super) struct WorkWait {
    store: Arc<dyn Store>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl WorkWait {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, wait: None }
    }

    /// Starts to wait for at most `timeout`, unless a wait is under way.
    pub(super) fn start(&mut self, timeout: Duration) {
        if self.wait.is_some() {
            return;
        }
        let store = Arc::clone(&self.store);
        self.wait = Some(Box::pin(async move {
            if store.wait(timeout).await.is_err() {
                // The next turn meets the same error and reports it.
                tokio::time::sleep(timeout.clamp(MIN_PAUSE, MAX_PAUSE)).await;
            }
        }));
    }

    /// Stops waiting: an announcement that a quiet master takes would be missed by a master that leases.
    pub(super) fn cancel(&mut self) {
        self.wait = None;
    }

    /// The end of the wait; pending while none is under way.
    pub(super) async fn next(&mut self) {
        match &mut self.wait {
            Some(wait) => {
                wait.as_mut().await;
                self.wait = None;
            }
            None => std::future::pending().await,
        }
    }
}
