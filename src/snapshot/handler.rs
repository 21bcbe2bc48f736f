//! The snapshot and the trait of its receivers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use thiserror::Error;

use crate::store::JobCounts;

/// The counts of a channel at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The channel.
    pub channel: Arc<str>,
    /// Time of the snapshot by this machine's clock, RFC 3339 in UTC.
    pub at: jiff::Timestamp,
    /// The counts.
    #[serde(flatten)]
    pub status: JobCounts,
    /// The sum of waiting, reserved, delayed, done and failed.
    pub total: u64,
}

impl Snapshot {
    /// A snapshot with the current time.
    #[must_use]
    pub fn now(channel: &Arc<str>, status: JobCounts) -> Self {
        Self { channel: Arc::clone(channel), at: jiff::Timestamp::now(), status, total: status.total() }
    }
}

/// Receives a channel's snapshots.
#[async_trait]
pub trait SnapshotHandler: Send + Sync {
    /// The name of the handler in logs: `log`, `command notify.sh`.
    fn name(&self) -> String;

    /// Handles one snapshot. The next call follows only after the return of this one.
    async fn handle(&self, snapshot: &Snapshot) -> Result<(), HandlerError>;
}

/// The reason why a handler failed.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// The program could not be started.
    #[error("could not start: {0}")]
    Start(String),
    /// The program exceeded its time limit.
    #[error("killed after the time limit of {0:?}")]
    Timeout(Duration),
    /// The program ran and failed.
    #[error("{0}")]
    Failed(String),
}
