//! Times of day and ticks of the time axis.

/// A fixed distance from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    offset_minutes: i32,
}

/// A tick of the time axis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimeTick {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    /// `12:03`, or the date at midnight.
    pub(crate) label: String,
    /// Whether a day begins here.
    pub(crate) is_midnight: bool,
}

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Seconds between ticks.
const STEPS: [u64; 18] = [
    1,
    2,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
];
const MOST_TICKS: u64 = 6;

impl Clock {
    /// UTC.
    pub(crate) const UTC: Self = Self { offset_minutes: 0 };

    /// A clock east (positive) or west (negative) of UTC, at most 18 hours.
    pub(crate) fn offset_minutes(minutes: i32) -> Self {
        Self { offset_minutes: minutes.clamp(-18 * 60, 18 * 60) }
    }

    /// Minutes east of UTC.
    pub(crate) fn minutes(self) -> i32 {
        self.offset_minutes
    }

    /// `12:03:00`, or `12:03` for a step of whole minutes.
    pub(crate) fn time(self, at: u64, step_seconds: u64) -> String {
        self.shown(at, if step_seconds.is_multiple_of(MINUTE) { "%H:%M" } else { "%H:%M:%S" })
    }

    /// `11-30 12:03:00`.
    pub(crate) fn date_time(self, at: u64, step_seconds: u64) -> String {
        format!("{} {}", self.date(at), self.time(at, step_seconds))
    }

    /// `11-30`.
    fn date(self, at: u64) -> String {
        self.shown(at, "%m-%d")
    }

    /// The local time in a format; empty for one beyond the year 9999.
    fn shown(self, at: u64, format: &str) -> String {
        let instant =
            i64::try_from(at).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        let offset = jiff::tz::Offset::from_seconds(self.offset_minutes * 60).expect("at most 18 hours");
        instant.map_or_else(String::new, |at| offset.to_datetime(at).strftime(format).to_string())
    }

    /// The round number of seconds that divides a span into at most `count` parts and a rest.
    pub(crate) fn step(self, span_seconds: u64, count: u64) -> u64 {
        let days = span_seconds / count.max(1) / DAY + 1;
        STEPS.into_iter().find(|step| span_seconds / step <= count).unwrap_or(days * DAY)
    }

    /// The round local time at or before a time.
    pub(crate) fn floor(self, at: u64, step_seconds: u64) -> u64 {
        let into_step = self.local_seconds(at).rem_euclid(step_seconds as i64) as u64;
        (at / SECOND).saturating_sub(into_step) * SECOND
    }

    /// Ticks at round local times in the range.
    pub(crate) fn ticks(self, from: u64, to: u64) -> Vec<TimeTick> {
        let step = self.step(to.saturating_sub(from) / SECOND, MOST_TICKS);
        let offset = i64::from(self.offset_minutes) * 60;
        let first = self.local_seconds(from.saturating_add(SECOND - 1)).max(0) as u64;
        let mut ticks = Vec::new();
        let mut local = first.next_multiple_of(step);
        while let Some(at) = u64::try_from(local as i64 - offset).ok().and_then(|utc| utc.checked_mul(SECOND))
        {
            if at > to || ticks.len() as u64 > MOST_TICKS {
                break;
            }
            let is_midnight = local.is_multiple_of(DAY);
            let label = if is_midnight { self.date(at) } else { self.time(at, step) };
            ticks.push(TimeTick { at, label, is_midnight });
            local += step;
        }
        ticks
    }

    fn local_seconds(self, at: u64) -> i64 {
        (at / SECOND) as i64 + i64::from(self.offset_minutes) * 60
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, MINUTE, SECOND};

    /// 2026-11-30 12:03:07 UTC.
    const NOON: u64 = 1_796_040_187 * SECOND;

    fn labels(clock: Clock, seconds: u64) -> Vec<String> {
        clock.ticks(NOON - seconds * SECOND, NOON).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_at_round_times() {
        assert_eq!(labels(Clock::UTC, 10), ["12:02:58", "12:03:00", "12:03:02", "12:03:04", "12:03:06"]);
        assert_eq!(labels(Clock::UTC, 15 * MINUTE), ["11:50", "11:55", "12:00"]);
        assert_eq!(labels(Clock::UTC, 60 * MINUTE), ["11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]);
        assert_eq!(labels(Clock::UTC, 360 * MINUTE), ["07:00", "08:00", "09:00", "10:00", "11:00", "12:00"]);
        assert_eq!(
            labels(Clock::UTC, 1_440 * MINUTE),
            ["16:00", "20:00", "11-30", "04:00", "08:00", "12:00"]
        );
    }

    #[test]
    fn midnight_of_the_offset_is_a_date() {
        let shanghai = Clock::offset_minutes(8 * 60);
        assert_eq!(labels(shanghai, 1_440 * MINUTE)[..2], ["11-30", "04:00"]);
        let kathmandu = Clock::offset_minutes(5 * 60 + 45);
        assert_eq!(labels(kathmandu, 360 * MINUTE)[0], "12:00");
        assert_eq!(Clock::offset_minutes(-720).date_time(NOON, 60), "11-30 00:03");
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, date) in
            [(0, "01-01"), (951_782_400, "02-29"), (1_709_164_800, "02-29"), (1_798_675_200, "12-31")]
        {
            assert_eq!(Clock::UTC.date(seconds * SECOND), date);
        }
    }

    #[test]
    fn ranges_without_length_have_at_most_one_tick() {
        assert!(Clock::UTC.ticks(NOON, NOON).len() <= 1);
        assert!(Clock::offset_minutes(-600).ticks(0, 1).len() <= 1);
        assert!(Clock::UTC.ticks(u64::MAX - 5, u64::MAX).len() <= 1);
        assert!(Clock::UTC.ticks(0, u64::MAX).len() <= 8);
    }
}
