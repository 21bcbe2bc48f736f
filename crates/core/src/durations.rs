//! Durations as whole numbers, saturating.

use std::time::Duration;

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, at least 1 for a positive duration: a limit below 1 ms must not become "no limit".
#[must_use]
pub fn millis_at_least_one(duration: Duration) -> u64 {
    if duration.is_zero() { 0 } else { millis(duration).max(1) }
}

/// Whole microseconds.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
