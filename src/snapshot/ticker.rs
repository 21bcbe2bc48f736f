//! The ticker of a channel: decides when samples are taken, and passes a snapshot per interval to every handler.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::attention::Attention;
use super::handler::{NamedHandler, Snapshot};
use super::sampler::{Sampled, Sampler};
use crate::metrics::{AlertMetrics, Metrics};

/// The handlers of a channel, and the runtime of their thread.
#[derive(Default)]
pub struct Handlers {
    /// The handlers.
    pub all: Vec<NamedHandler>,
    /// The runtime; without one no handler is called.
    pub runtime: Option<Handle>,
}

/// Takes samples of the channel at the pace of its viewers, and every `interval` a snapshot for the handlers, until the future is
/// dropped.
pub async fn run(
    sampler: Arc<Sampler>,
    attention: Arc<Attention>,
    metrics: Metrics,
    interval: Duration,
    handlers: Handlers,
) {
    let channel = sampler.name();
    let (latest, _) = watch::channel(None);
    // The drop of the set aborts the handlers' tasks together with the ticker.
    let mut tasks = JoinSet::new();
    for (handler, runtime) in handlers.all.into_iter().zip(std::iter::repeat(handlers.runtime)) {
        if let Some(runtime) = runtime {
            tasks.spawn_on(
                serve(handler, latest.subscribe(), Arc::clone(channel), metrics.alerts()),
                &runtime,
            );
        }
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

/// Passes each latest snapshot to a handler. The log has the first failure of several, and their end.
async fn serve(
    NamedHandler { name, handler }: NamedHandler,
    mut latest: watch::Receiver<Option<Snapshot>>,
    channel: Arc<str>,
    metrics: AlertMetrics,
) {
    let mut failures = 0_u64;
    while latest.changed().await.is_ok() {
        let Some(snapshot) = latest.borrow_and_update().clone() else { continue };
        let handled = handler.handle_any(snapshot).await;
        metrics.handler_run(&channel, &name, handled.is_ok());
        match handled {
            Ok(()) if failures > 0 => {
                info!(%channel, handler = %name, failures, "snapshot handler recovered");
                failures = 0;
            }
            Ok(()) => {}
            Err(error) if failures == 0 => {
                failures = 1;
                warn!(%channel, handler = %name, %error, "snapshot handler failed: correct it; further failures are counted until it succeeds");
            }
            Err(_) => failures += 1,
        }
    }
}
