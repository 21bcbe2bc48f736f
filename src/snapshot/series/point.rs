//! Points of a history.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Sighting;
use crate::channel::ChannelStatus;
use crate::job::Timestamp;
use crate::metrics::{CallTimes, Percentiles, Timings};
use crate::store::JobCounts;

/// The values of a channel in one step of time. Values of the master are its own; those of the store are of all masters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Point {
    /// The last sample of the step, by this machine's clock.
    pub at: Timestamp,
    /// Seconds that the samples of the step cover.
    pub seconds: f32,
    /// The values of the store in the last sample in which it answered; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreValues>,
    /// Arrived and settled jobs; absent before the second answer of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    /// Runs that ended.
    pub runs: u32,
    /// Runs that failed, timed out, crashed or were lost.
    pub failed_runs: u32,
    /// Seconds from which jobs were ready until their dispatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Percentiles>,
    /// Seconds that runs took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Percentiles>,
    /// The workers in the last sample.
    pub workers: WorkerValues,
    /// Most resident bytes of all workers together.
    pub memory: u64,
    /// Seconds that calls of the store took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_calls: Option<CallTimes>,
}

/// The values of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreValues {
    /// Jobs ready to run.
    pub waiting: u64,
    /// Jobs held by masters.
    pub reserved: u64,
    /// Jobs not yet due.
    pub delayed: u64,
    /// Jobs that failed permanently.
    pub failed: u64,
    /// Longest time in seconds for which a front waiting job had waited; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_waiting: Option<f32>,
    /// Whether the channel was paused.
    pub paused: bool,
}

/// The jobs that came and went in all masters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Jobs pushed.
    pub arrived: u64,
    /// Jobs done or finally failed.
    pub settled: u64,
    /// Seconds in which they were.
    pub seconds: f32,
}

impl Flow {
    /// The difference between two answers of the store.
    pub(super) fn between(before: &JobCounts, after: &JobCounts, took: Duration) -> Self {
        // A job keeps its place in the sum of all states until it is removed, and `cleared` counts the removed ones.
        let ever = |counts: &JobCounts| counts.total() + counts.cleared;
        // Retries of failed jobs make fewer failed ones; they unsettle nothing that others have settled.
        let settled = after.done.saturating_sub(before.done) + after.failed.saturating_sub(before.failed);
        Self { arrived: ever(after).saturating_sub(ever(before)), settled, seconds: took.as_secs_f32() }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.settled += other.settled;
        self.seconds += other.seconds;
    }
}

/// The number of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerValues {
    /// Workers that there should be.
    pub wanted: u32,
    /// Workers that take jobs.
    pub serving: u32,
    /// Workers that run jobs.
    pub busy: u32,
}

impl Point {
    /// The point of one sample, without timings.
    pub(super) fn of(seen: &Sighting<'_>, seconds: f64, flow: Option<Flow>) -> Self {
        let number = |workers: usize| u32::try_from(workers).unwrap_or(u32::MAX);
        let store = seen.counts.map(|counts| StoreValues {
            waiting: counts.waiting,
            reserved: counts.reserved,
            delayed: counts.delayed,
            failed: counts.failed,
            front_waiting: counts.front_ready_at.map(|ready| counts.now.since(ready).as_secs_f32()),
            paused: counts.paused,
        });
        let workers = seen.status.map(|status| WorkerValues {
            wanted: number(status.wanted_workers()),
            serving: number(status.serving_workers()),
            busy: number(status.workers.busy),
        });
        let memory = seen.status.map(ChannelStatus::workers_memory);
        Self {
            at: seen.at,
            #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
            seconds: seconds as f32,
            store,
            flow,
            workers: workers.unwrap_or_default(),
            memory: memory.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Adds a later sample of the same step.
    pub(super) fn add(&mut self, later: Self) {
        let front = |values: Option<StoreValues>| values.and_then(|values| values.front_waiting);
        let longest = [front(self.store), front(later.store)].into_iter().flatten().reduce(f32::max);
        let store = later.store.or(self.store).map(|store| StoreValues { front_waiting: longest, ..store });
        let flow = match (self.flow, later.flow) {
            (Some(mut sum), Some(more)) => {
                sum.add(more);
                Some(sum)
            }
            (one, other) => one.or(other),
        };
        *self = Self {
            seconds: self.seconds + later.seconds,
            store,
            flow,
            memory: self.memory.max(later.memory),
            ..later
        };
    }

    /// Sets the values that timings have.
    pub(super) fn set_timings(&mut self, timings: &Timings) {
        let number = |runs: u64| u32::try_from(runs).unwrap_or(u32::MAX);
        (self.runs, self.failed_runs) = (number(timings.ended()), number(timings.failed()));
        (self.wait, self.run) = (timings.waits(), timings.runs());
        self.store_calls = timings.calls();
    }
}
