//! JSON form of the status.

use serde::Serialize;

use super::StatusView;
use super::masters::MasterJson;
use crate::channel::RefusedPushCounts;
use crate::cli::time;
use crate::pool::{PoolStatus, WorkerCounts};
use crate::snapshot::Recent;
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
    /// Reserved jobs that no call can reach; absent without such jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    unlisted: Option<u64>,
    total: u64,
    /// Bytes of all jobs in the store; absent while they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    /// Seconds for which the front waiting job has waited; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    front_waiting_seconds: Option<f64>,
    /// Seconds until the next delayed job is due; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due_seconds: Option<f64>,
    /// The last minute as the master has seen it; absent without a master.
    #[serde(skip_serializing_if = "Option::is_none")]
    recent: Option<&'a Recent>,
    paused: bool,
    paused_until: Option<String>,
    /// Absent while the store's clock is where it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_behind_seconds: Option<f64>,
    quiet: bool,
    /// Whether the master takes no jobs because it is about to re-execute itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held_back: bool,
    stopping: bool,
    master_error: Option<String>,
    /// Differences between the store that the master serves and the one that this command means.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    store_error: Option<&'a str>,
    worker_error: Option<&'a str>,
    degraded: bool,
    /// Pushes through the master that were refused because there was no room, since its start; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_pushes: Option<&'a RefusedPushCounts>,
    driver: String,
    durability: &'a str,
    /// The masters of all machines; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    masters: Vec<MasterJson<'a>>,
    /// Why the store does not tell the masters; absent when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    masters_error: Option<&'a str>,
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

impl<'a> From<&'a StatusView<'a>> for StatusJson<'a> {
    fn from(report: &'a StatusView<'a>) -> Self {
        let store::JobCounts {
            waiting,
            reserved,
            delayed,
            done,
            failed,
            cleared,
            bytes,
            paused,
            paused_until,
            front_ready_at,
            next_due,
            now,
            ..
        } = report.counts;
        let status = report.master.answer();
        Self {
            channel: &report.channel.name,
            running: report.master.is_running(),
            pid: report.master.pid(),
            waiting,
            reserved,
            delayed,
            done,
            failed,
            cleared,
            unlisted: Some(report.unlisted).filter(|unlisted| *unlisted > 0),
            total: report.counts.total(),
            bytes,
            max_bytes: report.channel.max_bytes,
            front_waiting_seconds: front_ready_at.map(|ready| now.since(ready).as_secs_f64()),
            next_due_seconds: next_due.map(|due| due.since(now).as_secs_f64()),
            recent: report.recent.as_deref(),
            paused,
            paused_until: paused_until.and_then(time::rfc3339),
            clock_behind_seconds: report.clock_behind().map(|step| step.as_secs_f64()),
            quiet: status.is_some_and(|status| status.quiet),
            held_back: status.is_some_and(|status| status.held_back_ms.is_some()),
            stopping: status.is_some_and(|status| status.stopping),
            master_error: report.master.error(),
            differences: report.master.differences(),
            store_error: status.and_then(|status| status.store_error.as_deref()),
            worker_error: status.and_then(|status| status.worker_error.as_deref()),
            degraded: status.is_some_and(|status| status.pool.degraded),
            refused_pushes: status.and_then(|status| status.refused_pushes.as_deref()),
            driver: report.channel.driver.to_string(),
            durability: &report.durability,
            masters: report
                .masters
                .iter()
                .flatten()
                .map(|master| MasterJson::of(master, report.each))
                .collect(),
            masters_error: report.masters.as_ref().err().map(String::as_str),
            workers: status
                .filter(|_| report.each)
                .map(|status| Workers { counts: &status.workers, pool: &status.pool }),
        }
    }
}
