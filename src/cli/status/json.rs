//! JSON form of the status.

use serde::Serialize;

use super::view::StatusView;
use crate::cli::time;
use crate::pool::{PoolStatus, WorkerCounts};
use crate::store;

/// The status of a channel as JSON.
#[derive(Serialize)]
pub(super) struct StatusJson<'a> {
    channel: &'a str,
    running: bool,
    pid: Option<i32>,
    waiting: u64,
    reserved: u64,
    delayed: u64,
    done: u64,
    failed: u64,
    cleared: u64,
    total: u64,
    paused: bool,
    paused_until: Option<String>,
    quiet: bool,
    stopping: bool,
    master_error: Option<&'a str>,
    store_error: Option<&'a str>,
    worker_error: Option<&'a str>,
    degraded: bool,
    driver: &'a str,
    durability: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<Workers<'a>>,
}

/// The workers as JSON: counts, one entry per worker, and the sizing decisions.
#[derive(Serialize)]
struct Workers<'a> {
    counts: &'a WorkerCounts,
    #[serde(flatten)]
    pool: &'a PoolStatus,
}

impl<'a> From<&'a StatusView> for StatusJson<'a> {
    fn from(report: &'a StatusView) -> Self {
        let store::JobCounts { waiting, reserved, delayed, done, failed, cleared, paused, paused_until } =
            report.counts;
        Self {
            channel: &report.channel,
            running: report.master.presence.running,
            pid: report.master.presence.pid,
            waiting,
            reserved,
            delayed,
            done,
            failed,
            cleared,
            total: report.counts.total(),
            paused,
            paused_until: paused_until.and_then(time::rfc3339),
            quiet: report.master.running.as_ref().is_some_and(|running| running.quiet),
            stopping: report.master.running.as_ref().is_some_and(|running| running.stopping),
            master_error: report.master.error.as_deref(),
            store_error: report.master.running.as_ref().and_then(|running| running.store_error.as_deref()),
            worker_error: report.master.running.as_ref().and_then(|running| running.worker_error.as_deref()),
            degraded: report.master.running.as_ref().is_some_and(|running| running.pool.degraded),
            driver: &report.driver,
            durability: &report.durability,
            workers: report
                .master
                .running
                .as_ref()
                .filter(|_| report.each)
                .map(|running| Workers { counts: &running.workers, pool: &running.pool }),
        }
    }
}
