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

/// Longest wait of a channel that has been idle for a while. The lease is renewed as often, so a turn is due then anyway.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The wait for the store to announce work.
///
/// An announcement can be lost with the master that took it, so the channel also asks the store after `worker.sleep_seconds`, then
/// after twice as long, up to ten seconds: a channel that stays idle costs its store nearly nothing.
pub(super) struct WorkWait {
    store: Arc<dyn Store>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Waits since the last job.
    idle_waits: u32,
}

impl WorkWait {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, wait: None, idle_waits: 0 }
    }

    /// Starts to wait, unless a wait is under way. `sleep` is the longest wait after the last job.
    pub(super) fn start(&mut self, sleep: Duration) {
        if self.wait.is_some() {
            return;
        }
        let timeout = timeout(sleep, self.idle_waits);
        self.idle_waits = self.idle_waits.saturating_add(1);
        let store = Arc::clone(&self.store);
        self.wait = Some(Box::pin(async move {
            if store.wait(timeout).await.is_err() {
                // The next turn meets the same error and reports it.
                tokio::time::sleep(timeout.clamp(MIN_PAUSE, MAX_PAUSE)).await;
            }
        }));
    }

    /// Records that the store had jobs.
    pub(super) fn found_jobs(&mut self) {
        self.idle_waits = 0;
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

/// The time limit of a wait after this many waits without a job.
fn timeout(sleep: Duration, idle_waits: u32) -> Duration {
    let longest = LONGEST_WAIT.max(sleep);
    sleep.saturating_mul(2_u32.saturating_pow(idle_waits)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_an_idle_channel_grow_to_ten_seconds() {
        let seconds = |sleep, waits| timeout(Duration::from_secs_f64(sleep), waits).as_secs_f64();
        assert_eq!([0, 1, 2, 3, 99].map(|waits| seconds(2.0, waits)), [2.0, 4.0, 8.0, 10.0, 10.0]);
        assert_eq!([0, 1, 9].map(|waits| seconds(0.01, waits)), [0.01, 0.02, 5.12]);
        assert_eq!(
            [0, 9].map(|waits| seconds(600.0, waits)),
            [600.0, 600.0],
            "the configured time is longer"
        );
    }
}
