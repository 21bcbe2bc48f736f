//! What is known when somebody asks why a job waits.

use serde_json::{Value as Json, json};

use crate::channel::{ChannelDetails, HeldJobStatus};
use crate::cli::time;
use crate::job::{FailReason, JobId, JobMeta, Timestamp};
use crate::store::{JobCounts, JobState};

/// Why a worker that is ready takes no job although it has slots free.
pub(super) const REPLACING_WORKER: &str = "its worker has run max_handle_number jobs and is being replaced";

/// What is known of a channel.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) channel: String,
    /// About the time of the store.
    pub(super) now: Timestamp,
    pub(super) counts: JobCounts,
    pub(super) master: MasterFacts,
    /// Attempts of jobs that do not say.
    pub(super) max_attempts: u32,
    /// When the next delayed job is due, if nobody asks about one job.
    pub(super) next_due: Option<Timestamp>,
}

/// What is known of the channel's master on this machine.
#[derive(Clone, Debug)]
pub(super) enum MasterFacts {
    /// There is none.
    None,
    /// There is one, and it does not say how it stands.
    Silent { pid: Option<i32>, why: String },
    /// It has told.
    Answers { pid: i32, view: Box<ChannelDetails> },
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub(super) struct JobFacts {
    pub(super) id: JobId,
    pub(super) state: JobState,
    /// Delayed: when it is due. Failed: when it failed.
    pub(super) at: Timestamp,
    pub(super) meta: JobMeta,
    /// How many jobs are leased before it.
    pub(super) before: Option<QueuePosition>,
}

/// How many jobs are leased before one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueuePosition {
    /// So many.
    Exact(u64),
    /// So many and more.
    AtLeast(u64),
}

impl Facts {
    /// What the master told.
    pub(super) fn view(&self) -> Option<&ChannelDetails> {
        match &self.master {
            MasterFacts::Answers { view, .. } => Some(view),
            _ => None,
        }
    }

    /// The handlers that the workers name, when this job's is not among them.
    pub(super) fn without_handler(&self, job: &str) -> Option<&[String]> {
        let names = self.view()?.handlers.as_deref()?;
        names.iter().all(|name| name != job).then_some(names)
    }

    /// As JSON.
    pub(super) fn json(&self) -> Json {
        let (running, pid) = match &self.master {
            MasterFacts::None => (false, None),
            MasterFacts::Silent { pid, .. } => (true, *pid),
            MasterFacts::Answers { pid, .. } => (true, Some(*pid)),
        };
        let view = self.view();
        let report = view.map(|view| &view.report);
        json!({
            "paused": self.counts.paused,
            "paused_until": self.counts.paused_until.and_then(time::rfc3339),
            "waiting": self.counts.waiting,
            "delayed": self.counts.delayed,
            "reserved": self.counts.reserved,
            "next_due_at": self.next_due.and_then(time::rfc3339),
            "master": running,
            "pid": pid,
            "quiet": report.map(|report| report.quiet),
            "stopping": report.map(|report| report.stopping),
            "slots": view.map(|view| view.slots),
            "free_slots": view.map(|view| view.free),
            "replacing": view.map(|view| view.replacing),
            "degraded": report.map(|report| report.pool.degraded),
            "next_boot_ms": report.and_then(|report| report.pool.next_boot_ms),
            "store_error": report.and_then(|report| report.store_error.as_deref()),
            "worker_error": report.and_then(|report| report.worker_error.as_deref()),
            "handlers": view.and_then(|view| view.handlers.as_deref()),
        })
    }
}

impl JobFacts {
    /// As JSON; `held` is what the master does with it.
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
