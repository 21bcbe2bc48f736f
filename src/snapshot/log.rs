//! The snapshot handler that writes to the master's log.

use async_trait::async_trait;
use tracing::info;

use super::handler::{HandlerError, Snapshot, SnapshotHandler};

/// Writes each snapshot to the log.
#[derive(Debug)]
pub(super) struct LogHandler;

#[async_trait]
impl SnapshotHandler for LogHandler {
    fn name(&self) -> String {
        "log".to_owned()
    }

    async fn handle(&self, snapshot: &Snapshot) -> Result<(), HandlerError> {
        let s = &snapshot.status;
        info!(
            channel = %snapshot.channel, waiting = s.waiting, reserved = s.reserved, delayed = s.delayed,
            done = s.done, failed = s.failed, cleared = s.cleared, total = snapshot.total, "snapshot"
        );
        Ok(())
    }
}
