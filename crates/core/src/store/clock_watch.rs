//! Steps of a store's clock, seen from the monotonic clock of this process. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::Timestamp;

/// Smallest difference between the two clocks that counts as a step.
const MIN_STEP: Duration = Duration::from_millis(100);
/// Longest time for which a step back is reported; a clock that was far ahead by mistake needs years to catch up.
pub(crate) const STEP_NOTICE: Duration = Duration::from_secs(24 * 60 * 60);

/// A step of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// The clock was set forward by at least this, or this machine was suspended.
    Forward(Duration),
    /// The clock was set back by at least this.
    Back(Duration),
}

/// The store's clock at a moment of the local clock.
///
/// A reading lies between the begin and the end of its call, so only a difference that no delay of a call explains is a
/// step.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockWatch {
    last: Option<Reading>,
    /// The local time at which the store's clock shows again what it showed before the last step back.
    caught_up_at: Option<Instant>,
    /// The local time of the last step back.
    set_back_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    began: Instant,
    read_at: Instant,
}

impl ClockWatch {
    /// Records a reading from a call that began at `began` and ended at `now`; returns a step since the reading before.
    pub fn observe(&mut self, time: Timestamp, began: Instant, now: Instant) -> Option<ClockStep> {
        let before = self.last.replace(Reading { time, began, read_at: now })?;
        let earliest = before.time.after(began.saturating_duration_since(before.read_at));
        let latest = before.time.after(now.saturating_duration_since(before.began));
        let (back, forward) = (earliest.since(time), time.since(latest));
        if back >= MIN_STEP {
            let left = self.left(began).unwrap_or_default();
            self.caught_up_at = Some(began + left + back);
            self.set_back_at = Some(now);
            return Some(ClockStep::Back(back));
        }
        if forward >= MIN_STEP {
            self.caught_up_at =
                self.left(now).and_then(|left| left.checked_sub(forward)).map(|left| now + left);
            return Some(ClockStep::Forward(forward));
        }
        None
    }

    /// The store's clock now, extrapolated from the last reading; `None` before the first one.
    #[must_use]
    pub fn time(&self, now: Instant) -> Option<Timestamp> {
        self.last.map(|last| last.time.after(now.saturating_duration_since(last.read_at)))
    }

    /// How far the store's clock is behind what it showed before a step back; `None` once it has caught up, and a day after the
    /// last step.
    #[must_use]
    pub fn behind(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.set_back_at?);
        self.left(now).filter(|_| since < STEP_NOTICE)
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.caught_up_at?.saturating_duration_since(now);
        (left >= MIN_STEP).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_790_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        T0.after(SECOND * u32::try_from(seconds).unwrap())
    }

    #[test]
    fn delay_of_a_call_is_no_step() {
        let (mut watch, start) = (ClockWatch::default(), Instant::now());
        assert_eq!(watch.time(start), None);
        assert_eq!(watch.observe(at(0), start, start), None);
        // Read at the begin, read at the end, and read at the begin after a slow one.
        assert_eq!(watch.observe(at(1), start + SECOND, start + 6 * SECOND), None);
        assert_eq!(watch.observe(at(11), start + 6 * SECOND, start + 11 * SECOND), None);
        assert_eq!(watch.observe(at(12), start + 12 * SECOND, start + 17 * SECOND), None);
        assert_eq!(watch.time(start + 18 * SECOND), Some(at(13)));
        assert_eq!(watch.behind(start + 18 * SECOND), None);
    }

    #[test]
    fn step_back_lasts_until_the_clock_has_caught_up() {
        let (mut watch, start) = (ClockWatch::default(), Instant::now());
        watch.observe(at(100), start, start);
        let later = start + SECOND;
        assert_eq!(watch.observe(at(98), later, later), Some(ClockStep::Back(3 * SECOND)));
        assert_eq!(watch.behind(later + SECOND), Some(2 * SECOND));
        assert_eq!(watch.observe(at(99), later + SECOND, later + SECOND), None);
        // A second step adds to the rest of the first.
        assert_eq!(watch.observe(at(96), later + SECOND, later + SECOND), Some(ClockStep::Back(3 * SECOND)));
        assert_eq!(watch.behind(later + SECOND), Some(5 * SECOND));
        assert_eq!(watch.behind(later + 6 * SECOND), None);
    }

    #[test]
    fn step_forward_ends_an_earlier_step_back() {
        let (mut watch, start) = (ClockWatch::default(), Instant::now());
        watch.observe(at(100), start, start);
        watch.observe(at(90), start, start);
        assert_eq!(watch.observe(at(94), start, start), Some(ClockStep::Forward(4 * SECOND)));
        assert_eq!(watch.behind(start), Some(6 * SECOND));
        assert_eq!(watch.observe(at(5_000), start, start), Some(ClockStep::Forward(4_906 * SECOND)));
        assert_eq!(watch.behind(start), None);
    }

    #[test]
    fn step_from_far_ahead_is_reported_for_a_day() {
        let (mut watch, start) = (ClockWatch::default(), Instant::now());
        let (year, hour) = (365 * 24 * 3600, 3600 * SECOND);
        watch.observe(at(0), start, start);
        assert_eq!(watch.observe(at(year), start, start), Some(ClockStep::Forward(at(year).since(at(0)))));
        assert_eq!(watch.behind(start), None);
        assert_eq!(watch.observe(at(0), start, start), Some(ClockStep::Back(at(year).since(at(0)))));
        assert_eq!(watch.behind(start + 23 * hour), Some(at(year).since(at(0)) - 23 * hour));
        assert_eq!(watch.behind(start + 24 * hour), None);
        // The next step is reported again, with the rest of the first.
        let later = start + 48 * hour;
        watch.observe(at(48 * 3600), later, later);
        assert_eq!(watch.observe(at(47 * 3600), later, later), Some(ClockStep::Back(hour)));
        assert_eq!(watch.behind(later), Some(at(year).since(at(0)) - 47 * hour));
    }
}
