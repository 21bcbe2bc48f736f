//! Done jobs that stay in the store, apart from all others.

use std::time::Duration;

use super::{Cursor, Destination, Settlement};
use crate::config::KeepDone;
use crate::job::{JobId, Timestamp};

/// Largest text of a kept job.
pub const MAX_KEPT_BYTES: usize = 16 << 10;

/// How many done jobs of a channel stay in its store, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLimits {
    /// Most kept jobs of the channel.
    pub count: u64,
    /// Longest time that a job is kept after its end.
    pub age: Duration,
}

impl From<KeepDone> for KeptLimits {
    fn from(KeepDone { count, age }: KeepDone) -> Self {
        Self { count, age }
    }
}

/// A job that is done, as its settlement stores it. See [`Destination::Kept`](super::Destination::Kept).
#[derive(Clone, Debug, PartialEq)]
pub struct KeptJob {
    text: String,
    limits: KeptLimits,
}

impl KeptJob {
    /// A kept job with this text, which a store neither reads nor checks; `None` if it is larger than [`MAX_KEPT_BYTES`].
    #[must_use]
    pub fn new(text: impl Into<String>, limits: KeptLimits) -> Option<Self> {
        let text = Some(text.into()).filter(|text| text.len() <= MAX_KEPT_BYTES)?;
        Some(Self { text, limits })
    }

    /// The text about the job.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The limits of the channel, in force from this settlement on.
    #[must_use]
    pub fn limits(&self) -> KeptLimits {
        self.limits
    }
}

/// The limits of the kept jobs among the settlements of a turn: those of the last one.
pub(crate) fn limits_of(settlements: &[Settlement]) -> Option<KeptLimits> {
    settlements.iter().rev().find_map(|settlement| match &settlement.to {
        Destination::Kept(job) => Some(job.limits),
        _ => None,
    })
}

/// A kept job as a store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptView {
    /// The job.
    pub id: JobId,
    /// The time of its settlement, by the store's clock.
    pub at: Timestamp,
    /// The text of the settlement; another program may have changed it.
    pub text: String,
}

/// A page of kept jobs. See [`Store::kept`](super::Store::kept).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPage {
    /// The jobs, newest first.
    pub jobs: Vec<KeptView>,
    /// Position of the next page; `None` at the end.
    pub next: Option<Cursor>,
    /// Number of kept jobs of the channel, those included that are too old and not yet removed.
    pub total: u64,
}

/// A removal of kept jobs. See [`Store::trim_kept`](super::Store::trim_kept).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptTrim {
    /// Number of removed jobs.
    pub removed: u64,
    /// Number of jobs that are left.
    pub left: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_text_is_bounded() {
        let limits = KeptLimits { count: 1, age: Duration::from_secs(1) };
        assert!(KeptJob::new("x".repeat(MAX_KEPT_BYTES), limits).is_some());
        assert_eq!(KeptJob::new("x".repeat(MAX_KEPT_BYTES + 1), limits), None);
    }
}
