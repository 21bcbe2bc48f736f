//! What can go wrong with a store, named for what the caller does next.

use std::error::Error as StdError;

use thiserror::Error;

use crate::job::error_chain;
use crate::job::{Failure, JobId, NewJobError, PayloadError};

type Source = Box<dyn StdError + Send + Sync>;

/// Why a store call did not work.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store cannot be reached, did not answer in time or is busy: back off and try again.
    /// The call may or may not have been applied.
    #[error("the store at {place} is not available while {doing}")]
    Unavailable {
        /// Which store, without secrets.
        place: String,
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// This owner is gone: its jobs belong to others now.
    #[error("the lease of this master has run out")]
    Lost,
    /// `seq` was not above the owner's last one: a late copy of an earlier call. Nothing changed.
    #[error("the call repeats an earlier sequence number")]
    Replayed,
    /// The store has no room: pushes are refused, finishing work is not.
    #[error("the store at {place} is full: {detail}")]
    Full {
        /// Which store, without secrets.
        place: String,
        /// What the store said, and the remedy.
        detail: String,
    },
    /// What is stored is not what we put there: a foreign key under our name, a newer schema. Nothing changed.
    #[error("the store at {place} holds something unexpected: {detail}")]
    Corrupt {
        /// Which store, without secrets.
        place: String,
        /// What was found where, and the remedy.
        detail: String,
    },
    /// The store refuses us until somebody changes its or our configuration: wrong password, no
    /// permission, unsafe eviction policy, a directory where the file should be.
    #[error("the store at {place} cannot be used: {detail}")]
    Refused {
        /// Which store, without secrets.
        place: String,
        /// What is wrong, and the remedy.
        detail: String,
    },
}

impl StoreError {
    /// Whether trying the same again later can help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// The same for somebody else whom it concerns as well. What the driver said is words only then.
    pub fn again(&self) -> Self {
        match self {
            Self::Unavailable { place, doing, source } => {
                let source = error_chain(&**source).into();
                Self::Unavailable { place: place.clone(), doing, source }
            }
            Self::Lost => Self::Lost,
            Self::Replayed => Self::Replayed,
            Self::Full { place, detail } => Self::Full { place: place.clone(), detail: detail.clone() },
            Self::Corrupt { place, detail } => Self::Corrupt { place: place.clone(), detail: detail.clone() },
            Self::Refused { place, detail } => Self::Refused { place: place.clone(), detail: detail.clone() },
        }
    }
}

/// Why a push did not work. Nothing of the batch was added unless the store became unavailable meanwhile, or the driver is
/// `sync`.
#[derive(Debug, Error)]
pub enum PushError {
    /// A job of the batch breaks a rule.
    #[error("job {index} of the batch is refused: {why}")]
    Job {
        /// Its place in the batch, from 0.
        index: usize,
        /// The rule. Part of the text, and so not its source: who pushes one job and prints the error reads the reason.
        why: NewJobError,
    },
    /// A payload breaks a rule.
    #[error("job {index} of the batch is refused: {why}")]
    Payload {
        /// Its place in the batch, from 0.
        index: usize,
        /// The rule, part of the text too.
        why: PayloadError,
    },
    /// The batch is larger than [`super::MAX_BATCH`] jobs or [`super::MAX_BATCH_BYTES`].
    #[error("the batch is too large: at most 500 jobs and 4 MiB go in one call")]
    TooLarge,
    /// The driver is `sync`, and the job, which was run, failed for good. The jobs before it are done, those after it were
    /// not run.
    #[error("job {id} (\"{job}\") was run here and failed ({}): {}", .failure.reason.as_str(), .failure.error)]
    Failed {
        /// Its place in the batch, from 0.
        index: usize,
        /// Its number.
        id: JobId,
        /// Its name.
        job: String,
        /// Why it failed: the last error.
        failure: Failure,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
