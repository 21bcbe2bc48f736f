//! Pauses, as they stand in `channels.paused`: 0 for none, 1 for one that somebody has to end, else when it ends.
//!
//! A program that knows no ends takes every number but 0 for a pause without one. The first turn of one that does makes an
//! end that has come a 0.

use crate::job::Timestamp;

/// As stored when there is no end.
const NO_END: i64 = 1;

/// A pause in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) until: Option<Timestamp>,
}

impl Pause {
    /// The pause that is in force now, by what is stored.
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
