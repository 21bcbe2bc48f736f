//! Snapshots: a channel's counts at a time, handed to whoever wants them.
//!
//! A ticker reads the counts once per interval. Each handler works in a task of its own with one snapshot at a time: one
//! that hangs, fails or is slow misses snapshots and touches neither jobs nor the other handlers.

mod command;
mod log;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::ChannelMetrics;
use crate::store::{JobCounts, Store};

/// A channel's counts at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The channel.
    pub channel: Arc<str>,
    /// When it was taken, by this machine's clock, RFC 3339 in UTC.
    pub at: jiff::Timestamp,
    /// The counts.
    #[serde(flatten)]
    pub status: JobCounts,
    /// The sum of waiting, reserved, delayed, done and failed.
    pub total: u64,
}

impl Snapshot {
    /// The counts as of now.
    #[must_use]
    pub fn now(channel: &Arc<str>, status: JobCounts) -> Self {
        Self { channel: Arc::clone(channel), at: jiff::Timestamp::now(), status, total: status.total() }
    }
}

/// Receives a channel's snapshots.
#[async_trait]
pub trait SnapshotHandler: Send + Sync {
    /// What it is, for logs: `log`, `command notify.sh`.
    fn name(&self) -> String;

    /// Takes one snapshot. It is not called again before it has returned.
    async fn handle(&self, snapshot: &Snapshot) -> Result<(), HandlerError>;
}

/// Why a handler could not take a snapshot.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// It could not be reached or started.
    #[error("could not be started: {0}")]
    Start(String),
    /// It took longer than it may.
    #[error("did not end within {0:?} and was killed")]
    Timeout(Duration),
    /// It ran and reported a failure.
    #[error("{0}")]
    Failed(String),
}

/// The handlers a channel is configured with. Programs start in `base`, the directory of the configuration.
#[must_use]
pub fn handlers(
    config: &config::Snapshot,
    base: &Path,
    guardian: &GuardianHandle,
) -> Vec<Arc<dyn SnapshotHandler>> {
    let build = |handler: &config::SnapshotHandler| -> Arc<dyn SnapshotHandler> {
        match handler {
            config::SnapshotHandler::Log => Arc::new(log::LogHandler),
            config::SnapshotHandler::Command { command, timeout } => Arc::new(command::CommandHandler::new(
                command.clone(),
                *timeout,
                base.to_owned(),
                guardian.clone(),
            )),
        }
    };
    config.handlers.iter().map(build).collect()
}

/// Takes the counts every `interval` and hands them out, until it is dropped.
pub async fn run(
    channel: Arc<str>,
    store: Arc<dyn Store>,
    interval: Duration,
    handlers: Vec<Arc<dyn SnapshotHandler>>,
    metrics: ChannelMetrics,
) {
    let (latest, _) = watch::channel(None);
    // Dropping the set ends the handlers' tasks with the ticker.
    let mut tasks = JoinSet::new();
    for handler in handlers {
        tasks.spawn(serve(handler, latest.subscribe(), Arc::clone(&channel)));
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now; a snapshot of the very start tells nobody anything.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match store.status().await {
            Ok(status) => {
                record(&metrics, &status);
                latest.send_replace(Some(Snapshot::now(&channel, status)));
            }
            Err(error) => warn!(%channel, %error, "could not take a snapshot"),
        }
    }
}

/// Shows the counts as metrics.
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
                info!(%channel, handler = handler.name(), "a snapshot handler works again");
            }
            Ok(()) => {}
            Err(error) => {
                failing = true;
                warn!(%channel, handler = handler.name(), %error, "a snapshot handler failed");
            }
        }
    }
}
