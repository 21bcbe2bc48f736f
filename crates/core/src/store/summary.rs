//! The summaries by which masters show themselves to each other.

use std::time::Duration;

use super::Owner;
use crate::job::Timestamp;

/// Largest summary.
pub const MAX_SUMMARY_BYTES: usize = 8 << 10;
/// Most owners that [`Store::masters`](super::Store::masters) lists.
pub const MAX_MASTERS: usize = 200;

/// The text that an owner publishes about itself. A store neither reads nor checks it beyond its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary(String);

impl Summary {
    /// The summary of this text; `None` if the text is larger than [`MAX_SUMMARY_BYTES`].
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        Some(text.into()).filter(|text| text.len() <= MAX_SUMMARY_BYTES).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An owner as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// The owner.
    pub owner: Owner,
    /// The time until its lease expires by the store's clock; `None` when the lease has expired.
    pub lease_left: Option<Duration>,
    /// The last publication; `None` for an owner that has published nothing, as earlier versions do.
    pub published: Option<Published>,
}

impl OwnerView {
    /// Whether the lease has not expired.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.lease_left.is_some()
    }
}

/// A published summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The time of its publication, by the store's clock.
    pub at: Timestamp,
    /// The time since its publication, by the store's clock.
    pub age: Duration,
    /// The summary; `None` if another program has replaced it by a larger text.
    pub summary: Option<Summary>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_bounded() {
        assert!(Summary::new("x".repeat(MAX_SUMMARY_BYTES)).is_some());
        assert_eq!(Summary::new("x".repeat(MAX_SUMMARY_BYTES + 1)), None);
    }
}
