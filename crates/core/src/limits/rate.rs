//! The generic cell rate algorithm in whole microseconds, shared by all drivers. Pure: no store, no clock.
//!
//! The state of a rate is one timestamp, the time at which the rate is unused again. Each granted claim moves it forward
//! by `spacing`; a claim is granted while it lies at most `slack` ahead of the clock.

use std::time::Duration;

use crate::durations::micros;
use crate::job::{MAX_DELAY, Timestamp};

/// Bound of a slack, so that times stay exact in Lua: a burst that would reach further is shorter.
const MAX_SLACK: u64 = 1 << 51;

/// A rate of at most `count` claims in any period: `burst` claims at once, then one per `count - burst + 1`th part of the
/// period.
///
/// A burst costs rate: the claims that may come at once are taken from those that follow, so that the period that begins
/// with a burst has no more claims than any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Microseconds per claim, rounded up, so that the rate never exceeds the configured one.
    pub(crate) spacing: u64,
    /// Largest lead of the timestamp over the clock at which a claim is granted: `burst - 1` claims, in microseconds.
    pub(crate) slack: u64,
}

impl Rate {
    pub(crate) fn of(count: u32, burst: u32, per: Duration) -> Self {
        let count = u64::from(count.max(1));
        let burst = u64::from(burst).clamp(1, count);
        let per = micros(per.min(MAX_DELAY)).max(1);
        let spacing = per.div_ceil(count - burst + 1);
        Self { spacing, slack: spacing.saturating_mul(burst - 1).min(MAX_SLACK) }
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
    use proptest::collection::vec;
    use proptest::prelude::*;

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
    fn burst_is_followed_by_one_claim_per_spacing() {
        for (count, burst_size, per) in
            [(1, 1, 1), (3, 3, 1_000_000), (7, 2, 10), (10, 9, 3), (1000, 1, 60_000_000), (5, 1, 1_000_000)]
        {
            let rate = Rate::of(count, burst_size, Duration::from_micros(per));
            let (granted, unused, wait) = burst(rate, NOW, Timestamp(0));
            assert_eq!((granted, wait.as_micros() as u64), (u64::from(burst_size), rate.spacing));
            assert!(rate.spacing * u64::from(count - burst_size + 1) >= per);
            let (early, later) = (NOW.after(wait - Duration::from_micros(1)), NOW.after(wait));
            assert_eq!(rate.admit(unused, early), Err(Duration::from_micros(1)));
            assert_eq!(burst(rate, later, unused).0, 1);
            assert_eq!(burst(rate, unused, unused).0, u64::from(burst_size));
        }
    }

    #[test]
    fn extreme_rates_are_in_range() {
        for (count, per) in [(u32::MAX, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::MAX)] {
            for burst in [0, 1, 2, u32::MAX] {
                let rate = Rate::of(count, burst, per);
                let unused = rate.admit(Timestamp(0), NOW).unwrap();
                assert!(unused > NOW && rate.slack + rate.spacing < 1 << 52, "{rate:?}");
            }
        }
        let micros = Duration::from_micros(5);
        assert_eq!(Rate::of(0, 0, micros), Rate::of(1, 1, micros));
        assert_eq!(Rate::of(3, 9, micros), Rate::of(3, 3, micros));
    }

    /// Also keys that a version with bursts of the full count wrote.
    #[test]
    fn state_too_far_ahead_counts_as_a_full_burst() {
        let rate = Rate::of(2, 2, Duration::from_micros(10));
        assert_eq!(rate.admit(NOW.after(MAX_DELAY), NOW), Err(Duration::from_micros(10)));
        let rate = Rate::of(5, 1, Duration::from_secs(1));
        let old = NOW.after(Duration::from_secs(1));
        assert_eq!(rate.admit(old, NOW), Err(Duration::from_millis(200)));
        assert_eq!(rate.admit(NOW.after(Duration::from_millis(3)), NOW), Err(Duration::from_millis(3)));
    }

    proptest! {
        #[test]
        fn no_period_has_more_claims_than_the_count(
            (count, burst) in (1..20_u32).prop_flat_map(|count| (Just(count), 1..=count)),
            per in 1..5_000_u64,
            gaps in vec(0..1_000_u64, 1..400),
        ) {
            let rate = Rate::of(count, burst, Duration::from_micros(per));
            let (mut now, mut unused, mut granted) = (NOW, Timestamp(0), Vec::new());
            for gap in gaps {
                now = Timestamp(now.0 + gap * per / 1_000);
                if let Ok(next) = rate.admit(unused, now) {
                    unused = next;
                    granted.push(now.0);
                }
            }
            for (first, after) in granted.iter().zip(granted.iter().skip(count as usize)) {
                prop_assert!(after - first >= per, "{count} claims and one more from {first} to {after}");
            }
        }
    }
}
