//! What a channel says of itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Channel;
use super::stop::Stopping;
use crate::pool::{PoolStatus, WorkerCounts};

/// That a channel's actor moves, and how far a stop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
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
pub struct Report {
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
    pub(super) fn report(&self) -> Report {
        Report {
            running: self.table.running(),
            ready: self.waiting_for_slots(),
            workers: self.pool.worker_counts(),
            pids: self.pool.pids(),
            store_error: self.calls.trouble().map(str::to_owned),
            worker_error: self.pool.start_error().map(str::to_owned),
            pool: Box::new(self.pool.status()),
            quiet: self.quiet,
            stopping: self.stopping.is_some(),
            stop_seconds_left: self.stopping.as_ref().map(|stopping| stopping.left().as_secs()),
        }
    }

    pub(super) fn pulse(&self) -> Pulse {
        Pulse {
            running: self.table.running(),
            call: self.calls.under_way(),
            stop_left: self.stopping.as_ref().map(Stopping::left),
            quiet: self.quiet,
        }
    }
}
