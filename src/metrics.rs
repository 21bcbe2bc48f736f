//! Every metric, declared once. Labels come from the configuration and from fixed words, so their number is bounded.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use crate::pool::{PoolStatus, WorkerCounts};

/// The metrics of one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    leased: IntCounterVec,
    exceptions: IntCounterVec,
    store_errors: IntCounterVec,
    jobs: IntGaugeVec,
    settled: IntGaugeVec,
    workers: IntGaugeVec,
    stuck: IntGaugeVec,
    degraded: IntGaugeVec,
    quiet: IntGaugeVec,
    wanted: IntGaugeVec,
    max_waiting: IntGaugeVec,
    refused_pushes: IntCounterVec,
    recycled: IntCounterVec,
    dropped_output: IntCounterVec,
    dropped_lines: IntCounter,
    scaled: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let buckets = vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
        let options = HistogramOpts::new("aint_queue_run_seconds", "Duration of runs, from dispatch to end.");
        let run_seconds = register(&registry, HistogramVec::new(options.buckets(buckets), &["channel"]));
        Self {
            runs: counter("aint_queue_runs_total", "Ended runs, by outcome.", &["channel", "outcome"]),
            leased: counter("aint_queue_leased_total", "Jobs leased from the store.", &["channel"]),
            exceptions: counter(
                "aint_queue_settle_exceptions_total",
                "Settlements that the store refused, by reason.",
                &["channel", "reason"],
            ),
            store_errors: counter("aint_queue_store_errors_total", "Failed store calls.", &["channel"]),
            jobs: gauge("aint_queue_jobs", "Jobs in the store, by state.", &["channel", "state"]),
            settled: gauge(
                "aint_queue_jobs_settled",
                "Jobs that left the store since the channel was created, by exit: done, cleared.",
                &["channel", "how"],
            ),
            workers: gauge("aint_queue_workers", "Worker processes, by state.", &["channel", "state"]),
            stuck: gauge(
                "aint_queue_stuck_slots",
                "Slots whose job was asked to end and has not ended within the grace period.",
                &["channel"],
            ),
            degraded: gauge(
                "aint_queue_degraded",
                "1 while no job is leased because workers fail to start (exec programs: one job at a time, as a test).",
                &["channel"],
            ),
            quiet: gauge(
                "aint_queue_quiet",
                "1 while this master takes no jobs because of queue:quiet.",
                &["channel"],
            ),
            max_waiting: gauge(
                "aint_queue_max_waiting",
                "Limit of waiting and delayed jobs (max_waiting); 0 without one.",
                &["channel"],
            ),
            refused_pushes: counter(
                "aint_queue_pushes_refused_total",
                "Pushes by this master that were refused for want of room, by reason.",
                &["channel", "reason"],
            ),
            wanted: gauge("aint_queue_workers_wanted", "Target number of serving workers.", &["channel"]),
            recycled: counter(
                "aint_queue_workers_recycled_total",
                "Workers replaced or killed, by limit.",
                &["channel", "limit"],
            ),
            dropped_output: counter(
                "aint_queue_worker_lines_dropped_total",
                "Lines printed by workers that are not in the log, by reason.",
                &["channel", "reason"],
            ),
            dropped_lines: register(
                &registry,
                IntCounter::with_opts(Opts::new(
                    "aint_queue_master_lines_dropped_total",
                    "Log lines of the master that were dropped because the log was read too slowly.",
                )),
            ),
            scaled: counter(
                "aint_queue_scale_decisions_total",
                "Changes of the target number of workers, by direction.",
                &["channel", "direction"],
            ),
            run_seconds,
            registry,
        }
    }
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<T>) -> T {
    let metric = metric.expect("a valid declaration");
    registry.register(Box::new(metric.clone())).expect("each name is declared once");
    metric
}

/// Outcomes of runs.
pub const OUTCOMES: [&str; 9] = [
    "done",
    "failed",
    "released",
    "timed_out",
    "crashed",
    "crashed_in_company",
    "lost",
    "interrupted",
    "cancelled",
];
/// Reasons for refused settlements.
pub const EXCEPTION_REASONS: [&str; 2] = ["stale", "cleared"];
/// Job states whose number of jobs is exported.
pub const JOB_STATES: [&str; 4] = ["waiting", "reserved", "delayed", "failed"];
/// Ways in which jobs leave the store.
pub const EXIT_WAYS: [&str; 2] = ["done", "cleared"];
/// Limits that end workers.
pub const RECYCLE_LIMITS: [&str; 4] = ["jobs", "life", "memory", "memory_hard"];
/// Reasons why a line of a worker is not in the log.
pub const DROP_REASONS: [&str; 2] = ["rate", "slow_reader"];
/// Reasons for refused pushes.
pub const REFUSAL_REASONS: [&str; 2] = ["max_waiting", "store_full"];
/// Directions of a change of the target number of workers.
pub const SCALE_DIRECTIONS: [&str; 2] = ["up", "down"];

impl Metrics {
    /// The metrics of one channel. Callers look them up once, because runs and leases update them on the hot path.
    #[must_use]
    pub fn channel(&self, name: &str) -> ChannelMetrics {
        let gauge = |metric: &IntGaugeVec, label: &str| metric.with_label_values(&[name, label]);
        let counter = |metric: &IntCounterVec, label: &str| metric.with_label_values(&[name, label]);
        ChannelMetrics {
            runs: OUTCOMES.map(|outcome| counter(&self.runs, outcome)),
            run_seconds: self.run_seconds.with_label_values(&[name]),
            leased: self.leased.with_label_values(&[name]),
            exceptions: EXCEPTION_REASONS.map(|reason| counter(&self.exceptions, reason)),
            store_errors: self.store_errors.with_label_values(&[name]),
            jobs: JOB_STATES.map(|state| gauge(&self.jobs, state)),
            settled: EXIT_WAYS.map(|how| gauge(&self.settled, how)),
            workers: WorkerCounts::default().by_activity().map(|(state, _)| gauge(&self.workers, state)),
            stuck: self.stuck.with_label_values(&[name]),
            degraded: self.degraded.with_label_values(&[name]),
            quiet: self.quiet.with_label_values(&[name]),
            wanted: self.wanted.with_label_values(&[name]),
            max_waiting: self.max_waiting.with_label_values(&[name]),
            refused_pushes: REFUSAL_REASONS.map(|reason| counter(&self.refused_pushes, reason)),
            recycled: RECYCLE_LIMITS.map(|limit| counter(&self.recycled, limit)),
            dropped_output: DROP_REASONS.map(|reason| counter(&self.dropped_output, reason)),
            scaled: SCALE_DIRECTIONS.map(|direction| counter(&self.scaled, direction)),
        }
    }

    /// Updates the number of the master's own lines that are not in the log.
    pub fn master_lines_dropped(&self, lines: u64) {
        raise_to((&self.dropped_lines, lines));
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("metrics declared here always encode")
    }
}

/// The metrics of one channel.
#[derive(Clone, Debug)]
pub struct ChannelMetrics {
    runs: [IntCounter; OUTCOMES.len()],
    run_seconds: Histogram,
    leased: IntCounter,
    exceptions: [IntCounter; EXCEPTION_REASONS.len()],
    store_errors: IntCounter,
    jobs: [IntGauge; JOB_STATES.len()],
    settled: [IntGauge; EXIT_WAYS.len()],
    workers: [IntGauge; 6],
    stuck: IntGauge,
    degraded: IntGauge,
    quiet: IntGauge,
    wanted: IntGauge,
    max_waiting: IntGauge,
    refused_pushes: [IntCounter; REFUSAL_REASONS.len()],
    recycled: [IntCounter; RECYCLE_LIMITS.len()],
    dropped_output: [IntCounter; DROP_REASONS.len()],
    scaled: [IntCounter; SCALE_DIRECTIONS.len()],
}

impl ChannelMetrics {
    /// Counts a run that has ended. `outcome` is one of [`OUTCOMES`].
    pub fn run_ended(&self, outcome: &str, took: Duration) {
        self.runs[index_of(&OUTCOMES, outcome)].inc();
        self.run_seconds.observe(took.as_secs_f64());
    }

    /// Counts leased jobs.
    pub fn leased(&self, jobs: usize) {
        self.leased.inc_by(jobs as u64);
    }

    /// Counts a refused settlement. `reason` is one of [`EXCEPTION_REASONS`].
    pub fn exception(&self, reason: &str) {
        self.exceptions[index_of(&EXCEPTION_REASONS, reason)].inc();
    }

    /// Counts a failed store call.
    pub fn store_error(&self) {
        self.store_errors.inc();
    }

    /// Sets the number of jobs: `states` in the order of [`JOB_STATES`], `settled` in the order of [`EXIT_WAYS`].
    pub fn depth(&self, states: [u64; JOB_STATES.len()], settled: [u64; EXIT_WAYS.len()]) {
        self.jobs.iter().zip(states).for_each(|(gauge, n)| gauge.set(signed(n)));
        self.settled.iter().zip(settled).for_each(|(gauge, n)| gauge.set(signed(n)));
    }

    /// Sets the limit of waiting jobs, 0 for none.
    pub fn max_waiting(&self, limit: u64) {
        self.max_waiting.set(signed(limit));
    }

    /// Updates the numbers of refused pushes, in the order of [`REFUSAL_REASONS`].
    pub fn refused_pushes(&self, refused: [u64; REFUSAL_REASONS.len()]) {
        self.refused_pushes.iter().zip(refused).for_each(raise_to);
    }

    /// Updates the metrics of the workers. `quiet` says whether `queue:quiet` is in effect.
    pub fn pool(&self, workers: &WorkerCounts, pool: &PoolStatus, quiet: bool) {
        self.workers
            .iter()
            .zip(workers.by_activity())
            .for_each(|(gauge, (_, n))| gauge.set(signed(n as u64)));
        self.stuck.set(signed(workers.stuck_slots as u64));
        self.degraded.set(i64::from(pool.degraded));
        self.quiet.set(i64::from(quiet));
        self.wanted.set(signed(pool.target.unwrap_or(0) as u64));
        let recycled = pool.recycled;
        let recycled = [recycled.jobs, recycled.life, recycled.memory, recycled.memory_hard];
        self.recycled.iter().zip(recycled).for_each(raise_to);
        let dropped = pool.dropped_output;
        self.dropped_output.iter().zip([dropped.over_rate, dropped.slow_reader]).for_each(raise_to);
        self.scaled.iter().zip([pool.scaled_up, pool.scaled_down]).for_each(raise_to);
    }
}

/// Raises a counter to a count that only grows.
fn raise_to((counter, to): (&IntCounter, u64)) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn index_of(words: &[&str], word: &str) -> usize {
    words.iter().position(|w| *w == word).expect("callers pass words of the list")
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{DroppedOutput, RecycleCounts};

    #[test]
    fn counters_are_rendered_with_labels() {
        let metrics = Metrics::default();
        let mail = metrics.channel("mail");
        mail.run_ended("timed_out", Duration::from_millis(30));
        mail.depth([4, 3, 2, 1], [10, 0]);
        mail.exception("stale");
        let pool = |degraded, memory| PoolStatus {
            degraded,
            recycled: RecycleCounts { memory, ..RecycleCounts::default() },
            dropped_output: DroppedOutput { over_rate: memory, slow_reader: 2 },
            ..PoolStatus::default()
        };
        mail.pool(&WorkerCounts { retiring: 5, ..WorkerCounts::default() }, &pool(false, 7), false);
        mail.pool(&WorkerCounts::default(), &pool(true, 8), false);
        metrics.master_lines_dropped(3);
        mail.refused_pushes([4, 1]);
        let text = metrics.render();
        for line in [
            r#"aint_queue_runs_total{channel="mail",outcome="timed_out"} 1"#,
            r#"aint_queue_jobs{channel="mail",state="waiting"} 4"#,
            r#"aint_queue_jobs_settled{channel="mail",how="done"} 10"#,
            r#"aint_queue_settle_exceptions_total{channel="mail",reason="stale"} 1"#,
            r#"aint_queue_workers{channel="mail",state="retiring"} 0"#,
            r#"aint_queue_degraded{channel="mail"} 1"#,
            r#"aint_queue_workers_recycled_total{channel="mail",limit="memory"} 8"#,
            r#"aint_queue_worker_lines_dropped_total{channel="mail",reason="rate"} 8"#,
            r#"aint_queue_worker_lines_dropped_total{channel="mail",reason="slow_reader"} 2"#,
            "aint_queue_master_lines_dropped_total 3",
            r#"aint_queue_pushes_refused_total{channel="mail",reason="max_waiting"} 4"#,
            r#"aint_queue_run_seconds_bucket{channel="mail",le="0.05"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
