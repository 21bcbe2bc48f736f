//! How a run ended, as data: a failed job is an outcome, never an `Err` of ours.

use std::time::Duration;

use super::FailReason;

/// What happened to one run of a job. What the store records of it is decided by `retry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler finished.
    Done,
    /// The handler returned an error.
    Failed {
        /// The error's text.
        error: String,
        /// Whether and when to try again.
        next: RetryDecision,
    },
    /// The handler handed the job back; not an attempt.
    Released {
        /// Not to be run again before this long from now.
        after: Duration,
    },
    /// The run passed its time limit and was ended.
    TimedOut {
        /// The limit it passed.
        limit: Duration,
    },
    /// The worker died while it ran this job alone.
    Crashed {
        /// How it died, for people: "killed by SIGSEGV", "exited with 3 without a result".
        how: String,
    },
    /// The worker died while it ran several jobs; this one may or may not be the cause.
    CrashedInCompany,
    /// Ended by us before it could finish, or never begun: stop, reload, guardian lost, worker not bootable.
    Interrupted,
    /// Somebody cancelled the job, and this run of it was ended for that.
    Cancelled {
        /// Whether its worker had to be killed.
        killed: bool,
    },
}

impl Outcome {
    /// The outcome's word in metrics, logs and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Released { .. } => "released",
            Self::TimedOut { .. } => "timed_out",
            Self::Crashed { .. } => "crashed",
            Self::CrashedInCompany => "crashed_in_company",
            Self::Interrupted => "interrupted",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// Whether a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// As the job's attempts and backoff say.
    ByPolicy,
    /// After this long, if attempts are left.
    After(Duration),
    /// Never: the handler knows that trying again is pointless.
    Never,
    /// Never: the worker has no handler of this name.
    UnknownJob,
}

/// Why a job has failed for good, as its failed callback is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub reason: FailReason,
    /// The last error's text.
    pub error: String,
}

/// What the handler of a job wants for every job of its name. What a push says goes first; what neither says is as the
/// channel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobOptions {
    /// Attempts allowed.
    pub max_attempts: Option<u32>,
    /// Longest run; zero for no limit.
    pub timeout: Option<Duration>,
    /// Whether it has a failed callback.
    pub failed: bool,
}
