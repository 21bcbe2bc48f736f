//! The ticker of a channel: takes samples of its state, and a snapshot per interval for every handler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::attention::Attention;
use super::command::CommandHandler;
use super::handler::{Snapshot, SnapshotHandler};
use super::log::LogHandler;
use crate::channel::Command;
use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::{ChannelMetrics, Metrics, Sample};
use crate::store::{JobCounts, RefusedPushes, Store, StoreError};

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

/// A channel of a master whose samples are taken.
pub struct SampledChannel {
    /// The name of the channel.
    pub name: Arc<str>,
    /// The store of the channel.
    pub store: Arc<dyn Store>,
    /// The command queue of the actor.
    pub commands: mpsc::Sender<Command>,
    /// The metrics of the channel.
    pub metrics: ChannelMetrics,
    /// The metrics of the master.
    pub master_metrics: Metrics,
    /// The last looks at the master.
    pub attention: Arc<Attention>,
}

/// Takes samples of the channel at the pace of its viewers, and every `interval` a snapshot for the handlers, until the future is
/// dropped.
pub async fn run(channel: SampledChannel, interval: Duration, handlers: Vec<Arc<dyn SnapshotHandler>>) {
    let (latest, _) = watch::channel(None);
    // The drop of the set aborts the handlers' tasks together with the ticker.
    let mut tasks = JoinSet::new();
    for handler in handlers {
        tasks.spawn(serve(handler, latest.subscribe(), Arc::clone(&channel.name)));
    }
    let mut sampled = Instant::now();
    let _ = channel.sample().await;
    // A snapshot at the start has no information.
    let mut next_snapshot = sampled + interval;
    loop {
        let due = (sampled + channel.attention.interval(interval, Instant::now())).min(next_snapshot);
        tokio::select! {
            () = sleep_until(due) => {}
            () = channel.attention.changed() => continue,
        }
        sampled = Instant::now();
        channel.master_metrics.loop_lag(sampled.duration_since(due));
        let counts = channel.sample().await;
        if sampled < next_snapshot {
            continue;
        }
        next_snapshot = sampled + interval;
        match counts {
            Ok(counts) => {
                latest.send_replace(Some(Snapshot::now(&channel.name, counts)));
            }
            Err(error) => warn!(channel = %channel.name, %error, "snapshot skipped: store not readable"),
        }
    }
}

impl SampledChannel {
    /// Sets the metrics of the channel to its present state; returns the counts of its store. Without an answer of the store its
    /// last values stay.
    pub async fn sample(&self) -> Result<JobCounts, StoreError> {
        let refused = RefusedPushes::of(&self.name);
        self.metrics.refused_pushes([refused.max_waiting, refused.store_full]);
        let began = Instant::now();
        let counts = self.store.status().await;
        if let Ok(counts) = &counts {
            let now = Instant::now();
            self.metrics.store_call("status", now.duration_since(began));
            self.metrics.counts(counts, now);
        }
        let (reply, status) = oneshot::channel();
        // Without an answer the channel has ended.
        if self.commands.send(Command::Status(reply)).await.is_ok()
            && let Ok(status) = status.await
        {
            self.metrics.sample(&Sample {
                running: status.running,
                ready: status.ready,
                store_up: status.store_error.is_none() && counts.is_ok(),
                quiet: status.quiet,
                workers: &status.workers,
                pool: &status.pool,
            });
        }
        counts
    }
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
