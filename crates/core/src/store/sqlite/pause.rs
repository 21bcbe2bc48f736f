//! Pauses as stored in `channels.paused`: 0 for none, 1 for a pause without an end, else the time of its end.
//!
//! Programs older than timed pauses treat every number but 0 as a pause without an end, so the first turn after the end
//! resets the column to 0.

use crate::job::Timestamp;

/// Stored form of a pause without an end.
const NO_END: i64 = 1;

/// A current pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) until: Option<Timestamp>,
}

impl Pause {
    /// The current pause, from its stored form.
    pub(super) fn of(stored: i64, now: Timestamp) -> Option<Self> {
        match stored {
            0 => None,
            NO_END => Some(Self { until: None }),
            until => {
                let until = Timestamp(until.max(0).cast_unsigned());
                (now < until).then_some(Self { until: Some(until) })
            }
        }
    }

    pub(super) fn stored(self) -> i64 {
        self.until.map_or(NO_END, |until| until.0.cast_signed().max(NO_END + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_in_force_until_its_end() {
        let now = Timestamp(1_000);
        for until in [None, Some(Timestamp(1_001)), Some(Timestamp(u64::MAX >> 1))] {
            let pause = Pause { until };
            assert_eq!(Pause::of(pause.stored(), now), Some(pause));
        }
        for over in [0, -5, 2, 999, 1_000] {
            assert_eq!(Pause::of(over, now), None, "{over}");
        }
    }
}
