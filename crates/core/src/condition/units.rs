//! Units of values, and the ones that go together.

use std::fmt;

/// The unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number: jobs, workers, jobs per second.
    Number,
    /// A share from 0 to 1, written `5%` or `0.05`.
    Share,
    /// Seconds, written `500ms`, `60s`, `5m` or `1h30m`.
    Duration,
    /// Bytes, written `512MiB` or `2GB`.
    Bytes,
    /// True or false.
    Bool,
}

impl Unit {
    /// Whether values are pure numbers, which go together with each other.
    fn is_pure(self) -> bool {
        matches!(self, Self::Number | Self::Share)
    }

    /// The unit of a sum or a comparison; `None` if the two do not go together. A literal number takes the unit beside it.
    pub(super) fn beside(left: (Self, bool), right: (Self, bool)) -> Option<Self> {
        let ((left, left_is_literal), (right, right_is_literal)) = (left, right);
        match (left, right) {
            _ if left == right => Some(left),
            _ if left.is_pure() && right.is_pure() => Some(Self::Number),
            (Self::Number, _) if left_is_literal && right != Self::Bool => Some(right),
            (_, Self::Number) if right_is_literal && left != Self::Bool => Some(left),
            _ => None,
        }
    }

    /// The unit of a product.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Bool, _) | (_, Self::Bool) => None,
            (Self::Share, Self::Share) => Some(Self::Share),
            (left, right) if left.is_pure() && right.is_pure() => Some(Self::Number),
            (left, right) if left.is_pure() => Some(right),
            (left, right) if right.is_pure() => Some(left),
            _ => None,
        }
    }

    /// The unit of a quotient.
    pub(super) fn over(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Bool, _) | (_, Self::Bool) => None,
            (left, right) if left == right => Some(Self::Number),
            (left, right) if right.is_pure() => Some(if left.is_pure() { Self::Number } else { left }),
            _ => None,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Share => "a share",
            Self::Duration => "a duration",
            Self::Bytes => "a number of bytes",
            Self::Bool => "true or false",
        })
    }
}
