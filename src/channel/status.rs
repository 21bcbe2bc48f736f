//! The status of a channel, for the control socket, the command line and the watchdog.

use std::time::Duration;

use aint_queue_core::durations::millis;
use serde::{Deserialize, Serialize};

use crate::pool::{PoolStatus, RunStatus, WorkerCounts};
use crate::store::RefusedPushes;

/// Proof that the actor of a channel is responsive, and how far a stop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Jobs in workers.
    pub running: usize,
    /// Duration of the store call that is under way.
    pub call: Option<Duration>,
    /// While the channel is stopping: how long running jobs may still take.
    pub stop_left: Option<Duration>,
    /// Whether `queue:quiet` is in effect: this master takes no jobs.
    pub quiet: bool,
}

/// The state of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Jobs in workers.
    pub running: usize,
    /// Jobs leased and not yet in a worker.
    pub ready: usize,
    /// Workers by what they do.
    pub workers: WorkerCounts,
    /// Process ids of the workers that run jobs or are ready to.
    pub pids: Vec<i32>,
    /// Why the store cannot be used; absent when it can.
    pub store_error: Option<String>,
    /// How long the store has not been usable; absent when it is, and from a master of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_error_ms: Option<u64>,
    /// How far the store's clock is behind what it showed before it was set back; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_behind_ms: Option<u64>,
    /// Pushes through this master that were refused because there was no room; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_pushes: Option<Box<RefusedPushCounts>>,
    /// Why workers cannot be started; absent when they can.
    pub worker_error: Option<String>,
    /// Each worker, the target count, and the reason for it.
    pub pool: Box<PoolStatus>,
    /// Whether `queue:quiet` is in effect: this master takes no jobs.
    #[serde(default)]
    pub quiet: bool,
    /// While the master waits for the end of running jobs before it re-executes itself: how long it waits at most. It takes no
    /// jobs meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back_ms: Option<u64>,
    /// Whether the channel is stopping.
    pub stopping: bool,
    /// While the channel is stopping: seconds that running jobs may still take before they are interrupted.
    #[serde(default)]
    pub stop_seconds_left: Option<u64>,
}

impl ChannelStatus {
    /// Number of workers that there should be. Where programs are started once per job, those that run are wanted.
    #[must_use]
    pub fn wanted_workers(&self) -> usize {
        self.pool.target.unwrap_or(self.workers.busy)
    }

    /// Number of workers that take jobs.
    #[must_use]
    pub fn serving_workers(&self) -> usize {
        self.workers.idle + self.workers.busy
    }

    /// Resident bytes of the workers together, in their last samples.
    #[must_use]
    pub fn workers_memory(&self) -> u64 {
        self.pool.rows.iter().filter_map(|worker| worker.memory).sum()
    }
}

/// Pushes that were refused because there was no room since the start of the master, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedPushCounts {
    /// The channel had too many waiting jobs.
    pub max_waiting: u64,
    /// The jobs of the channel took too many bytes.
    pub max_bytes: u64,
    /// The store was full.
    pub store_full: u64,
    /// The requests of all producers took too much memory of the master.
    pub memory: u64,
    /// Time since the last one.
    pub last_ms: u64,
}

impl RefusedPushCounts {
    /// The counts, if there are any.
    pub(super) fn of(refused: &RefusedPushes, now: std::time::Instant) -> Option<Box<Self>> {
        let RefusedPushes { max_waiting, max_bytes, store_full, memory, last } = *refused;
        let last_ms = millis(now.saturating_duration_since(last?));
        Some(Box::new(Self { max_waiting, max_bytes, store_full, memory, last_ms }))
    }
}

/// The state of a channel as `queue:why` needs it: what this master knows and the store does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDetails {
    /// The state of the channel.
    pub report: ChannelStatus,
    /// Number of jobs that the ready workers can run together.
    pub slots: usize,
    /// Number of jobs that could be dispatched now.
    pub free: usize,
    /// Whether the ready workers have taken all jobs of their lives and are being replaced.
    #[serde(default)]
    pub replacing: bool,
    /// Names of the jobs that the workers have handlers for; absent before the first worker has listed them.
    pub handlers: Option<Vec<String>>,
    /// The state of the requested job; absent when this master does not hold it.
    pub job: Option<HeldJobStatus>,
    /// The counts that the store gave last; only while the store cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_counts: Option<LastCounts>,
}

/// The jobs of a channel by state at an earlier time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCounts {
    /// Waiting jobs.
    pub waiting: u64,
    /// Reserved jobs of all masters.
    pub reserved: u64,
    /// Delayed jobs.
    pub delayed: u64,
    /// Failed jobs.
    pub failed: u64,
    /// The time since the counts were read.
    pub ago_ms: u64,
}

/// The state of a held job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldJobStatus {
    /// The job waits for a slot.
    Ready {
        /// The job is a suspect and waits for a worker without other jobs.
        alone: bool,
    },
    /// The job is in a worker.
    Running(RunStatus),
    /// The run has ended and the store has not recorded it yet.
    Settling,
}
