//! What a channel says of itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Channel;
use super::shutdown::Shutdown;
use crate::job::JobId;
use crate::pool::{PoolStatus, RunStatus, WorkerCounts};

/// That a channel's actor moves, and how far a stop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Jobs aboard workers.
    pub running: usize,
    /// How long the store call that is under way has been.
    pub call: Option<Duration>,
    /// When it is stopping: how long what runs may still take.
    pub stop_left: Option<Duration>,
    /// Whether it takes no jobs because it was told so.
    pub quiet: bool,
}

/// What is going on in a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Jobs aboard workers.
    pub running: usize,
    /// Jobs leased and not yet aboard.
    pub ready: usize,
    /// The workers.
    pub workers: WorkerCounts,
    /// The process ids of the workers that run or are ready to run jobs.
    pub pids: Vec<i32>,
    /// Why the store cannot be used now; absent when it can.
    pub store_error: Option<String>,
    /// Why workers cannot be started now; absent when they can.
    pub worker_error: Option<String>,
    /// Each worker, how many there should be, and why.
    pub pool: Box<PoolStatus>,
    /// Whether this master takes no jobs because it was told so.
    #[serde(default)]
    pub quiet: bool,
    /// Whether it is stopping.
    pub stopping: bool,
    /// When it is stopping: how many seconds what runs may still take before it is interrupted.
    #[serde(default)]
    pub stop_seconds_left: Option<u64>,
}

impl Channel {
    pub(super) fn status(&self) -> ChannelStatus {
        ChannelStatus {
            running: self.held_jobs.running(),
            ready: self.waiting_for_slots(),
            workers: self.pool.worker_counts(),
            pids: self.pool.pids(),
            store_error: self.store_calls.error_text().map(str::to_owned),
            worker_error: self.pool.start_error(tokio::time::Instant::now()).map(str::to_owned),
            pool: Box::new(self.pool.status(tokio::time::Instant::now())),
            quiet: self.quiet,
            stopping: self.stopping.is_some(),
            stop_seconds_left: self.stopping.as_ref().map(|stopping| stopping.left().as_secs()),
        }
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            running: self.held_jobs.running(),
            call: self.store_calls.call_duration(),
            stop_left: self.stopping.as_ref().map(Shutdown::left),
            quiet: self.quiet,
        }
    }
}

/// What a channel knows that the store does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDetails {
    /// How it stands.
    pub report: ChannelStatus,
    /// How many jobs its workers that are ready can have aboard together.
    pub slots: usize,
    /// How many more could be handed out now.
    pub free: usize,
    /// Its workers that are ready have run all the jobs they may, and are being replaced.
    #[serde(default)]
    pub replacing: bool,
    /// The names of the jobs that its workers said they have handlers for; absent when they have not said.
    pub handlers: Option<Vec<String>>,
    /// What is done with the job that was asked about; absent when it is not held here.
    pub job: Option<HeldJobStatus>,
}

/// What is done with a job that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldJobStatus {
    /// It waits for a slot.
    Ready {
        /// It is a suspect, and waits for a worker of its own.
        alone: bool,
    },
    /// It is aboard a worker.
    Running(RunStatus),
    /// Its run has ended, and the store does not know yet.
    Settling,
}

impl Channel {
    /// How the channel stands, and one of its jobs.
    pub(super) fn details(&self, id: Option<JobId>) -> ChannelDetails {
        ChannelDetails {
            report: self.status(),
            slots: self.pool.usable_slots(tokio::time::Instant::now()),
            free: self.pool.capacity(tokio::time::Instant::now()),
            replacing: self.pool.is_replacing(),
            handlers: self.pool.handlers(),
            job: id.and_then(|id| self.held_job(id)),
        }
    }

    fn held_job(&self, id: JobId) -> Option<HeldJobStatus> {
        if !self.held_jobs.holds(id) {
            return None;
        }
        Some(match (self.held_jobs.run(id), self.held_jobs.meta(id)) {
            (Some(run), _) => self
                .pool
                .run_status(run, tokio::time::Instant::now())
                .map_or(HeldJobStatus::Settling, HeldJobStatus::Running),
            (None, Some(meta)) => HeldJobStatus::Ready { alone: meta.suspect },
            (None, None) => HeldJobStatus::Settling,
        })
    }
}
