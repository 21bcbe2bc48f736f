//! The metrics of one channel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use prometheus::{GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use tokio::time::Instant;

use super::families::Families;
use super::job_names::JobNameMetrics;
use super::raise_to;
use super::requests::{PushedVia, RequestMetrics};
use super::timings::{RunTotals, Timings, is_failure};
use super::words::{
    DROP_REASONS, EXCEPTION_REASONS, EXIT_WAYS, JOB_STATES, OUTCOMES, RECYCLE_LIMITS, RELOAD_RESULTS,
    SCALE_DIRECTIONS, SLOT_STATES, STORE_CALLS, STORE_ERRORS, index_of,
};
use crate::job::FailReason;
use crate::pool::{END_CAUSES, KILL_REASONS, PoolStatus, START_REASONS, SizingReason, WorkerCounts};
use crate::store::{ChannelLimits, JobCounts, StoreError};

/// The metrics of one channel.
#[derive(Clone, Debug)]
pub struct ChannelMetrics {
    name: Arc<str>,
    runs: [IntCounter; OUTCOMES.len()],
    run_seconds: Histogram,
    wait_seconds: Histogram,
    job_names: Arc<Mutex<JobNameMetrics>>,
    leased: IntCounter,
    failed: [IntCounter; FailReason::ALL.len()],
    exceptions: [IntCounter; EXCEPTION_REASONS.len()],
    leases_lost: IntCounter,
    jobs_reaped: IntCounter,
    store_errors: [IntCounter; STORE_ERRORS.len()],
    store_seconds: [Histogram; STORE_CALLS.len()],
    timings: Arc<Mutex<Timings>>,
    reloads: [IntCounter; RELOAD_RESULTS.len()],
    requests: RequestMetrics,
    gauges: Gauges,
    /// When the counts of the store were read last.
    counted_at: Arc<Mutex<Option<Instant>>>,
}

/// The values that samples set.
#[derive(Clone, Debug)]
struct Gauges {
    store_up: IntGauge,
    jobs: [IntGauge; JOB_STATES.len()],
    settled: [IntCounter; EXIT_WAYS.len()],
    front_waiting: GaugeVec,
    next_due: GaugeVec,
    paused: IntGauge,
    sample_age: GaugeVec,
    running: IntGauge,
    ready: IntGauge,
    workers: [IntGauge; 6],
    wanted: IntGauge,
    workers_min: IntGauge,
    workers_max: IntGauge,
    workers_memory: IntGauge,
    worker_memory_max: IntGauge,
    stuck: IntGauge,
    degraded: IntGauge,
    quiet: IntGauge,
    generation: IntGauge,
    max_waiting: IntGauge,
    max_bytes: IntGauge,
    stored_bytes: IntGauge,
    recycled: [IntCounter; RECYCLE_LIMITS.len()],
    started: IntCounterVec,
    ended: IntCounterVec,
    signals: IntCounterVec,
    killed: IntCounterVec,
    dropped_output: [IntCounter; DROP_REASONS.len()],
    scaled: IntCounterVec,
    slots: [IntGauge; SLOT_STATES.len()],
    workers_memory_limit: GaugeVec,
}

/// The state of a channel at a time, apart from the counts of its store.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Jobs in workers.
    pub running: usize,
    /// Jobs leased and not in a worker.
    pub ready: usize,
    /// Whether the store answers the channel.
    pub store_up: bool,
    /// Whether `queue:quiet` is in effect.
    pub quiet: bool,
    /// Workers by activity.
    pub workers: &'a WorkerCounts,
    /// The pool.
    pub pool: &'a PoolStatus,
}

#[cfg(test)]
impl Default for Sample<'_> {
    fn default() -> Self {
        let (workers, pool) = (Box::leak(Box::default()), Box::leak(Box::default()));
        Self { running: 0, ready: 0, store_up: true, quiet: false, workers, pool }
    }
}

impl ChannelMetrics {
    pub(super) fn new(families: &Families, name: &str, requests: RequestMetrics) -> Self {
        let gauge = |metric: &IntGaugeVec| metric.with_label_values(&[name]);
        let labelled = |metric: &IntGaugeVec, label: &str| metric.with_label_values(&[name, label]);
        let counter = |metric: &IntCounterVec, label: &str| metric.with_label_values(&[name, label]);
        let names = JobNameMetrics::new(name, &families.job_runs, &families.job_run_seconds);
        for cause in END_CAUSES {
            // A counter that exists from the start makes the first increase visible.
            families.ended.with_label_values(&[name, cause]);
        }
        for reason in KILL_REASONS {
            families.killed.with_label_values(&[name, reason]);
        }
        for reason in START_REASONS {
            families.started.with_label_values(&[name, reason]);
        }
        for direction in SCALE_DIRECTIONS {
            for reason in SizingReason::ALL {
                families.scaled.with_label_values(&[name, direction, reason.word()]);
            }
        }
        Self {
            name: name.into(),
            runs: OUTCOMES.map(|outcome| counter(&families.runs, outcome)),
            run_seconds: families.run_seconds.with_label_values(&[name]),
            wait_seconds: families.wait_seconds.with_label_values(&[name]),
            job_names: Arc::new(Mutex::new(names)),
            leased: families.leased.with_label_values(&[name]),
            failed: FailReason::ALL.map(|reason| counter(&families.failed, reason.as_str())),
            exceptions: EXCEPTION_REASONS.map(|reason| counter(&families.exceptions, reason)),
            leases_lost: families.leases_lost.with_label_values(&[name]),
            jobs_reaped: families.jobs_reaped.with_label_values(&[name]),
            store_errors: STORE_ERRORS.map(|kind| counter(&families.store_errors, kind)),
            store_seconds: STORE_CALLS.map(|call| families.store_seconds.with_label_values(&[name, call])),
            timings: Arc::default(),
            reloads: RELOAD_RESULTS.map(|result| counter(&families.reloads, result)),
            requests,
            gauges: Gauges {
                store_up: gauge(&families.store_up),
                jobs: JOB_STATES.map(|state| labelled(&families.jobs, state)),
                settled: EXIT_WAYS.map(|how| counter(&families.settled, how)),
                front_waiting: families.front_waiting.clone(),
                next_due: families.next_due.clone(),
                paused: gauge(&families.paused),
                sample_age: families.sample_age.clone(),
                running: gauge(&families.running),
                ready: gauge(&families.ready),
                workers: WorkerCounts::default()
                    .by_activity()
                    .map(|(state, _)| labelled(&families.workers, state)),
                wanted: gauge(&families.wanted),
                workers_min: gauge(&families.workers_min),
                workers_max: gauge(&families.workers_max),
                workers_memory: gauge(&families.workers_memory),
                worker_memory_max: gauge(&families.worker_memory_max),
                stuck: gauge(&families.stuck),
                degraded: gauge(&families.degraded),
                quiet: gauge(&families.quiet),
                generation: gauge(&families.generation),
                max_waiting: gauge(&families.max_waiting),
                max_bytes: gauge(&families.max_bytes),
                stored_bytes: gauge(&families.stored_bytes),
                recycled: RECYCLE_LIMITS.map(|limit| counter(&families.recycled, limit)),
                started: families.started.clone(),
                ended: families.ended.clone(),
                signals: families.signals.clone(),
                killed: families.killed.clone(),
                dropped_output: DROP_REASONS.map(|reason| counter(&families.dropped_output, reason)),
                scaled: families.scaled.clone(),
                slots: SLOT_STATES.map(|state| labelled(&families.slots, state)),
                workers_memory_limit: families.workers_memory_limit.clone(),
            },
            counted_at: Arc::default(),
        }
    }

    /// Counts a run of this job that has ended. `outcome` is one of [`OUTCOMES`].
    pub fn run_ended(&self, job: &str, outcome: &str, took: Duration) {
        self.runs[index_of(&OUTCOMES, outcome)].inc();
        self.run_seconds.observe(took.as_secs_f64());
        lock(&self.job_names).run_ended(job, outcome, took);
        lock(&self.timings).run_ended(outcome, took);
    }

    /// The runs that have ended since the start.
    #[must_use]
    pub fn run_totals(&self) -> RunTotals {
        let counts = OUTCOMES.iter().zip(&self.runs).map(|(outcome, counter)| (outcome, counter.get()));
        counts.fold(RunTotals::default(), |totals, (outcome, runs)| RunTotals {
            ended: totals.ended + runs,
            failed: totals.failed + if is_failure(outcome) { runs } else { 0 },
        })
    }

    /// Counts a dispatch of a job that was ready for `waited`.
    pub fn dispatched(&self, waited: Duration) {
        self.wait_seconds.observe(waited.as_secs_f64());
        lock(&self.timings).dispatched(waited);
    }

    /// Counts an ended reload.
    pub fn reloaded(&self, done: bool) {
        self.reloads[usize::from(!done)].inc();
    }

    /// Counts jobs that a running job has pushed, to this channel unless another one is named.
    pub fn pushed(&self, channel: Option<&str>, jobs: usize) {
        self.requests.pushed(channel.unwrap_or(&self.name), PushedVia::Job, jobs as u64);
    }

    /// Counts leased jobs.
    pub fn leased(&self, jobs: usize) {
        self.leased.inc_by(jobs as u64);
    }

    /// Counts a job that has failed permanently.
    pub fn job_failed(&self, reason: FailReason) {
        self.failed[reason as usize].inc();
    }

    /// The jobs that were given up because they ended their workers or were lost too often.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        [FailReason::Poison, FailReason::Lost].iter().map(|reason| self.failed[*reason as usize].get()).sum()
    }

    /// Counts a refused settlement. `reason` is "stale" or "cleared".
    pub fn exception(&self, reason: &str) {
        self.exceptions[index_of(&EXCEPTION_REASONS, reason)].inc();
    }

    /// Counts jobs of dead masters that were returned to waiting.
    pub fn reaped(&self, jobs: u64) {
        self.jobs_reaped.inc_by(jobs);
    }

    /// Counts a failed store call.
    pub fn store_error(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Unavailable { .. } => "unavailable",
            StoreError::Full { .. } => "full",
            StoreError::Lost => "lost",
            StoreError::Replayed => "replayed",
            StoreError::Corrupt { .. } | StoreError::Refused { .. } => "other",
        };
        self.store_errors[index_of(&STORE_ERRORS, kind)].inc();
        if matches!(error, StoreError::Lost) {
            self.leases_lost.inc();
        }
    }

    /// Counts a store call that has answered. `call` is one of [`STORE_CALLS`].
    pub fn store_call(&self, call: &str, took: Duration) {
        self.store_seconds[index_of(&STORE_CALLS, call)].observe(took.as_secs_f64());
        lock(&self.timings).store_call(took);
    }

    /// Exchanges the timings since the last call for `cleared` ones.
    pub fn exchange_timings(&self, cleared: &mut Timings) {
        std::mem::swap(&mut *lock(&self.timings), cleared);
    }

    /// Sets the limits that the settings have: waiting jobs (0 for none), fewest and most workers.
    pub fn limits(&self, limits: ChannelLimits, workers: (usize, usize)) {
        self.gauges.max_waiting.set(signed(limits.max_waiting.unwrap_or(0)));
        self.gauges.max_bytes.set(signed(limits.max_bytes.unwrap_or(0)));
        self.gauges.workers_min.set(signed(workers.0 as u64));
        self.gauges.workers_max.set(signed(workers.1 as u64));
    }

    /// Sets the values of the store.
    pub fn counts(&self, counts: &JobCounts, now: Instant) {
        let gauges = &self.gauges;
        let states = [counts.waiting, counts.reserved, counts.delayed, counts.failed];
        gauges.jobs.iter().zip(states).for_each(|(gauge, n)| gauge.set(signed(n)));
        gauges.stored_bytes.set(signed(counts.bytes.unwrap_or(0)));
        gauges
            .settled
            .iter()
            .zip([counts.done, counts.cleared])
            .for_each(|(counter, n)| raise_to(counter, n));
        gauges.paused.set(i64::from(counts.paused));
        let waited = counts.front_ready_at.map(|ready| counts.now.since(ready).as_secs_f64());
        set_or_remove(&gauges.front_waiting, &self.name, waited);
        set_or_remove(
            &gauges.next_due,
            &self.name,
            counts.next_due.map(|due| due.since(counts.now).as_secs_f64()),
        );
        *lock(&self.counted_at) = Some(now);
    }

    /// Sets the values of the channel's own state.
    pub fn sample(&self, sample: &Sample<'_>) {
        let (gauges, workers, pool) = (&self.gauges, sample.workers, sample.pool);
        gauges
            .workers
            .iter()
            .zip(workers.by_activity())
            .for_each(|(gauge, (_, n))| gauge.set(signed(n as u64)));
        let memory = pool.rows.iter().filter_map(|worker| worker.memory);
        gauges.workers_memory.set(signed(memory.clone().sum()));
        gauges.worker_memory_max.set(signed(memory.max().unwrap_or(0)));
        gauges.store_up.set(i64::from(sample.store_up));
        gauges.running.set(signed(sample.running as u64));
        gauges.ready.set(signed(sample.ready as u64));
        gauges.stuck.set(signed(workers.stuck_slots as u64));
        gauges.degraded.set(i64::from(pool.degraded));
        gauges.quiet.set(i64::from(sample.quiet));
        gauges.wanted.set(signed(pool.target.unwrap_or(0) as u64));
        gauges.generation.set(signed(pool.generation));
        let raise = |(counter, to): (&IntCounter, u64)| raise_to(counter, to);
        let recycled = pool.recycled;
        let recycled = [recycled.jobs, recycled.life, recycled.memory, recycled.memory_hard];
        gauges.recycled.iter().zip(recycled).for_each(raise);
        for (reason, number) in &pool.lifetimes.started_by {
            raise_to(&gauges.started.with_label_values(&[&*self.name, reason.as_str()]), *number);
        }
        for (cause, number) in &pool.lifetimes.ended {
            raise_to(&gauges.ended.with_label_values(&[&*self.name, cause.as_str()]), *number);
        }
        for (signal, number) in &pool.lifetimes.signals {
            raise_to(&gauges.signals.with_label_values(&[&*self.name, signal.as_str()]), *number);
        }
        for (reason, number) in &pool.lifetimes.killed {
            raise_to(&gauges.killed.with_label_values(&[&*self.name, reason.as_str()]), *number);
        }
        let dropped = pool.dropped_output;
        gauges.dropped_output.iter().zip([dropped.over_rate, dropped.slow_reader]).for_each(raise);
        for (direction, reason, number) in pool.scaled_by.all() {
            raise_to(&gauges.scaled.with_label_values(&[&*self.name, direction, reason.word()]), number);
        }
        let slots = pool.slots.unwrap_or(0);
        let used = sample.running.min(slots);
        gauges.slots.iter().zip([used, slots - used]).for_each(|(gauge, n)| gauge.set(signed(n as u64)));
        set_or_remove(&gauges.workers_memory_limit, &self.name, pool.memory_limit.map(bytes));
    }

    /// Sets the values of a channel that has stopped: this master has no worker and no job of it any more.
    pub fn stopped(&self) {
        let gauges = &self.gauges;
        let workers = gauges.workers.iter().chain([
            &gauges.running,
            &gauges.ready,
            &gauges.wanted,
            &gauges.workers_memory,
            &gauges.worker_memory_max,
            &gauges.stuck,
            &gauges.degraded,
            &gauges.quiet,
            &gauges.slots[0],
            &gauges.slots[1],
        ]);
        workers.for_each(|gauge| gauge.set(0));
    }

    /// Sets the age of the values of the store.
    pub(super) fn set_sample_age(&self, now: Instant) {
        let age = lock(&self.counted_at).map(|at| now.duration_since(at).as_secs_f64());
        set_or_remove(&self.gauges.sample_age, &self.name, age);
    }
}

/// Sets the value of a channel, or removes it.
fn set_or_remove(gauge: &GaugeVec, channel: &str, value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(&[channel]).set(value),
        // Absent already is fine.
        None => drop(gauge.remove_label_values(&[channel])),
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "the format of Prometheus has no other numbers")]
fn bytes(count: u64) -> f64 {
    count as f64
}
