//! The snapshot and the trait of its handlers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::series::Recent;
use crate::channel::ChannelStatus;
use crate::pool::{SizingChange, WorkerCounts};
use crate::store::JobCounts;

/// The state of a channel at a time.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
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
    /// Seconds for which the front waiting job has waited; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_waiting_seconds: Option<f64>,
    /// Seconds until the next delayed job is due; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_due_seconds: Option<f64>,
    /// Rates, failures and percentiles of the last minute, or of the time since the last sample if that is longer.
    pub recent: Recent,
    /// The state of this master; absent when the channel has ended.
    #[serde(flatten)]
    pub master: Option<MasterState>,
}

/// The state of a master in a snapshot.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MasterState {
    /// Jobs in workers of this master.
    pub running_jobs: usize,
    /// Jobs leased and not yet in a worker.
    pub ready_jobs: usize,
    /// Workers that there should be; absent where programs are started once per job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers_wanted: Option<usize>,
    /// The workers by activity.
    pub workers: WorkerCounts,
    /// Resident bytes of all workers in the last sample.
    pub workers_memory_bytes: u64,
    /// The last changes of the number of workers, the oldest first.
    pub scaled: Vec<SizingChange>,
    /// Whether no worker can be started.
    pub degraded: bool,
    /// Whether `queue:quiet` is in effect.
    pub quiet: bool,
    /// Whether the channel stops.
    pub stopping: bool,
    /// Why the store cannot be used; absent when it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
    /// Why workers cannot be started; absent when they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_error: Option<String>,
}

impl Snapshot {
    /// A snapshot with the current time.
    #[must_use]
    pub fn now(
        channel: &Arc<str>,
        counts: JobCounts,
        status: Option<&ChannelStatus>,
        recent: Recent,
    ) -> Self {
        let waited = counts.front_ready_at.map(|ready| counts.now.since(ready));
        let due = counts.next_due.map(|due| due.since(counts.now));
        Self {
            channel: Arc::clone(channel),
            at: jiff::Timestamp::now(),
            status: counts,
            total: counts.total(),
            front_waiting_seconds: waited.map(|waited| waited.as_secs_f64()),
            next_due_seconds: due.map(|due| due.as_secs_f64()),
            recent,
            master: status.map(MasterState::of),
        }
    }
}

impl MasterState {
    fn of(status: &ChannelStatus) -> Self {
        let pool = &status.pool;
        Self {
            running_jobs: status.running,
            ready_jobs: status.ready,
            workers_wanted: pool.target,
            workers: status.workers,
            workers_memory_bytes: pool.rows.iter().filter_map(|worker| worker.memory).sum(),
            scaled: pool.scaled.clone(),
            degraded: pool.degraded,
            quiet: status.quiet,
            stopping: status.stopping,
            store_error: status.store_error.clone(),
            worker_error: status.worker_error.clone(),
        }
    }
}

/// Receives the snapshots of the channels that a master serves; [`App::snapshot_handler`](crate::App::snapshot_handler) registers it.
///
/// The master calls `handle` for each channel once per `job_snapshot.interval`, on a thread of the handler and the channel. The next call
/// for a channel follows only after the return of this one; snapshots in between are left out. A handler that fails, panics or takes
/// longer than ten seconds delays neither jobs nor other handlers; the log has the first failure of several, and their end.
///
/// ```
/// use aint_queue::{App, HandlerError, Snapshot, SnapshotHandler};
///
/// struct Graph;
///
/// impl SnapshotHandler for Graph {
///     async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
///         let address = "127.0.0.1:8125";
///         let line = format!("queue.{}.waiting:{}|g", snapshot.channel, snapshot.status.waiting);
///         std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(line.as_bytes(), address)?;
///         Ok(())
///     }
/// }
///
/// let app = App::new().snapshot_handler("statsd", Graph);
/// ```
pub trait SnapshotHandler: Send + Sync + 'static {
    /// Handles one snapshot.
    ///
    /// # Errors
    /// Any error is for the log, which has its first 200 characters; the snapshot is not handled again.
    fn handle(&self, snapshot: Snapshot) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// The reason why a handler failed, for the log.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// A handler whose type is not known.
#[async_trait]
pub trait AnyHandler: Send + Sync {
    /// As [`SnapshotHandler::handle`].
    async fn handle_any(&self, snapshot: Snapshot) -> Result<(), HandlerError>;
}

#[async_trait]
impl<H: SnapshotHandler> AnyHandler for H {
    async fn handle_any(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
        self.handle(snapshot).await
    }
}

/// A handler with its name in logs and metrics.
#[derive(Clone)]
pub struct NamedHandler {
    /// The name.
    pub name: Arc<str>,
    /// The handler.
    pub handler: Arc<dyn AnyHandler>,
}

impl fmt::Debug for NamedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedHandler").field("name", &self.name).finish_non_exhaustive()
    }
}
