//! Errors of a store, named for the caller's next step.

use std::error::Error as StdError;

use thiserror::Error;

use crate::job::error_chain;
use crate::job::{Failure, JobId, NewJobError, PayloadError};

type Source = Box<dyn StdError + Send + Sync>;

/// Failure of a store call.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store is unreachable, slow or busy: back off and retry. The call may or may not have been applied.
    #[error("the store at {place} is not available while {doing}")]
    Unavailable {
        /// The store, without secrets.
        place: String,
        /// The attempted operation.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: Source,
    },
    /// The owner is gone; its jobs belong to others.
    #[error("the lease of this master has run out")]
    Lost,
    /// `seq` was not above the owner's last one: a late copy of an earlier call. Nothing changed.
    #[error("the call repeats an earlier sequence number")]
    Replayed,
    /// The store has no room: pushes are refused, finishing work is not.
    #[error("{place} is full: {detail}")]
    Full {
        /// The store ("the store at …", without secrets), or the channel.
        place: String,
        /// The store's message, and the remedy.
        detail: String,
    },
    /// The store contains foreign data: a key of another program, a newer schema. Nothing changed.
    #[error("the store at {place} holds something unexpected: {detail}")]
    Corrupt {
        /// The store, without secrets.
        place: String,
        /// The finding with its location, and the remedy.
        detail: String,
    },
    /// The store refuses access until its configuration or ours changes: wrong password, missing permission, unsafe
    /// eviction policy, a directory in place of the file.
    #[error("the store at {place} cannot be used: {detail}")]
    Refused {
        /// The store, without secrets.
        place: String,
        /// The reason, and the remedy.
        detail: String,
    },
}

impl StoreError {
    /// Whether a later retry can succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// A copy for another caller that waited for the same call; the source becomes text.
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

/// Failure of a push. Nothing of the batch was added, unless the store became unavailable during the call or the driver
/// is `sync`.
#[derive(Debug, Error)]
pub enum PushError {
    /// A job of the batch breaks a rule.
    #[error("job {index} of the batch is refused: {why}")]
    Job {
        /// Position in the batch, 0-based.
        index: usize,
        /// The broken rule. Part of the message and therefore not the source: printing the error alone shows the reason.
        why: NewJobError,
    },
    /// A payload breaks a rule.
    #[error("job {index} of the batch is refused: {why}")]
    Payload {
        /// Position in the batch, 0-based.
        index: usize,
        /// The broken rule, part of the message.
        why: PayloadError,
    },
    /// The batch is larger than [`super::MAX_BATCH`] jobs or [`super::MAX_BATCH_BYTES`].
    #[error("the batch is too large: at most 500 jobs and 4 MiB go in one call")]
    TooLarge,
    /// The driver is `sync`: the job ran and failed permanently. Earlier jobs of the batch are done, later ones did not run.
    #[error("job {id} (\"{job}\") was run here and failed ({}): {}", .failure.reason.as_str(), .failure.error)]
    Failed {
        /// Position in the batch, 0-based.
        index: usize,
        /// The id of the job.
        id: JobId,
        /// The name of the job.
        job: String,
        /// The reason and the last error.
        failure: Failure,
    },
    /// The push alone is above a limit of the channel (`max_waiting`, `max_bytes`): a retry cannot succeed.
    #[error("the push can never fit into channel \"{channel}\": {detail}")]
    NeverFits {
        /// The name of the channel.
        channel: String,
        /// The size and the limit, and the remedy.
        detail: String,
    },
    /// The store did not accept the batch.
    #[error(transparent)]
    Store(#[from] StoreError),
}
