//! The values of a channel for conditions, now and at a point of its history.

use std::time::Duration;

use aint_queue_core::condition::{Field, Values};

use super::series::{Point, Recent};
use super::trends::Trends;
use crate::channel::ChannelStatus;
use crate::job::Timestamp;
use crate::metrics::Percentiles;
use crate::store::JobCounts;

/// The time that the failure rate is from.
const FAILURE_WINDOW: Duration = Duration::from_secs(300);
/// The fewest ended runs of a failure rate.
const MIN_RUNS: u32 = 20;

/// The values at a point of a history.
#[derive(Clone, Copy, Debug)]
pub struct PastValues<'a> {
    /// The points until then, the oldest first.
    points: &'a [Point],
    at: Timestamp,
}

/// The present values of a channel.
#[derive(Clone, Copy, Debug)]
pub struct PresentValues<'a> {
    /// The counts of the store; `None` while it does not answer.
    pub counts: Option<&'a JobCounts>,
    /// The state of the master; `None` for a channel that it does not serve.
    pub status: Option<&'a ChannelStatus>,
    /// The last minute.
    pub recent: &'a Recent,
    /// Most workers of the configuration.
    pub max_workers: usize,
    /// Bytes that all workers may use together, if there is a limit.
    pub memory_limit: Option<u64>,
    /// The values that need a memory.
    pub trends: Trends,
    /// Masters of the channel that are alive, on all machines; `None` if that is not known.
    pub masters: Option<u64>,
    /// The points until now.
    pub past: PastValues<'a>,
}

impl<'a> PastValues<'a> {
    /// The values at `at`; `points` are those until then, the oldest first.
    #[must_use]
    pub fn new(points: &'a [Point], at: Timestamp) -> Self {
        Self { points, at }
    }

    /// The points of the last `time`.
    fn last(&self, time: Duration) -> impl Iterator<Item = &'a Point> {
        let at = self.at;
        let begin = self.points.partition_point(|point| at.since(point.at) > time);
        self.points[begin..].iter()
    }

    /// The runs that ended in the time of the failure rate, and the failed ones among them.
    #[must_use]
    pub fn recent_runs(&self) -> (u32, u32) {
        let (mut runs, mut failed) = (0_u32, 0_u32);
        for point in self.last(FAILURE_WINDOW) {
            runs = runs.saturating_add(point.runs);
            failed = failed.saturating_add(point.failed_runs);
        }
        (runs, failed)
    }

    fn failure_rate(&self) -> Option<f64> {
        let (runs, failed) = self.recent_runs();
        failure_rate(runs, failed)
    }
}

impl Values for PastValues<'_> {
    fn value(&self, field: Field) -> Option<f64> {
        match field {
            Field::FailureRate => self.failure_rate(),
            field => value_at(self.points.last()?, field),
        }
    }

    fn window(&self, field: Field, time: Duration) -> Vec<(f64, f64)> {
        let sample = |point: &Point| Some((self.at.since(point.at).as_secs_f64(), value_at(point, field)?));
        self.last(time).filter_map(sample).collect()
    }
}

impl Values for PresentValues<'_> {
    #[expect(clippy::cast_precision_loss, reason = "numbers of jobs and bytes")]
    fn value(&self, field: Field) -> Option<f64> {
        let count = |number: fn(&JobCounts) -> u64| self.counts.map(|counts| number(counts) as f64);
        let seconds = |time: Duration| time.as_secs_f64();
        match field {
            Field::Waiting => count(|counts| counts.waiting),
            Field::Delayed => count(|counts| counts.delayed),
            Field::Reserved => count(|counts| counts.reserved),
            Field::Failed => count(|counts| counts.failed),
            Field::Total => count(JobCounts::total),
            Field::Paused => count(|counts| u64::from(counts.paused)),
            Field::StoredBytes => self.counts?.bytes.map(|bytes| bytes as f64),
            Field::OldestWaiting => {
                let counts = self.counts?;
                counts.front_ready_at.map(|ready| seconds(counts.now.since(ready)))
            }
            Field::NextDue => {
                let counts = self.counts?;
                counts.next_due.map(|due| seconds(due.since(counts.now)))
            }
            Field::PausedFor => Some(self.trends.paused_seconds),
            Field::Masters => self.masters.map(|masters| masters as f64),
            Field::RateIn => self.recent.arrived_per_second,
            Field::RateOut => self.recent.settled_per_second,
            of_master => self.of_master(of_master, self.status?),
        }
    }

    fn window(&self, field: Field, time: Duration) -> Vec<(f64, f64)> {
        self.past.window(field, time)
    }
}

impl PresentValues<'_> {
    /// A value of the master.
    #[expect(clippy::cast_precision_loss, reason = "numbers of workers and bytes")]
    fn of_master(&self, field: Field, status: &ChannelStatus) -> Option<f64> {
        let yes = |is_so: bool| Some(f64::from(u8::from(is_so)));
        let workers = &status.workers;
        match field {
            Field::FailureRate => self.past.failure_rate(),
            Field::NewPoison => Some(self.trends.poison as f64),
            Field::WaitP50 => percentile(self.recent.wait_seconds, |times| times.p50),
            Field::WaitP95 => percentile(self.recent.wait_seconds, |times| times.p95),
            Field::WaitP99 => percentile(self.recent.wait_seconds, |times| times.p99),
            Field::RunP50 => percentile(self.recent.run_seconds, |times| times.p50),
            Field::RunP95 => percentile(self.recent.run_seconds, |times| times.p95),
            Field::RunP99 => percentile(self.recent.run_seconds, |times| times.p99),
            Field::WorkersWanted => Some(status.wanted_workers() as f64),
            Field::WorkersServing => Some(status.serving_workers() as f64),
            Field::WorkersBusy => Some(workers.busy as f64),
            Field::WorkersMax => Some(self.max_workers as f64),
            Field::WorkersBooting => Some(workers.booting as f64),
            Field::WorkersRestarts => Some(self.trends.restarts as f64),
            Field::StuckSlots => Some(workers.stuck_slots as f64),
            Field::LongestRun => {
                let jobs = status.pool.rows.iter().filter_map(|worker| worker.job.as_ref());
                Some(jobs.map(|job| job.age_ms).max().unwrap_or(0) as f64 / 1000.0)
            }
            Field::WorkersMemory => Some(status.workers_memory() as f64),
            Field::MemoryLimit => self.memory_limit.map(|limit| limit as f64),
            Field::StoreDownFor => Some(status.store_error_ms.unwrap_or(0) as f64 / 1000.0),
            Field::StoreCall => self.recent.store_seconds.map(|calls| f64::from(calls.max)),
            Field::Degraded => yes(status.pool.degraded),
            Field::Quiet => yes(status.quiet),
            Field::Stopping => yes(status.stopping),
            Field::Waiting
            | Field::Delayed
            | Field::Reserved
            | Field::Failed
            | Field::Total
            | Field::StoredBytes
            | Field::OldestWaiting
            | Field::NextDue
            | Field::Paused
            | Field::PausedFor
            | Field::Masters
            | Field::RateIn
            | Field::RateOut => None,
        }
    }
}

/// The share of failed runs; `None` for too few runs.
#[must_use]
pub fn failure_rate(runs: u32, failed: u32) -> Option<f64> {
    (runs >= MIN_RUNS).then(|| f64::from(failed) / f64::from(runs))
}

fn percentile(times: Option<Percentiles>, which: fn(Percentiles) -> f32) -> Option<f64> {
    times.map(|times| f64::from(which(times)))
}

/// The value of a field in a point; `None` also for fields that the history does not have.
#[expect(clippy::cast_precision_loss, reason = "numbers of jobs and bytes")]
fn value_at(point: &Point, field: Field) -> Option<f64> {
    let per_second = |jobs: u64, seconds: f32| (seconds > 0.0).then(|| jobs as f64 / f64::from(seconds));
    match field {
        Field::Waiting => point.store.map(|store| store.waiting as f64),
        Field::Delayed => point.store.map(|store| store.delayed as f64),
        Field::Reserved => point.store.map(|store| store.reserved as f64),
        Field::Failed => point.store.map(|store| store.failed as f64),
        Field::OldestWaiting => point.store.and_then(|store| store.front_waiting).map(f64::from),
        Field::Paused => point.store.map(|store| f64::from(u8::from(store.paused))),
        Field::RateIn => point.flow.and_then(|flow| per_second(flow.arrived, flow.seconds)),
        Field::RateOut => point.flow.and_then(|flow| per_second(flow.settled, flow.seconds)),
        Field::FailureRate => (point.runs > 0).then(|| f64::from(point.failed_runs) / f64::from(point.runs)),
        Field::WaitP50 => percentile(point.wait, |times| times.p50),
        Field::WaitP95 => percentile(point.wait, |times| times.p95),
        Field::WaitP99 => percentile(point.wait, |times| times.p99),
        Field::RunP50 => percentile(point.run, |times| times.p50),
        Field::RunP95 => percentile(point.run, |times| times.p95),
        Field::RunP99 => percentile(point.run, |times| times.p99),
        Field::WorkersWanted => Some(f64::from(point.workers.wanted)),
        Field::WorkersServing => Some(f64::from(point.workers.serving)),
        Field::WorkersBusy => Some(f64::from(point.workers.busy)),
        Field::WorkersMemory => Some(point.memory as f64),
        Field::StoreCall => point.store_calls.map(|calls| f64::from(calls.max)),
        Field::Total
        | Field::StoredBytes
        | Field::NextDue
        | Field::WorkersMax
        | Field::WorkersBooting
        | Field::WorkersRestarts
        | Field::StuckSlots
        | Field::MemoryLimit
        | Field::Masters
        | Field::PausedFor
        | Field::NewPoison
        | Field::LongestRun
        | Field::StoreDownFor
        | Field::Degraded
        | Field::Quiet
        | Field::Stopping => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Flow, StoreValues};

    const NOW: Timestamp = Timestamp(1_796_029_200_000_000);

    /// A point some seconds before now, with this many waiting jobs.
    fn point(ago: u64, waiting: u64) -> Point {
        Point {
            at: Timestamp(NOW.0 - ago * 1_000_000),
            seconds: 10.0,
            store: Some(StoreValues { waiting, ..StoreValues::default() }),
            flow: Some(Flow { arrived: 50, settled: 20, seconds: 10.0 }),
            runs: 8,
            failed_runs: 2,
            ..Point::default()
        }
    }

    #[test]
    fn every_field_of_the_history_has_its_value_there() {
        let full = Point {
            store: Some(StoreValues { front_waiting: Some(4.0), ..StoreValues::default() }),
            wait: Some(Percentiles::default()),
            run: Some(Percentiles::default()),
            store_calls: Some(crate::metrics::CallTimes::default()),
            ..point(0, 7)
        };
        for field in Field::ALL {
            assert_eq!(value_at(&full, *field).is_some(), field.is_in_history(), "{field:?}");
        }
    }

    #[test]
    fn windows_and_the_failure_rate_are_of_their_time() {
        let points = [point(400, 1), point(290, 2), point(60, 4), point(10, 8), point(0, 16)];
        let past = PastValues::new(&points, NOW);
        assert_eq!(
            past.window(Field::Waiting, Duration::from_secs(60)),
            [(60.0, 4.0), (10.0, 8.0), (0.0, 16.0)]
        );
        assert_eq!(past.value(Field::FailureRate), Some(0.25), "of 32 runs");
        assert_eq!(PastValues::new(&points[3..], NOW).value(Field::FailureRate), None, "of 16 runs");
        assert_eq!(past.value(Field::RateIn), Some(5.0));
        assert_eq!(PastValues::new(&[], NOW).value(Field::Waiting), None);
    }

    #[test]
    fn present_values_are_those_of_the_store_and_the_master() {
        let counts = JobCounts {
            waiting: 3,
            delayed: 1,
            done: 10,
            front_ready_at: Some(Timestamp(NOW.0 - 5_000_000)),
            now: NOW,
            bytes: Some(99),
            ..JobCounts::default()
        };
        let status = ChannelStatus { quiet: true, store_error_ms: Some(1_500), ..ChannelStatus::default() };
        let recent = Recent { arrived_per_second: Some(2.5), ..Recent::default() };
        let points = [point(60, 1), point(30, 2)];
        let values = PresentValues {
            counts: Some(&counts),
            status: Some(&status),
            recent: &recent,
            max_workers: 9,
            memory_limit: Some(1 << 20),
            trends: Trends { paused_seconds: 0.0, restarts: 4, poison: 1 },
            masters: Some(2),
            past: PastValues::new(&points, NOW),
        };
        for (field, value) in [
            (Field::Waiting, Some(3.0)),
            (Field::Total, Some(14.0)),
            (Field::StoredBytes, Some(99.0)),
            (Field::OldestWaiting, Some(5.0)),
            (Field::NextDue, None),
            (Field::RateIn, Some(2.5)),
            (Field::RateOut, None),
            (Field::WorkersMax, Some(9.0)),
            (Field::MemoryLimit, Some(1_048_576.0)),
            (Field::WorkersRestarts, Some(4.0)),
            (Field::NewPoison, Some(1.0)),
            (Field::Masters, Some(2.0)),
            (Field::PausedFor, Some(0.0)),
            (Field::StoreDownFor, Some(1.5)),
            (Field::LongestRun, Some(0.0)),
            (Field::Quiet, Some(1.0)),
            (Field::Paused, Some(0.0)),
        ] {
            assert_eq!(values.value(field), value, "{field:?}");
        }
        assert_eq!(values.window(Field::Waiting, Duration::from_secs(60)), [(60.0, 1.0), (30.0, 2.0)]);
        let without_store = PresentValues { counts: None, ..values };
        assert_eq!(without_store.value(Field::Waiting), None);
    }
}
