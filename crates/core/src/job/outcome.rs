//! Outcomes of a run as data: a failed job is an `Outcome`, never an `Err`.

use std::time::Duration;

use super::FailReason;

/// The outcome of one run. `retry` decides the settlement that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler finished.
    Done,
    /// The handler returned an error.
    Failed {
        /// The error's text.
        error: String,
        /// The retry decision.
        next: RetryDecision,
    },
    /// The handler returned the job to the queue; not an attempt.
    Released {
        /// Earliest time of the next run, from now.
        after: Duration,
    },
    /// The run exceeded its time limit and was ended.
    TimedOut {
        /// The exceeded limit.
        limit: Duration,
        /// The way in which the run ended then, and the last output of a program; empty when unknown.
        how: String,
    },
    /// The worker died while it ran this job alone.
    Crashed {
        /// Cause of death, for output: "killed by SIGSEGV", "exited with 3 without a result".
        how: String,
    },
    /// The worker died while it ran several jobs; any of them may be the cause.
    CrashedWithOthers,
    /// The guardian died while the run was in one of its workers; any run of any channel may be the cause.
    Lost,
    /// Ended by the system, or never started: stop, reload, worker not bootable.
    Interrupted,
    /// A user cancelled the job, and the run was ended for that reason.
    Cancelled {
        /// Whether its worker had to be killed.
        killed: bool,
    },
}

impl Outcome {
    /// The error text of a run that exceeded its time limit.
    #[doc(hidden)]
    #[must_use]
    pub fn time_out_text(limit: Duration, how: &str) -> String {
        let before = if how.is_empty() { "" } else { ": " };
        format!("ran longer than {limit:?} and was ended{before}{how}")
    }

    /// The name of the outcome in metrics, logs and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Released { .. } => "released",
            Self::TimedOut { .. } => "timed_out",
            Self::Crashed { .. } => "crashed",
            Self::CrashedWithOthers => "crashed_in_company",
            Self::Lost => "lost",
            Self::Interrupted => "interrupted",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// Decision whether a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// As the job's attempts and the channel's backoff say.
    ByPolicy,
    /// After this long, if attempts are left.
    After(Duration),
    /// Never: the handler knows that trying again is pointless.
    Never,
    /// Never: the worker has no handler for this job name.
    UnknownJob,
}

/// The permanent failure of a job, as its failed callback gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: FailReason,
    /// The text of the last error.
    pub error: String,
}

/// Options that a handler sets for every job of its name. Options of a push take precedence; the channel's settings
/// apply where neither is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobOptions {
    /// Attempts allowed.
    pub max_attempts: Option<u32>,
    /// Longest run; zero for no limit.
    pub timeout: Option<Duration>,
    /// Whether the handler has a failed callback.
    pub failed: bool,
}
