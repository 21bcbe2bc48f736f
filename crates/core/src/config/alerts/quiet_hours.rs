//! Times at which alerts wait.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::Severity;

/// The days of the week in the order of their names.
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A time of some days at which alerts of lower severities wait.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietHours {
    /// The time of day of the beginning.
    pub from: Time,
    /// The time of day of the end, exclusive. A time that is not after `from` is one of the next day.
    pub to: Time,
    /// The days of the beginning.
    pub days: Days,
    /// The time zone of the times.
    pub zone: TimeZone,
    /// The lowest severity that does not wait.
    pub below: Severity,
}

impl QuietHours {
    /// Whether an alert of this severity waits.
    #[must_use]
    pub fn holds(&self, now: Timestamp, severity: Severity) -> bool {
        if severity >= self.below {
            return false;
        }
        let local = now.to_zoned(self.zone.clone());
        let (today, time) = (local.weekday(), local.time());
        let begins_today = self.days.contains(today) && time >= self.from;
        if self.from < self.to {
            return begins_today && time < self.to;
        }
        begins_today || (self.days.contains(today.previous()) && time < self.to)
    }
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All days.
    pub const ALL: Self = Self(0b111_1111);

    /// Reads days such as `mon-fri`, `sat,sun` or `fri-mon,wed`; `None` for another text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let position =
            |name: &str| WEEKDAYS.iter().position(|(known, _)| name.trim().eq_ignore_ascii_case(known));
        let mut days = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut day, last) = (position(first)?, position(last)?);
            days |= 1 << day;
            while day != last {
                day = (day + 1) % WEEKDAYS.len();
                days |= 1 << day;
            }
        }
        Some(Self(days))
    }

    /// Whether a day is among these.
    #[must_use]
    pub fn contains(self, day: Weekday) -> bool {
        WEEKDAYS.iter().position(|(_, known)| *known == day).is_some_and(|at| self.0 & (1 << at) != 0)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            WEEKDAYS.iter().filter(|(_, day)| self.contains(*day)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

/// Reads a time of day such as `22:00`; `24:00` is the midnight that ends a day.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let is_two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !is_two_digits(hour) || !is_two_digits(minute) {
        return None;
    }
    match (hour.parse().ok()?, minute.parse().ok()?) {
        (24, 0) => Some(Time::midnight()),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: &str, to: &str, days: &str) -> QuietHours {
        QuietHours {
            from: time_of_day(from).unwrap(),
            to: time_of_day(to).unwrap(),
            days: Days::parse(days).unwrap(),
            zone: TimeZone::get("Asia/Shanghai").unwrap(),
            below: Severity::Critical,
        }
    }

    /// A time of November 2026 in Shanghai; the 2nd is a Monday.
    fn at(day: i8, hour: i8, minute: i8) -> Timestamp {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        jiff::civil::date(2026, 11, day).at(hour, minute, 0, 0).to_zoned(zone).unwrap().timestamp()
    }

    #[test]
    fn night_belongs_to_the_day_of_its_beginning() {
        let night = quiet("22:00", "07:00", "mon-fri");
        let holds = |day, hour, minute| night.holds(at(day, hour, minute), Severity::Warning);
        assert!(!holds(2, 6, 59), "Sunday's night is none");
        assert!(!holds(2, 21, 59) && holds(2, 22, 0) && holds(3, 0, 0) && holds(3, 6, 59) && !holds(3, 7, 0));
        assert!(holds(6, 23, 0) && holds(7, 6, 0), "Friday's night ends on Saturday");
        assert!(!holds(7, 22, 30));
        assert!(!night.holds(at(2, 23, 0), Severity::Critical));
        assert!(night.holds(at(2, 23, 0), Severity::Info));
    }

    #[test]
    fn hours_within_a_day_and_whole_days_hold() {
        let noon = quiet("12:00", "13:30", "sat,sun");
        assert!(noon.holds(at(7, 12, 0), Severity::Info) && !noon.holds(at(7, 13, 30), Severity::Info));
        assert!(!noon.holds(at(6, 12, 0), Severity::Info));
        let weekend = quiet("00:00", "24:00", "sat-sun");
        assert!(weekend.holds(at(7, 0, 0), Severity::Info) && weekend.holds(at(8, 23, 59), Severity::Info));
        assert!(!weekend.holds(at(9, 0, 0), Severity::Info));
    }

    #[test]
    fn clock_change_keeps_the_hours_of_the_wall() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let night = QuietHours { zone: berlin, ..quiet("02:00", "04:00", "sun") };
        // On 2026-10-25 the hour from 02:00 to 03:00 comes twice.
        let holds = |text: &str| night.holds(text.parse().unwrap(), Severity::Info);
        assert!(!holds("2026-10-24T23:59:00Z") && holds("2026-10-25T00:00:00Z"));
        assert!(holds("2026-10-25T01:30:00Z") && holds("2026-10-25T02:59:00Z"));
        assert!(!holds("2026-10-25T03:00:00Z"));
    }

    #[test]
    fn days_and_times_are_read_in_every_form() {
        let days = |text: &str| Days::parse(text).map(|days| days.to_string());
        assert_eq!(days("mon-fri").as_deref(), Some("mon,tue,wed,thu,fri"));
        assert_eq!(days("Fri-Mon, wed").as_deref(), Some("mon,wed,fri,sat,sun"));
        assert_eq!(days("sun").as_deref(), Some("sun"));
        assert_eq!(days("mon-sun").map(|_| Days::parse("mon-sun")), Some(Some(Days::ALL)));
        for wrong in ["", "monday", "mon-", "mon;tue", "mon,,tue"] {
            assert_eq!(days(wrong), None, "{wrong}");
        }
        for wrong in ["", "22", "22:0", "7:00", "24:01", "25:00", "22:60", "-1:00", "ab:cd", "22:00:00"] {
            assert_eq!(time_of_day(wrong), None, "{wrong}");
        }
    }
}
