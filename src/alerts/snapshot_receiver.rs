//! Receivers that get every snapshot of a channel.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::receivers::Sender;
use crate::config;
use crate::guardian::GuardianHandle;
use crate::snapshot::{HandlerError, NamedHandler, Snapshot, SnapshotHandler};

/// The configured handlers of snapshots; those with a rule get alerts and are none.
#[must_use]
pub fn snapshot_receivers(config: &config::Snapshot, guardian: &GuardianHandle) -> Vec<NamedHandler> {
    let every = config.handlers.iter().filter(|handler| handler.rule.is_none());
    let named = |handler: &config::SnapshotHandler| {
        let full = handler.receiver.name.as_str();
        let name = full.rsplit_once('/').map_or(full, |(_, name)| name);
        let sender = Sender::new(handler.receiver.clone(), Some(guardian.clone()));
        NamedHandler { name: name.into(), handler: Arc::new(SnapshotReceiver(Mutex::new(sender))) }
    };
    every.map(named).collect()
}

struct SnapshotReceiver(Mutex<Sender>);

impl SnapshotHandler for SnapshotReceiver {
    async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
        let sent = self.0.lock().await.send_snapshot(&snapshot).await;
        sent.map_err(|failure| failure.message.into())
    }
}
