//! The facts from which `queue:why` derives its reason, and their JSON form.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::channel::ChannelDetails;
use crate::cli::control::MasterState;
use crate::cli::time;
use crate::job::{FailReason, Timestamp};
use crate::store::{JobCounts, JobState, JobView};

/// Facts about a channel.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) channel: String,
    /// Approximate time of the store.
    pub(super) now: Timestamp,
    pub(super) counts: JobCounts,
    /// The master on this machine, by its own process id, and its details.
    pub(super) master: MasterState<(i32, Box<ChannelDetails>)>,
    /// Most attempts of jobs without their own limit.
    pub(super) max_attempts: u32,
    /// Due time of the next delayed job; looked up for the channel as a whole only.
    pub(super) next_due: Option<Timestamp>,
    /// Number of jobs that are leased before the job, if it is waiting.
    pub(super) before: Option<QueuePosition>,
}

/// Number of jobs that are leased before a waiting job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePosition {
    /// Exactly this number.
    Exact(u64),
    /// This number or more.
    AtLeast(u64),
}

impl Facts {
    /// Details reported by the master.
    pub(super) fn details(&self) -> Option<&ChannelDetails> {
        self.master.answer().map(|(_, details)| &**details)
    }

    /// How far the store's clock is behind the highest time that it has shown to the store or to the master.
    pub(super) fn clock_behind(&self) -> Option<Duration> {
        let by_master = self.details().and_then(|details| details.report.clock_behind_ms);
        self.counts.clock_behind.max(by_master.map(Duration::from_millis))
    }

    /// JSON form.
    pub(super) fn json(&self) -> Json {
        let pid = self.master.answer().map(|(pid, _)| *pid).or(self.master.pid());
        let details = self.details();
        let status = details.map(|details| &details.report);
        let mut facts = json!({
            "paused": self.counts.paused,
            "paused_until": self.counts.paused_until.and_then(time::rfc3339),
            "waiting": self.counts.waiting,
            "delayed": self.counts.delayed,
            "reserved": self.counts.reserved,
            "next_due_at": self.next_due.and_then(time::rfc3339),
            "master": self.master.is_running(),
            "pid": pid,
            "quiet": status.map(|status| status.quiet),
            "stopping": status.map(|status| status.stopping),
            "slots": details.map(|details| details.slots),
            "free_slots": details.map(|details| details.free),
            "replacing": details.map(|details| details.replacing),
            "degraded": status.map(|status| status.pool.degraded),
            "next_boot_ms": status.and_then(|status| status.pool.next_boot_ms),
            "store_error": status.and_then(|status| status.store_error.as_deref()),
            "store_error_ms": status.and_then(|status| status.store_error_ms),
            "worker_error": status.and_then(|status| status.worker_error.as_deref()),
            "handlers": details.and_then(|details| details.handlers.as_deref()),
        });
        let differences = self.master.differences();
        if !differences.is_empty() {
            facts["differences"] = differences.into();
        }
        facts
    }
}

/// JSON form of a job.
pub(super) fn job_json(job: &JobView, facts: &Facts) -> Json {
    let at = |state| (job.state == state).then(|| time::rfc3339(job.at)).flatten();
    let (before, exactly) = match facts.before {
        None => (None, None),
        Some(QueuePosition::Exact(n)) => (Some(n), Some(true)),
        Some(QueuePosition::AtLeast(n)) => (Some(n), Some(false)),
    };
    json!({
        "job": job.meta.job,
        "state": job.state,
        "due_at": at(JobState::Delayed),
        "failed_at": at(JobState::Failed),
        "failed": job.meta.failed.map(FailReason::as_str),
        "attempts": job.meta.attempts,
        "last_error": job.meta.errors.last().map(|error| &error.message),
        "expires_at": job.meta.expiry(job.id).and_then(time::rfc3339),
        "before": before,
        "before_is_exact": exactly,
        "held": facts.details().and_then(|details| details.job.as_ref()),
    })
}
