//! Waits for work, on a connection of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connector, ServerAddress};
use crate::store::StoreError;

const DOING: &str = "waiting for jobs";
/// Shortest `BLPOP` time-out: a smaller one would be rounded to 0, which blocks forever.
const MIN_POP_TIMEOUT: Duration = Duration::from_millis(10);

/// Grace for the server's "nothing came" reply. Waiting for that reply leaves no pending `BLPOP` that would swallow the
/// next token.
const LATE_REPLY_GRACE: Duration = Duration::from_secs(1);

/// A pending `BLPOP`.
struct PendingPop {
    /// End of the server's time-out.
    until: Instant,
    answer: Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>,
}

/// The waiting side of a store.
///
/// A sent `BLPOP` cannot be cancelled. If a wait ends early, its `BLPOP` stays pending and the next wait takes it over, so
/// that no token is lost.
pub(super) struct WorkWaiter {
    connector: Arc<Connector>,
    key: String,
    pending: tokio::sync::Mutex<Option<PendingPop>>,
}

impl WorkWaiter {
    pub(super) fn new(target: Arc<ServerAddress>, key: &str) -> Self {
        let connector = Arc::new(Connector::new(target));
        Self { connector, key: key.to_owned(), pending: tokio::sync::Mutex::default() }
    }

    /// Returns when a token has arrived, or after `timeout`.
    pub(super) async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        let until = Instant::now() + timeout;
        let Ok(mut pending) = timeout_at(until, self.pending.lock()).await else { return Ok(()) };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let pop = pending.get_or_insert_with(|| self.pop(left.max(MIN_POP_TIMEOUT)));
            // A `BLPOP` with a later end was left by a longer wait; this wait must not be extended for it.
            let longest = if pop.until <= until + MIN_POP_TIMEOUT { until + LATE_REPLY_GRACE } else { until };
            let Ok(answer) = timeout_at(longest, &mut pop.answer).await else { return Ok(()) };
            *pending = None;
            if answer? {
                return Ok(());
            }
        }
    }

    /// Sends a `BLPOP`; the future tells whether a token arrived.
    fn pop(&self, longest: Duration) -> PendingPop {
        let connector = Arc::clone(&self.connector);
        let mut cmd = redis::cmd("BLPOP");
        cmd.arg(&self.key).arg(format!("{:.3}", longest.as_secs_f64()));
        let answer = Box::pin(async move {
            let connection = connector.connection(DOING).await?;
            match connector.send(&connection, &cmd, longest).await {
                Ok(reply) => Ok(reply != Value::Nil),
                Err(error) => Err(error.into_store(&connector.target.place, DOING)),
            }
        });
        PendingPop { until: Instant::now() + longest, answer }
    }
}

impl fmt::Debug for WorkWaiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").field("link", &self.connector).finish_non_exhaustive()
    }
}
