//! Samples of a channel: the counts of its store and the state of its actor, for its metrics and its history.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aint_queue_core::mutex::lock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::series::{Point, Recent, ScaledAt, Series, Sighting, Step};
use super::trends::{Totals, TrendMemory, Trends};
use crate::channel::{ChannelStatus, Command};
use crate::job::Timestamp;
use crate::metrics::{ChannelMetrics, Sample, Timings};
use crate::store::{JobCounts, Store, StoreError};

/// Takes the samples of one channel and has its history.
pub struct Sampler {
    name: Arc<str>,
    store: Arc<dyn Store>,
    commands: mpsc::Sender<Command>,
    metrics: ChannelMetrics,
    /// Taken while a sample is: one follows the other.
    sampling: tokio::sync::Mutex<Sampling>,
    series: Mutex<Series>,
    trends: Mutex<TrendMemory>,
}

/// The memory of the sampler between two samples.
struct Sampling {
    last: Option<Instant>,
    /// Exchanged for the timings since the last sample.
    cleared: Timings,
}

/// The answers to a sample.
pub struct Sampled {
    /// The counts of the store, or why there are none.
    pub counts: Result<JobCounts, StoreError>,
    /// The state of the channel; `None` when it has ended.
    pub status: Option<ChannelStatus>,
}

impl Sampler {
    /// A sampler of the channel that reads these commands.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        store: Arc<dyn Store>,
        commands: mpsc::Sender<Command>,
        metrics: ChannelMetrics,
    ) -> Self {
        let sampling = tokio::sync::Mutex::new(Sampling { last: None, cleared: Timings::default() });
        let series = Mutex::new(Series::new(Instant::now()));
        Self { name, store, commands, metrics, sampling, series, trends: Mutex::default() }
    }

    /// The name of the channel.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The store of the channel.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Takes a sample. Without an answer of the store its last values stay in the metrics, and the history has a gap.
    pub async fn sample(&self) -> Sampled {
        let mut sampling = self.sampling.lock().await;
        self.take(&mut sampling).await
    }

    /// Takes a sample with counts that the store has given just now; `None` if it has not answered. Returns the state of the channel.
    pub async fn sample_with(&self, counts: Option<JobCounts>, took: Duration) -> Option<ChannelStatus> {
        let mut sampling = self.sampling.lock().await;
        self.complete(counts.as_ref(), took, &mut sampling).await
    }

    /// Takes a sample unless the last one is newer than this.
    pub async fn refresh(&self, oldest: Duration) {
        let mut sampling = self.sampling.lock().await;
        if sampling.last.is_none_or(|last| last.elapsed() > oldest) {
            self.take(&mut sampling).await;
        }
    }

    /// The counts that the store gave last, and the time since then.
    #[must_use]
    pub fn last_counts(&self) -> Option<(JobCounts, Duration)> {
        let (at, counts) = lock(&self.series).last_counts()?;
        Some((counts, at.elapsed()))
    }

    /// The values of the last minute.
    #[must_use]
    pub fn recent(&self) -> Recent {
        lock(&self.series).recent(SystemTime::now().into())
    }

    /// The values that need a memory.
    #[must_use]
    pub fn trends(&self) -> Trends {
        lock(&self.trends).trends(Instant::now())
    }

    /// The points of a ring and the changes of the number of workers in the last `period`, the oldest first.
    #[must_use]
    pub fn history(&self, step: Step, period: Duration) -> (Vec<Point>, Vec<ScaledAt>) {
        let now = Timestamp::from(SystemTime::now());
        let since = Timestamp(now.0.saturating_sub(u64::try_from(period.as_micros()).unwrap_or(u64::MAX)));
        let series = lock(&self.series);
        (series.points(step, since).copied().collect(), series.decisions(since).copied().collect())
    }

    async fn take(&self, sampling: &mut Sampling) -> Sampled {
        let began = Instant::now();
        let counts = self.store.status().await;
        let status = self.complete(counts.as_ref().ok(), began.elapsed(), sampling).await;
        Sampled { counts, status }
    }

    /// Adds the state of the channel to the counts, and records both.
    async fn complete(
        &self,
        counts: Option<&JobCounts>,
        took: Duration,
        sampling: &mut Sampling,
    ) -> Option<ChannelStatus> {
        if let Some(counts) = counts {
            self.metrics.store_call("status", took);
            self.metrics.counts(counts, Instant::now());
        }
        let (reply, answer) = oneshot::channel();
        // Without an answer the channel has ended.
        let status = match self.commands.send(Command::Status(reply)).await {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        if let Some(status) = &status {
            self.metrics.sample(&Sample {
                running: status.running,
                ready: status.ready,
                store_up: status.store_error.is_none() && counts.is_some(),
                quiet: status.quiet,
                workers: &status.workers,
                pool: &status.pool,
            });
        }
        let now = Instant::now();
        let totals = Totals {
            restarts: status.as_ref().map_or(0, |status| status.pool.lifetimes.failures()),
            poison: self.metrics.given_up(),
        };
        lock(&self.trends).record(counts.map(|counts| counts.paused), totals, now);
        self.metrics.exchange_timings(&mut sampling.cleared);
        lock(&self.series).record(&Sighting {
            at: SystemTime::now().into(),
            now,
            counts,
            status: status.as_ref(),
            timings: &sampling.cleared,
        });
        sampling.cleared.clear();
        sampling.last = Some(now);
        status
    }
}
