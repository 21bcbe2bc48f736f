//! Every metric of a master, declared once. Labels come from the configuration and from fixed words, and names of jobs up to a
//! limit, so their number is bounded.
//!
//! Counters and histograms change where the event happens. Gauges are set from samples ([`ChannelMetrics::sample`]) and keep
//! their last value: a scrape reads memory only, also while the store is down.

mod alerts;
mod channel;
mod families;
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
pub use requests::{OTHER_ROUTE, PushedVia, RefusalReason, RequestKind, RequestMetrics};
pub use timings::{CallTimes, Percentiles, RunTotals, Timings};
pub use words::{OUTCOMES, STORE_CALLS};

use self::families::Families;
use crate::store::RefusedPushes;

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

    fn floats(&self, name: &str, help: &str) -> GaugeVec {
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
            Opts::new("aint_queue_build_info", "1; version and revision of the program are labels."),
            &["version", "revision"],
        ));
        // Builders set the variable; a package of the sources has no repository to ask.
        let revision = option_env!("AINT_QUEUE_REVISION").unwrap_or_default();
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
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
            r#"aint_queue_build_info{revision="","#,
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
