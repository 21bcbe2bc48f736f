//! The facts from which `queue:why` derives its reason, and their JSON form.

use serde_json::{Value as Json, json};

use crate::channel::{ChannelDetails, HeldJobStatus};
use crate::cli::time;
use crate::job::{FailReason, JobId, JobMeta, Timestamp};
use crate::store::{JobCounts, JobState};

/// Facts about a channel.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) channel: String,
    /// Approximate time of the store.
    pub(super) now: Timestamp,
    pub(super) counts: JobCounts,
    pub(super) master: MasterFacts,
    /// Most attempts of jobs without their own limit.
    pub(super) max_attempts: u32,
    /// Due time of the next delayed job; looked up for the channel as a whole only.
    pub(super) next_due: Option<Timestamp>,
}

/// Facts about the channel's master on this machine.
#[derive(Clone, Debug)]
pub(super) enum MasterFacts {
    /// No master is running.
    NotRunning,
    /// A master is running but did not respond.
    NotResponding { pid: Option<i32>, error: String },
    /// The master responded.
    Responding { pid: i32, details: Box<ChannelDetails> },
}

/// Facts about a job.
#[derive(Clone, Debug)]
pub(super) struct JobFacts {
    pub(super) id: JobId,
    pub(super) state: JobState,
    /// Delayed: due time. Failed: time of the failure.
    pub(super) at: Timestamp,
    pub(super) meta: JobMeta,
    /// Number of jobs that are leased before this one.
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
        match &self.master {
            MasterFacts::Responding { details, .. } => Some(details),
            _ => None,
        }
    }

    /// The names of the handlers of the workers, if none of them is for this job.
    pub(super) fn handlers_without(&self, job: &str) -> Option<&[String]> {
        let names = self.details()?.handlers.as_deref()?;
        names.iter().all(|name| name != job).then_some(names)
    }

    /// JSON form.
    pub(super) fn json(&self) -> Json {
        let (running, pid) = match &self.master {
            MasterFacts::NotRunning => (false, None),
            MasterFacts::NotResponding { pid, .. } => (true, *pid),
            MasterFacts::Responding { pid, .. } => (true, Some(*pid)),
        };
        let details = self.details();
        let status = details.map(|details| &details.report);
        json!({
            "paused": self.counts.paused,
            "paused_until": self.counts.paused_until.and_then(time::rfc3339),
            "waiting": self.counts.waiting,
            "delayed": self.counts.delayed,
            "reserved": self.counts.reserved,
            "next_due_at": self.next_due.and_then(time::rfc3339),
            "master": running,
            "pid": pid,
            "quiet": status.map(|status| status.quiet),
            "stopping": status.map(|status| status.stopping),
            "slots": details.map(|details| details.slots),
            "free_slots": details.map(|details| details.free),
            "replacing": details.map(|details| details.replacing),
            "degraded": status.map(|status| status.pool.degraded),
            "next_boot_ms": status.and_then(|status| status.pool.next_boot_ms),
            "store_error": status.and_then(|status| status.store_error.as_deref()),
            "worker_error": status.and_then(|status| status.worker_error.as_deref()),
            "handlers": details.and_then(|details| details.handlers.as_deref()),
        })
    }
}

impl JobFacts {
    /// JSON form; `held` is the state of the job in the master that holds it.
    pub(super) fn json(&self, held: Option<&HeldJobStatus>) -> Json {
        let at = |state| (self.state == state).then(|| time::rfc3339(self.at)).flatten();
        let (before, exactly) = match self.before {
            None => (None, None),
            Some(QueuePosition::Exact(n)) => (Some(n), Some(true)),
            Some(QueuePosition::AtLeast(n)) => (Some(n), Some(false)),
        };
        json!({
            "job": self.meta.job,
            "state": self.state,
            "due_at": at(JobState::Delayed),
            "failed_at": at(JobState::Failed),
            "failed": self.meta.failed.map(FailReason::as_str),
            "attempts": self.meta.attempts,
            "last_error": self.meta.errors.last().map(|error| &error.message),
            "expires_at": self.meta.expiry(self.id).and_then(time::rfc3339),
            "before": before,
            "before_is_exact": exactly,
            "held": held,
        })
    }
}
