//! The ticker of a channel: decides when samples are taken, and passes a snapshot per interval to every handler.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::attention::Attention;
use super::command::CommandHandler;
use super::handler::{Snapshot, SnapshotHandler};
use super::log::LogHandler;
use super::sampler::{Sampled, Sampler};
use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::Metrics;

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

/// Takes samples of the channel at the pace of its viewers, and every `interval` a snapshot for the handlers, until the future is
/// dropped.
pub async fn run(
    sampler: Arc<Sampler>,
    attention: Arc<Attention>,
    metrics: Metrics,
    interval: Duration,
    handlers: Vec<Arc<dyn SnapshotHandler>>,
) {
    let channel = sampler.name();
    let (latest, _) = watch::channel(None);
    // The drop of the set aborts the handlers' tasks together with the ticker.
    let mut tasks = JoinSet::new();
    for handler in handlers {
        tasks.spawn(serve(handler, latest.subscribe(), Arc::clone(channel)));
    }
    let mut sampled = Instant::now();
    sampler.sample().await;
    // A snapshot at the start has no information.
    let mut next_snapshot = sampled + interval;
    loop {
        let due = (sampled + attention.interval(interval, Instant::now())).min(next_snapshot);
        tokio::select! {
            () = sleep_until(due) => {}
            () = attention.changed() => continue,
        }
        sampled = Instant::now();
        metrics.loop_lag(sampled.duration_since(due));
        let Sampled { counts, status } = sampler.sample().await;
        if sampled < next_snapshot {
            continue;
        }
        next_snapshot = sampled + interval;
        match counts {
            Ok(counts) => {
                let snapshot = Snapshot::now(channel, counts, status.as_ref(), sampler.recent());
                latest.send_replace(Some(snapshot));
            }
            Err(error) => warn!(%channel, %error, "snapshot skipped: store not readable"),
        }
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
