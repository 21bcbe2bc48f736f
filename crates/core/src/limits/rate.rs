//! The generic cell rate algorithm in whole microseconds, shared by all drivers. Pure: no store, no clock.
//!
//! The state of a rate is one timestamp, the time at which the rate is unused again. Each granted claim moves it forward
//! by `spacing`; a claim is granted while it lies at most `slack` ahead of the clock.

use std::time::Duration;

use crate::durations::micros;
use crate::job::{MAX_DELAY, Timestamp};

/// A rate of `count` claims per period: a burst of `count`, then one per `count`th part of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Microseconds per claim, rounded up, so that the rate never exceeds the configured one.
    pub(crate) spacing: u64,
    /// Largest lead of the timestamp over the clock at which a claim is granted: `count - 1` claims, in microseconds.
    pub(crate) slack: u64,
}

impl Rate {
    pub(crate) fn of(count: u32, per: Duration) -> Self {
        let count = u64::from(count.max(1));
        let per = micros(per.min(MAX_DELAY)).max(1);
        let spacing = per.div_ceil(count);
        Self { spacing, slack: spacing * (count - 1) }
    }

    /// Decides a claim on a rate that is unused again at `unused`: the new timestamp, or the time to wait.
    ///
    /// A lead of more than a full burst, caused by a clock that stepped back or by claims with other numbers, counts as
    /// a full burst.
    pub(crate) fn admit(self, unused: Timestamp, now: Timestamp) -> Result<Timestamp, Duration> {
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
            match rate.admit(unused, now) {
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
            assert_eq!(rate.admit(unused, early), Err(Duration::from_micros(1)));
            assert_eq!(burst(rate, later, unused).0, 1);
            assert_eq!(burst(rate, unused, unused).0, u64::from(count));
        }
    }

    #[test]
    fn extreme_rates_are_in_range() {
        for (count, per) in [(u32::MAX, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::MAX)] {
            let rate = Rate::of(count, per);
            let unused = rate.admit(Timestamp(0), NOW).unwrap();
            assert!(unused > NOW && rate.slack + rate.spacing < 1 << 52);
        }
        assert_eq!(Rate::of(0, Duration::from_micros(5)), Rate::of(1, Duration::from_micros(5)));
    }

    #[test]
    fn state_too_far_ahead_counts_as_a_full_burst() {
        let rate = Rate::of(2, Duration::from_micros(10));
        assert_eq!(rate.admit(NOW.after(MAX_DELAY), NOW), Err(Duration::from_micros(5)));
    }
}
