//! The ticker: takes a snapshot per interval and passes it to every handler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::command::CommandHandler;
use super::handler::{Snapshot, SnapshotHandler};
use super::log::LogHandler;
use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::ChannelMetrics;
use crate::store::{JobCounts, Store};

/// The configured handlers of a channel. Commands start in `base`, the directory of the configuration.
#[must_use]
pub fn handlers(
    config: &config::Snapshot,
    base: &Path,
    guardian: &GuardianHandle,
) -> Vec<Arc<dyn SnapshotHandler>> {
    let build = |handler: &config::SnapshotHandler| -> Arc<dyn SnapshotHandler> {
        match handler {
            config::SnapshotHandler::Log => Arc::new(LogHandler),
            config::SnapshotHandler::Command { command, timeout } => Arc::new(CommandHandler {
                command: command.clone(),
                limit: *timeout,
                directory: base.to_owned(),
                guardian: guardian.clone(),
            }),
        }
    };
    config.handlers.iter().map(build).collect()
}

/// Takes a snapshot every `interval` and passes it to the handlers, until the future is dropped.
pub async fn run(
    channel: Arc<str>,
    store: Arc<dyn Store>,
    interval: Duration,
    handlers: Vec<Arc<dyn SnapshotHandler>>,
    metrics: ChannelMetrics,
) {
    let (latest, _) = watch::channel(None);
    // The drop of the set aborts the handlers' tasks together with the ticker.
    let mut tasks = JoinSet::new();
    for handler in handlers {
        tasks.spawn(serve(handler, latest.subscribe(), Arc::clone(&channel)));
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate; a snapshot at the start has no information.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match store.status().await {
            Ok(status) => {
                record(&metrics, &status);
                latest.send_replace(Some(Snapshot::now(&channel, status)));
            }
            Err(error) => warn!(%channel, %error, "snapshot skipped: store not readable"),
        }
    }
}

/// Sets the depth metrics of a channel.
pub fn record(metrics: &ChannelMetrics, status: &JobCounts) {
    let states = [status.waiting, status.reserved, status.delayed, status.failed];
    metrics.depth(states, [status.done, status.cleared]);
}

async fn serve(
    handler: Arc<dyn SnapshotHandler>,
    mut latest: watch::Receiver<Option<Snapshot>>,
    channel: Arc<str>,
) {
    let mut failing = false;
    while latest.changed().await.is_ok() {
        let Some(snapshot) = latest.borrow_and_update().clone() else { continue };
        match handler.handle(&snapshot).await {
            Ok(()) if failing => {
                failing = false;
                info!(%channel, handler = handler.name(), "snapshot handler recovered");
            }
            Ok(()) => {}
            Err(error) => {
                failing = true;
                warn!(%channel, handler = handler.name(), %error, "snapshot handler failed");
            }
        }
    }
}
