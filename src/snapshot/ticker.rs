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
use super::handler_status::HandlerStatuses;
use super::sampler::{Sampled, Sampler};
use crate::metrics::{AlertMetrics, Metrics};

/// The handlers of a channel, and the runtime of their thread.
#[derive(Default)]
pub struct Handlers {
    /// The handlers.
    pub all: Vec<NamedHandler>,
    /// The runtime; without one no handler is called.
    pub runtime: Option<Handle>,
    /// The results of the handlers.
    pub statuses: Arc<HandlerStatuses>,
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
    let Handlers { all, runtime, statuses } = handlers;
    for (handler, runtime) in all.into_iter().zip(std::iter::repeat(runtime)) {
        if let Some(runtime) = runtime {
            let results = Results {
                channel: Arc::clone(channel),
                handler: Arc::clone(&handler.name),
                metrics: metrics.alerts(),
                statuses: Arc::clone(&statuses),
                failures: 0,
            };
            tasks.spawn_on(serve(handler, latest.subscribe(), results), &runtime);
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

/// Passes each latest snapshot to a handler.
async fn serve(
    NamedHandler { handler, .. }: NamedHandler,
    mut latest: watch::Receiver<Option<Snapshot>>,
    mut results: Results,
) {
    while latest.changed().await.is_ok() {
        let Some(snapshot) = latest.borrow_and_update().clone() else { continue };
        let handled = handler.handle_any(snapshot).await;
        results.note(handled.err().map(|error| error.to_string()));
    }
}

/// The results of a handler. The log has the first failure of several, and their end.
struct Results {
    channel: Arc<str>,
    handler: Arc<str>,
    metrics: AlertMetrics,
    statuses: Arc<HandlerStatuses>,
    /// The failures since the last success.
    failures: u64,
}

impl Results {
    fn note(&mut self, error: Option<String>) {
        let Self { channel, handler, metrics, statuses, failures } = self;
        metrics.handler_run(channel, handler, error.is_none());
        match &error {
            None if *failures > 0 => {
                info!(%channel, %handler, failures, "snapshot handler recovered");
            }
            Some(error) if *failures == 0 => {
                warn!(%channel, %handler, error, "snapshot handler failed: correct it; further failures are counted until it succeeds");
            }
            _ => {}
        }
        *failures = if error.is_some() { *failures + 1 } else { 0 };
        statuses.note(handler, error);
    }
}
