//! Conditions that keep a channel from running any job. Pure.

use super::facts::{Facts, Master, OtherStore};
use super::reasons::{self, Explanation};
use crate::channel::{ChannelDetails, ChannelStatus};
use crate::pool::{SizingReason, WorkerCounts};
use crate::sanitize;
use crate::wording::{render, time};

/// All blockers of the channel, the most important first; empty when jobs can run.
pub(crate) fn blockers(facts: &Facts) -> Vec<Explanation> {
    let mut found = Vec::new();
    if facts.counts.paused {
        let until = facts.counts.paused_until.map_or_else(|| "queue:resume".to_owned(), time::local);
        found.push(reasons::PAUSED.explain(&[("until", &until)]));
    }
    match &facts.master {
        Master::NotRunning => found.push(match facts.counts.reserved {
            0 => reasons::NO_MASTER.explain(&[]),
            n => reasons::NO_MASTER_HERE.explain(&[("jobs_are", &render::jobs_are(n))]),
        }),
        Master::Elsewhere(other) => found.push(other_store(other)),
        Master::Silent { pid, error, is_denied, .. } => {
            let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
            let error = sanitize::line(error);
            let reason = if *is_denied { reasons::NO_PERMISSION } else { reasons::NOT_RESPONDING };
            found.push(reason.explain(&[("pid", &pid), ("error", &error)]));
        }
        Master::Answered { pid, details, other, .. } => {
            let status = &details.report;
            found.extend(other.as_ref().map(other_store));
            if let Some(left) = status.held_back_ms {
                let reason = if status.stopping { reasons::REEXECUTING } else { reasons::HELD_BACK };
                found.push(reason.explain(&[("pid", pid), ("left", &render::duration(left))]));
            } else if status.stopping {
                found.push(reasons::STOPPING.explain(&[("pid", pid)]));
            }
            if status.quiet {
                found.push(reasons::QUIET.explain(&[("pid", pid)]));
            }
            if let Some(error) = &status.store_error {
                let outage = outage(status);
                let error = sanitize::line(error);
                found.push(reasons::STORE.explain(&[("pid", pid), ("outage", &outage), ("error", &error)]));
            }
            // A channel that is sized by demand starts workers on its own, so only a manual minimum of 0 is a blocker.
            let decision = status.pool.scaled.last().map(|change| change.decision);
            if decision.is_some_and(|d| d.workers == 0 && d.why == SizingReason::ManualMinimum) {
                found.push(reasons::SCALED.explain(&[]));
            }
            if status.pool.degraded {
                let error = sanitize::line(status.worker_error.as_deref().unwrap_or("unknown error"));
                let next = next_boot(status).map_or(String::new(), |next| format!(" ({next})"));
                found.push(reasons::DEGRADED.explain(&[("error", &error), ("next", &next)]));
            } else if let Some(error) = without_room(details) {
                found.push(reasons::NO_ROOM.explain(&[("error", &error)]));
            } else if let Some((error, next)) = failed_start(status) {
                found.push(reasons::WORKER_ERROR.explain(&[("error", &error), ("next", &next)]));
            }
        }
    }
    found
}

/// State of the next attempt of a degraded channel to start a worker.
pub(crate) fn next_boot(report: &ChannelStatus) -> Option<String> {
    let WorkerCounts { booting, idle, busy, .. } = report.workers;
    match report.pool.next_boot_ms {
        _ if idle + busy > 0 => Some("one worker is ready and gets jobs after one second".to_owned()),
        _ if booting > 0 => Some("a worker is starting".to_owned()),
        Some(ms) => Some(format!("next attempt in {}", render::duration(ms))),
        None => None,
    }
}

/// Why the system has no room for another process, while no slot is free.
pub(crate) fn without_room(details: &ChannelDetails) -> Option<String> {
    let error = details.report.pool.no_room.as_deref().filter(|_| details.free == 0)?;
    Some(sanitize::line(error).into_owned())
}

/// The failure of the last start, and the next attempt, while no worker is ready.
pub(crate) fn failed_start(status: &ChannelStatus) -> Option<(String, String)> {
    let WorkerCounts { idle, busy, draining, retiring, .. } = status.workers;
    // A program that is started for a job counts as busy before it has a process.
    let is_unserved = idle + busy + draining + retiring == 0 || status.pids.is_empty();
    let error = status.worker_error.as_deref().filter(|_| is_unserved)?;
    let next = next_boot(status).map_or(String::new(), |next| format!(" ({next})"));
    Some((sanitize::line(error).into_owned(), next))
}

/// How long the master has been without its store: " for 12 s".
pub(crate) fn outage(status: &ChannelStatus) -> String {
    status.store_error_ms.map_or(String::new(), |ms| format!(" for {}", render::duration(ms)))
}

fn other_store(other: &OtherStore) -> Explanation {
    let difference = sanitize::line(&other.clause).into_owned();
    reasons::OTHER_STORE.explain(&[("difference", &difference), ("remedy", &other.remedy)])
}

/// The clauses of several blockers as one text.
pub(crate) fn joined(blockers: &[Explanation]) -> String {
    let texts: Vec<_> = blockers.iter().map(|blocker| blocker.text.as_str()).collect();
    texts.join("; also, ")
}
