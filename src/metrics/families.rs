//! The metrics that have one value per channel.

use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

use super::Declaration;

/// Upper bounds of the buckets of waits and runs, in seconds: a millisecond to an hour.
const RUN_BUCKETS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0, 1800.0, 3600.0,
];
/// Upper bounds of the buckets of store calls, in seconds.
const STORE_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The metrics of all channels.
#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) runs: IntCounterVec,
    pub(super) run_seconds: HistogramVec,
    pub(super) wait_seconds: HistogramVec,
    pub(super) job_runs: IntCounterVec,
    pub(super) job_run_seconds: CounterVec,
    pub(super) leased: IntCounterVec,
    pub(super) failed: IntCounterVec,
    pub(super) exceptions: IntCounterVec,
    pub(super) leases_lost: IntCounterVec,
    pub(super) jobs_reaped: IntCounterVec,
    pub(super) store_errors: IntCounterVec,
    pub(super) store_seconds: HistogramVec,
    pub(super) store_up: IntGaugeVec,
    pub(super) jobs: IntGaugeVec,
    pub(super) settled: IntCounterVec,
    pub(super) front_waiting: GaugeVec,
    pub(super) next_due: GaugeVec,
    pub(super) paused: IntGaugeVec,
    pub(super) sample_age: GaugeVec,
    pub(super) running: IntGaugeVec,
    pub(super) ready: IntGaugeVec,
    pub(super) workers: IntGaugeVec,
    pub(super) wanted: IntGaugeVec,
    pub(super) workers_min: IntGaugeVec,
    pub(super) workers_max: IntGaugeVec,
    pub(super) workers_memory: IntGaugeVec,
    pub(super) worker_memory_max: IntGaugeVec,
    pub(super) workers_memory_limit: GaugeVec,
    pub(super) slots: IntGaugeVec,
    pub(super) stuck: IntGaugeVec,
    pub(super) degraded: IntGaugeVec,
    pub(super) quiet: IntGaugeVec,
    pub(super) generation: IntGaugeVec,
    pub(super) max_waiting: IntGaugeVec,
    pub(super) max_bytes: IntGaugeVec,
    pub(super) stored_bytes: IntGaugeVec,
    pub(super) refused_pushes: IntCounterVec,
    pub(super) recycled: IntCounterVec,
    pub(super) started: IntCounterVec,
    pub(super) ended: IntCounterVec,
    pub(super) signals: IntCounterVec,
    pub(super) killed: IntCounterVec,
    pub(super) dropped_output: IntCounterVec,
    pub(super) scaled: IntCounterVec,
    pub(super) reloads: IntCounterVec,
}

impl Families {
    pub(super) fn new(declare: &Declaration<'_>) -> Self {
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
            job_run_seconds: declare.add(CounterVec::new(
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
            front_waiting: declare.floats(
                "aint_queue_front_waiting_seconds",
                "Time for which the front waiting job has waited; absent without one. Store-wide: use max by (channel).",
            ),
            next_due: declare.floats(
                "aint_queue_next_due_seconds",
                "Time until the next delayed job is due; absent without one. Store-wide: use max by (channel).",
            ),
            paused: declare.gauges(
                "aint_queue_paused",
                "1 while the channel is paused. Store-wide: use max by (channel).",
                &[],
            ),
            sample_age: declare.floats(
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
            workers_memory_limit: declare.floats(
                "aint_queue_workers_memory_limit_bytes",
                "Bytes that all workers may use together; absent without a limit.",
            ),
            slots: declare.gauges(
                "aint_queue_worker_slots",
                "Jobs that the ready workers can run together: used by a job, or free.",
                &["state"],
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
                "Pushes by this master that were refused because there was no room, by reason.",
                &["reason"],
            ),
            recycled: declare.counters(
                "aint_queue_workers_recycled_total",
                "Workers replaced or killed, by limit.",
                &["limit"],
            ),
            started: declare.counters("aint_queue_workers_started_total", "Workers started, by reason.", &["why"]),
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
                "Changes of the target number of workers, by direction and reason.",
                &["direction", "reason"],
            ),
        }
    }
}
