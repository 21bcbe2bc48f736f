//! The facts from which `queue:why` derives its reason, and their JSON form.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::channel::ChannelDetails;
use crate::job::{FailReason, Timestamp};
use crate::store::{JobCounts, JobState, JobView};
use crate::wording::time;

/// Facts about a channel.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) channel: String,
    /// Approximate time of the store.
    pub(crate) now: Timestamp,
    pub(crate) counts: JobCounts,
    /// The master on this machine.
    pub(crate) master: Master,
    /// Most attempts of jobs without their own limit.
    pub(crate) max_attempts: u32,
    /// Due time of the next delayed job; looked up for the channel as a whole only.
    pub(crate) next_due: Option<Timestamp>,
    /// Number of jobs that are leased before the job, if it is waiting.
    pub(crate) before: Option<QueuePosition>,
}

/// The master of a channel on this machine, as far as it could be asked.
#[derive(Clone, Debug)]
pub(crate) enum Master {
    /// No master runs.
    NotRunning,
    /// A master runs for another store. Nothing was asked.
    Elsewhere(OtherStore),
    /// A master could not be asked.
    Silent {
        pid: Option<i32>,
        /// The reason, on one line.
        error: String,
        /// Whether a permission is missing.
        is_denied: bool,
        /// Whether it is known to run.
        is_running: bool,
    },
    /// The master answered.
    Answered {
        /// The process id by which the master knows itself.
        pid: i32,
        details: Box<ChannelDetails>,
        /// The other store that it serves.
        other: Option<OtherStore>,
        /// All differences between what it serves and what is meant, for people.
        differences: Vec<String>,
    },
}

/// A difference between the store of a master and the one that is meant.
#[derive(Clone, Debug)]
pub(crate) struct OtherStore {
    /// The difference as a clause.
    pub(crate) clause: String,
    /// The remedy, in the imperative.
    pub(crate) remedy: String,
}

impl Master {
    fn is_running(&self) -> bool {
        match self {
            Self::NotRunning | Self::Elsewhere(_) => false,
            Self::Silent { is_running, .. } => *is_running,
            Self::Answered { .. } => true,
        }
    }

    fn pid(&self) -> Option<i32> {
        match self {
            Self::NotRunning | Self::Elsewhere(_) => None,
            Self::Silent { pid, .. } => *pid,
            Self::Answered { pid, .. } => Some(*pid),
        }
    }

    /// The differences between what the master serves and what is meant.
    pub(crate) fn differences(&self) -> Vec<String> {
        match self {
            Self::Elsewhere(OtherStore { clause, remedy }) => vec![format!("{clause}: {remedy}")],
            Self::Answered { differences, .. } => differences.clone(),
            Self::NotRunning | Self::Silent { .. } => Vec::new(),
        }
    }
}

/// Number of jobs that are leased before a waiting job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePosition {
    /// Exactly this number.
    Exact(u64),
    /// This number or more.
    AtLeast(u64),
}

impl Facts {
    /// Details reported by the master.
    pub(crate) fn details(&self) -> Option<&ChannelDetails> {
        match &self.master {
            Master::Answered { details, .. } => Some(details),
            Master::NotRunning | Master::Elsewhere(_) | Master::Silent { .. } => None,
        }
    }

    /// How far the store's clock is behind the highest time that it has shown to the store or to the master.
    pub(crate) fn clock_behind(&self) -> Option<Duration> {
        let by_master = self.details().and_then(|details| details.report.clock_behind_ms);
        self.counts.clock_behind.max(by_master.map(Duration::from_millis))
    }

    /// JSON form.
    pub(crate) fn json(&self) -> Json {
        let pid = self.master.pid();
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
            "worker_error": status.and_then(|status| status.worker_error.as_deref()),
            "handlers": details.and_then(|details| details.handlers.as_deref()),
        });
        if let Some(ms) = status.and_then(|status| status.store_error_ms) {
            facts["store_error_ms"] = ms.into();
        }
        let differences = self.master.differences();
        if !differences.is_empty() {
            facts["differences"] = differences.into();
        }
        facts
    }
}

/// JSON form of a job.
pub(crate) fn job_json(job: &JobView, facts: &Facts) -> Json {
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
