//! Every metric of a master, declared once. Labels come from the configuration and from fixed words, and names of jobs up to a
//! limit, so their number is bounded.
//!
//! Counters and histograms change where the event happens. Gauges are set from samples ([`ChannelMetrics::sample`]) and keep
//! their last value: a scrape reads memory only, also while the store is down.

mod alerts;
mod channel;
mod job_names;
mod requests;
mod timings;
mod words;

use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tokio::time::Instant;

pub use alerts::{AlertMetrics, MessageCounts};
pub use channel::{ChannelMetrics, Sample};
pub use requests::{OTHER_ROUTE, PushedVia, RequestMetrics};
pub use timings::{CallTimes, Percentiles, RunTotals, Timings};
pub use words::{OUTCOMES, STORE_CALLS};

use crate::store::RefusedPushes;

/// Upper bounds of the buckets of waits and runs, in seconds: a millisecond to an hour.
const RUN_BUCKETS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1800.0, 3600.0,
];
/// Upper bounds of the buckets of store calls, in seconds.
const STORE_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The metrics of one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// The names of all metrics of this program; those of the process come from a library.
    names: Arc<Mutex<Vec<String>>>,
    families: Families,
    dropped_lines: IntCounter,
    loop_lag: Gauge,
    requests: RequestMetrics,
    alerts: AlertMetrics,
    channels: Arc<Mutex<Vec<ChannelMetrics>>>,
}

/// The metrics that have one value per channel.
#[derive(Clone, Debug)]
struct Families {
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    wait_seconds: HistogramVec,
    job_runs: IntCounterVec,
    job_run_seconds: prometheus::CounterVec,
    leased: IntCounterVec,
    failed: IntCounterVec,
    exceptions: IntCounterVec,
    leases_lost: IntCounterVec,
    jobs_reaped: IntCounterVec,
    store_errors: IntCounterVec,
    store_seconds: HistogramVec,
    store_up: IntGaugeVec,
    jobs: IntGaugeVec,
    settled: IntCounterVec,
    front_waiting: GaugeVec,
    next_due: GaugeVec,
    paused: IntGaugeVec,
    sample_age: GaugeVec,
    running: IntGaugeVec,
    ready: IntGaugeVec,
    workers: IntGaugeVec,
    wanted: IntGaugeVec,
    workers_min: IntGaugeVec,
    workers_max: IntGaugeVec,
    workers_memory: IntGaugeVec,
    worker_memory_max: IntGaugeVec,
    stuck: IntGaugeVec,
    degraded: IntGaugeVec,
    quiet: IntGaugeVec,
    generation: IntGaugeVec,
    max_waiting: IntGaugeVec,
    max_bytes: IntGaugeVec,
    stored_bytes: IntGaugeVec,
    refused_pushes: IntCounterVec,
    recycled: IntCounterVec,
    started: IntCounterVec,
    ended: IntCounterVec,
    signals: IntCounterVec,
    killed: IntCounterVec,
    dropped_output: IntCounterVec,
    scaled: IntCounterVec,
    reloads: IntCounterVec,
}

/// Adds metrics to a registry.
struct Declaration<'a> {
    registry: &'a Registry,
    names: &'a Mutex<Vec<String>>,
}

impl Declaration<'_> {
    fn add<T: Collector + Clone + 'static>(&self, metric: prometheus::Result<T>) -> T {
        let metric = metric.expect("a valid declaration");
        self.registry.register(Box::new(metric.clone())).expect("each name is declared once");
        lock(self.names).extend(metric.desc().into_iter().map(|description| description.fq_name.clone()));
        metric
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.counters_of(name, help, &with_channel(labels))
    }

    /// Counters that are not per channel.
    fn counters_of(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), &with_channel(labels)))
    }

    fn seconds(&self, name: &str, help: &str) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), &["channel"]))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.histograms_of(name, help, &with_channel(labels), buckets)
    }

    /// Histograms that are not per channel.
    fn histograms_of(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, labels))
    }
}

fn with_channel<'a>(labels: &[&'a str]) -> Vec<&'a str> {
    [&["channel"], labels].concat()
}

impl Families {
    fn new(declare: &Declaration<'_>) -> Self {
        Self {
            runs: declare.counters("aint_queue_runs_total", "Ended runs, by outcome.", &["outcome"]),
            run_seconds: declare.histograms(
                "aint_queue_run_seconds",
                "Duration of runs, from dispatch to end.",
                &[],
                &RUN_BUCKETS,
            ),
            wait_seconds: declare.histograms(
                "aint_queue_wait_seconds",
                "Time from which a job is ready until its dispatch to a worker.",
                &[],
                &RUN_BUCKETS,
            ),
            job_runs: declare.counters(
                "aint_queue_job_runs_total",
                "Ended runs, by name of the job and outcome; at most 100 names per channel, then \"other\".",
                &["job", "outcome"],
            ),
            job_run_seconds: declare.add(prometheus::CounterVec::new(
                Opts::new("aint_queue_job_run_seconds_total", "Sum of the durations of ended runs, by name of the job."),
                &["channel", "job"],
            )),
            leased: declare.counters("aint_queue_leased_total", "Jobs leased from the store.", &[]),
            failed: declare.counters(
                "aint_queue_jobs_failed_total",
                "Jobs that this master has let fail permanently, by reason.",
                &["reason"],
            ),
            exceptions: declare.counters(
                "aint_queue_settle_exceptions_total",
                "Settlements that the store refused, by reason.",
                &["reason"],
            ),
            leases_lost: declare.counters(
                "aint_queue_leases_lost_total",
                "Leases of this master that ran out: its jobs went to others.",
                &[],
            ),
            jobs_reaped: declare.counters(
                "aint_queue_jobs_reaped_total",
                "Jobs of dead masters that this master returned to waiting.",
                &[],
            ),
            store_errors: declare.counters("aint_queue_store_errors_total", "Failed store calls, by kind.", &["kind"]),
            store_seconds: declare.histograms(
                "aint_queue_store_seconds",
                "Duration of store calls, by call.",
                &["call"],
                &STORE_BUCKETS,
            ),
            store_up: declare.gauges("aint_queue_store_up", "1 while the store answers.", &[]),
            jobs: declare.gauges(
                "aint_queue_jobs",
                "Jobs in the store, by state. Store-wide: every master exports the same value, use max by (channel, state).",
                &["state"],
            ),
            settled: declare.counters(
                "aint_queue_jobs_settled_total",
                "Jobs that left the store since the channel was created, by exit: done, cleared. Store-wide: use max by (channel, how).",
                &["how"],
            ),
            front_waiting: declare.seconds(
                "aint_queue_front_waiting_seconds",
                "Time for which the front waiting job has waited; absent without one. Store-wide: use max by (channel).",
            ),
            next_due: declare.seconds(
                "aint_queue_next_due_seconds",
                "Time until the next delayed job is due; absent without one. Store-wide: use max by (channel).",
            ),
            paused: declare.gauges(
                "aint_queue_paused",
                "1 while the channel is paused. Store-wide: use max by (channel).",
                &[],
            ),
            sample_age: declare.seconds(
                "aint_queue_snapshot_age_seconds",
                "Age of the store-wide values of the channel; absent before the first.",
            ),
            running: declare.gauges("aint_queue_running_jobs", "Jobs in workers of this master.", &[]),
            ready: declare.gauges(
                "aint_queue_ready_jobs",
                "Jobs that this master has leased and that are not in a worker yet.",
                &[],
            ),
            workers: declare.gauges("aint_queue_workers", "Worker processes, by state.", &["state"]),
            wanted: declare.gauges("aint_queue_workers_wanted", "Target number of serving workers.", &[]),
            workers_min: declare.gauges("aint_queue_workers_min", "Fewest serving workers that the settings allow.", &[]),
            workers_max: declare.gauges("aint_queue_workers_max", "Most workers that the settings allow.", &[]),
            workers_memory: declare.gauges(
                "aint_queue_workers_memory_bytes",
                "Resident memory of all workers in the last sample.",
                &[],
            ),
            worker_memory_max: declare.gauges(
                "aint_queue_worker_memory_max_bytes",
                "Resident memory of the largest worker in the last sample.",
                &[],
            ),
            stuck: declare.gauges(
                "aint_queue_stuck_slots",
                "Slots whose job was asked to end and has not ended within the grace period.",
                &[],
            ),
            degraded: declare.gauges(
                "aint_queue_degraded",
                "1 while no job is leased because workers fail to start (exec programs: one job at a time, as a test).",
                &[],
            ),
            quiet: declare.gauges("aint_queue_quiet", "1 while this master takes no jobs because of queue:quiet.", &[]),
            generation: declare.gauges(
                "aint_queue_generation",
                "Generation of workers in force, from 1; every reload begins another.",
                &[],
            ),
            max_waiting: declare.gauges(
                "aint_queue_max_waiting",
                "Limit of waiting and delayed jobs (max_waiting); 0 without one.",
                &[],
            ),
            max_bytes: declare.gauges(
                "aint_queue_max_bytes",
                "Limit of the bytes of all jobs in the store (max_bytes); 0 without one.",
                &[],
            ),
            stored_bytes: declare.gauges(
                "aint_queue_stored_bytes",
                "Bytes of all jobs in the store, counted from the first max_bytes on; else 0. The same from every master.",
                &[],
            ),
            refused_pushes: declare.counters(
                "aint_queue_pushes_refused_total",
                "Pushes by this master that were refused for want of room, by reason.",
                &["reason"],
            ),
            recycled: declare.counters(
                "aint_queue_workers_recycled_total",
                "Workers replaced or killed, by limit.",
                &["limit"],
            ),
            started: declare.counters("aint_queue_workers_started_total", "Workers started.", &[]),
            ended: declare.counters("aint_queue_workers_ended_total", "Workers that have ended, by cause.", &["cause"]),
            signals: declare.counters(
                "aint_queue_worker_signals_total",
                "Workers that died by a signal, by signal.",
                &["signal"],
            ),
            killed: declare.counters(
                "aint_queue_killed_processes_total",
                "Worker processes that the master has killed with all their descendants, by reason.",
                &["reason"],
            ),
            dropped_output: declare.counters(
                "aint_queue_worker_lines_dropped_total",
                "Lines printed by workers that are not in the log, by reason.",
                &["reason"],
            ),
            reloads: declare.counters(
                "aint_queue_reloads_total",
                "Ended reloads, by result: done, or failed with the previous configuration and workers kept.",
                &["result"],
            ),
            scaled: declare.counters(
                "aint_queue_scale_decisions_total",
                "Changes of the target number of workers, by direction.",
                &["direction"],
            ),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let names = Arc::<Mutex<Vec<String>>>::default();
        let declare = Declaration { registry: &registry, names: &names };
        let families = Families::new(&declare);
        let dropped_lines = declare.add(IntCounter::new(
            "aint_queue_master_lines_dropped_total",
            "Log lines of the master that were dropped because the log was read too slowly.",
        ));
        let loop_lag = declare.add(Gauge::new(
            "aint_queue_loop_lag_seconds",
            "Delay of the last sample behind its time: how late the master gets to its work.",
        ));
        let requests = RequestMetrics::new(&declare);
        let alerts = AlertMetrics::new(&declare);
        Self {
            families,
            dropped_lines,
            loop_lag,
            requests,
            alerts,
            channels: Arc::default(),
            names,
            registry,
        }
    }
}

impl Metrics {
    /// The metrics of a master: beside those of its channels, those of its process.
    #[must_use]
    pub fn of_master() -> Self {
        let metrics = Self::default();
        let declare = Declaration { registry: &metrics.registry, names: &metrics.names };
        let started = declare.add(Gauge::new(
            "aint_queue_master_start_time_seconds",
            "Start of this master, in seconds since 1970.",
        ));
        started.set(jiff::Timestamp::now().as_duration().as_secs_f64());
        let build = declare.add(IntGaugeVec::new(
            Opts::new("aint_queue_build_info", "1; the version of the program is a label."),
            &["version"],
        ));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("each name is declared once");
        metrics
    }

    /// The metrics of one channel. Callers look them up once, because runs and leases update them on the hot path.
    #[must_use]
    pub fn channel(&self, name: &str) -> ChannelMetrics {
        let metrics = ChannelMetrics::new(&self.families, name, self.requests.clone());
        lock(&self.channels).push(metrics.clone());
        metrics
    }

    /// The metrics of requests and pushes.
    #[must_use]
    pub fn requests(&self) -> RequestMetrics {
        self.requests.clone()
    }

    /// The metrics of alerts.
    #[must_use]
    pub fn alerts(&self) -> AlertMetrics {
        self.alerts.clone()
    }

    /// Updates the number of the master's own lines that are not in the log.
    pub fn master_lines_dropped(&self, lines: u64) {
        raise_to(&self.dropped_lines, lines);
    }

    /// Sets how late the last sample was.
    pub fn loop_lag(&self, lag: std::time::Duration) {
        self.loop_lag.set(lag.as_secs_f64());
    }

    /// The names of all metrics, also of those that have no value yet.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.names).clone()
    }

    /// Updates the numbers of refused pushes, also into channels that this master does not serve.
    fn count_refused_pushes(&self) {
        for (channel, refused) in RefusedPushes::by_channel() {
            for (reason, pushes) in refused.by_reason() {
                raise_to(&self.families.refused_pushes.with_label_values(&[&*channel, reason]), pushes);
            }
        }
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        for channel in lock(&self.channels).iter() {
            channel.set_sample_age(Instant::now());
        }
        self.count_refused_pushes();
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("metrics declared here always encode")
    }
}

/// Raises a counter to a count that only grows; resets the counter first when the count has restarted.
fn raise_to(counter: &IntCounter, to: u64) {
    if to < counter.get() {
        counter.reset();
    }
    counter.inc_by(to - counter.get());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::Timestamp;
    use crate::pool::{DroppedOutput, PoolStatus, RecycleCounts, WorkerCounts};
    use crate::store::JobCounts;

    #[test]
    fn values_are_rendered_with_labels() {
        let metrics = Metrics::of_master();
        let mail = metrics.channel("mail");
        mail.run_ended("send", "timed_out", Duration::from_millis(30));
        mail.dispatched(Duration::from_millis(2));
        mail.exception("stale");
        mail.store_call("turn", Duration::from_micros(300));
        let now = Instant::now();
        let counts =
            JobCounts { waiting: 4, reserved: 3, delayed: 2, failed: 1, done: 10, ..JobCounts::default() };
        let counts = JobCounts {
            front_ready_at: Some(Timestamp(1_000_000)),
            now: Timestamp(3_500_000),
            paused: true,
            ..counts
        };
        let pool = |degraded, memory| PoolStatus {
            degraded,
            recycled: RecycleCounts { memory, ..RecycleCounts::default() },
            dropped_output: DroppedOutput { over_rate: memory, slow_reader: 2 },
            ..PoolStatus::default()
        };
        mail.counts(&counts, now);
        let workers = WorkerCounts { retiring: 5, ..WorkerCounts::default() };
        mail.sample(&Sample { workers: &workers, pool: &pool(false, 7), ..Sample::default() });
        mail.sample(&Sample { pool: &pool(true, 8), ..Sample::default() });
        metrics.master_lines_dropped(3);
        let text = metrics.render();
        for line in [
            r#"aint_queue_runs_total{channel="mail",outcome="timed_out"} 1"#,
            r#"aint_queue_job_runs_total{channel="mail",job="send",outcome="timed_out"} 1"#,
            r#"aint_queue_job_run_seconds_total{channel="mail",job="send"} 0.03"#,
            r#"aint_queue_wait_seconds_bucket{channel="mail",le="0.0025"} 1"#,
            r#"aint_queue_store_seconds_bucket{call="turn",channel="mail",le="0.0005"} 1"#,
            r#"aint_queue_jobs{channel="mail",state="waiting"} 4"#,
            r#"aint_queue_jobs_settled_total{channel="mail",how="done"} 10"#,
            r#"aint_queue_front_waiting_seconds{channel="mail"} 2.5"#,
            r#"aint_queue_paused{channel="mail"} 1"#,
            r#"aint_queue_settle_exceptions_total{channel="mail",reason="stale"} 1"#,
            r#"aint_queue_workers{channel="mail",state="retiring"} 0"#,
            r#"aint_queue_degraded{channel="mail"} 1"#,
            r#"aint_queue_workers_recycled_total{channel="mail",limit="memory"} 8"#,
            r#"aint_queue_worker_lines_dropped_total{channel="mail",reason="rate"} 8"#,
            r#"aint_queue_worker_lines_dropped_total{channel="mail",reason="slow_reader"} 2"#,
            "aint_queue_master_lines_dropped_total 3",
            r#"aint_queue_run_seconds_bucket{channel="mail",le="0.05"} 1"#,
            "process_resident_memory_bytes",
            "aint_queue_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("aint_queue_next_due_seconds{"), "no job is due");
        mail.counts(&JobCounts::default(), now);
        assert!(!metrics.render().contains("aint_queue_front_waiting_seconds{"), "no job waits");
    }

    #[test]
    fn counter_of_a_new_store_restarts() {
        let counter = IntCounter::new("x", "x").unwrap();
        raise_to(&counter, 7);
        raise_to(&counter, 9);
        assert_eq!(counter.get(), 9);
        raise_to(&counter, 2);
        assert_eq!(counter.get(), 2);
    }
}
