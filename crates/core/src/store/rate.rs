//! The generic cell rate algorithm, in whole microseconds, the same for every driver.
//!
//! Pure: no store, no clock. All that is kept of a rate is the time at which it is as good as unused again; each claim
//! granted moves that time on by one spacing, and may do so while it lies at most `slack` ahead of the clock.

use std::time::Duration;

use crate::job::{MAX_DELAY, Timestamp};

/// `count` at once, and from then on one for each `count`th part of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// What one claim takes, in microseconds: rounded up, so that a rate is never higher than asked.
    pub(crate) spacing: u64,
    /// How far ahead the time may lie for a claim to be granted: all of a burst but one claim, in microseconds.
    pub(crate) slack: u64,
}

impl Rate {
    pub(crate) fn of(count: u32, per: Duration) -> Self {
        let count = u64::from(count.max(1));
        let per = u64::try_from(per.min(MAX_DELAY).as_micros()).unwrap_or(u64::MAX).max(1);
        let spacing = per.div_ceil(count);
        Self { spacing, slack: spacing * (count - 1) }
    }

    /// Asks for room in a rate that is as good as unused again at `unused`: its new such time, or how long to wait.
    ///
    /// A time further ahead than a full burst comes of a clock that stepped back, or of a claim with other numbers, and
    /// counts as a full burst.
    pub(crate) fn ask(self, unused: Timestamp, now: Timestamp) -> Result<Timestamp, Duration> {
        let ahead = unused.0.saturating_sub(now.0).min(self.slack + self.spacing);
        if ahead > self.slack {
            return Err(Duration::from_micros(ahead - self.slack));
        }
        Ok(Timestamp(now.0 + ahead + self.spacing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn burst(rate: Rate, now: Timestamp, mut unused: Timestamp) -> (u64, Timestamp, Duration) {
        let mut granted = 0;
        loop {
            match rate.ask(unused, now) {
                Ok(next) => (granted, unused) = (granted + 1, next),
                Err(wait) => return (granted, unused, wait),
            }
        }
    }

    #[test]
    fn burst_is_the_count_then_one_per_spacing() {
        for (count, per) in [(1, 1), (3, 1_000_000), (7, 10), (10, 3), (1000, 60_000_000)] {
            let rate = Rate::of(count, Duration::from_micros(per));
            let (granted, unused, wait) = burst(rate, NOW, Timestamp(0));
            assert_eq!((granted, wait.as_micros() as u64), (u64::from(count), rate.spacing), "{count}/{per}");
            assert!(rate.spacing * u64::from(count) >= per);
            let (early, later) = (NOW.after(wait - Duration::from_micros(1)), NOW.after(wait));
            assert_eq!(rate.ask(unused, early), Err(Duration::from_micros(1)));
            assert_eq!(burst(rate, later, unused).0, 1);
            assert_eq!(burst(rate, unused, unused).0, u64::from(count));
        }
    }

    #[test]
    fn extreme_rates_are_in_range() {
        for (count, per) in [(u32::MAX, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::MAX)] {
            let rate = Rate::of(count, per);
            let unused = rate.ask(Timestamp(0), NOW).unwrap();
            assert!(unused > NOW && rate.slack + rate.spacing < 1 << 52);
        }
        assert_eq!(Rate::of(0, Duration::from_micros(5)), Rate::of(1, Duration::from_micros(5)));
    }

    #[test]
    fn state_too_far_ahead_counts_as_a_full_burst() {
        let rate = Rate::of(2, Duration::from_micros(10));
        assert_eq!(rate.ask(NOW.after(MAX_DELAY), NOW), Err(Duration::from_micros(5)));
    }
}
