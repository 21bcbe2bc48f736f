//! Numbers as people read them: the same form on pages, in charts and in live updates.

use std::time::Duration;

use aint_queue_core::condition::{Field, Unit};

use crate::job::Timestamp;
use crate::job_json::time::local_zone;
use crate::sanitize;

/// A whole number with a comma between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A count, or a dash for an unknown one.
pub(in crate::engine::dashboard) fn count(number: Option<u64>) -> String {
    number.map_or_else(unknown, thousands)
}

/// A rate, or a dash for an unknown one.
pub(in crate::engine::dashboard) fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => unknown(),
        Some(rate) if rate < 0.005 => "0".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.2}"),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of jobs")]
        Some(rate) => thousands(rate.round() as u64),
    }
}

/// A share in percent, or a dash for an unknown one.
pub(in crate::engine::dashboard) fn share(share: Option<f64>) -> String {
    match share {
        None => unknown(),
        Some(share) if share > 0.0 && share < 0.0995 => format!("{:.1} %", share * 100.0),
        Some(share) => format!("{:.0} %", share * 100.0),
    }
}

/// A measured time of seconds or less, or a dash for an unknown one.
pub(in crate::engine::dashboard) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => unknown(),
        Some(seconds) if seconds < 0.001 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1} s"),
        Some(seconds) => age(Some(Duration::from_secs_f64(seconds.clamp(0.0, 1e15)))),
    }
}

/// An age in its two largest units, or a dash for an unknown one.
pub(in crate::engine::dashboard) fn age(age: Option<Duration>) -> String {
    let Some(age) = age else { return unknown() };
    let seconds = age.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{} d {hours} h", thousands(days)),
    }
}

/// A time in milliseconds, as [`age`] from a minute on.
pub(in crate::engine::dashboard) fn millis(millis: u64) -> String {
    seconds(Some(Duration::from_millis(millis).as_secs_f64()))
}

/// A time of this machine's zone.
pub(in crate::engine::dashboard) fn clock_time(at: Timestamp) -> String {
    let instant = i64::try_from(at.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    let zone = local_zone().ok().flatten();
    match (instant, zone) {
        (None, _) => unknown(),
        (Some(instant), Some(zone)) => instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        (Some(instant), None) => {
            instant.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
        }
    }
}

/// Text of several lines, each without characters that move or hide others.
pub(in crate::engine::dashboard) fn lines(text: &str) -> String {
    let shown: Vec<_> = text.lines().map(sanitize::output_line).collect();
    shown.join("\n")
}

/// The number of firing alerts beside a link; empty without any.
pub(in crate::engine::dashboard) fn firing_text(firing: usize) -> String {
    if firing == 0 { String::new() } else { firing.to_string() }
}

/// A value of a condition of alerts, in the unit of its field.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
pub(in crate::engine::dashboard) fn field_value(field: Field, value: f64) -> String {
    match field.unit() {
        Unit::Bool => (value != 0.0).to_string(),
        Unit::Share => share(Some(value)),
        Unit::Duration => seconds(Some(value)),
        Unit::Bytes => bytes(value as u64),
        Unit::Number if value.fract() == 0.0 => count(Some(value as u64)),
        Unit::Number => per_second(Some(value)),
    }
}

/// Bytes in binary units.
pub(in crate::engine::dashboard) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let number = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.0} KiB", number / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", number / 1_048_576.0),
        _ => format!("{:.1} GiB", number / 1_073_741_824.0),
    }
}

fn unknown() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_where_they_can_be() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let rates = [0.0, 0.05, 9.5, 37.84, 1_234.5].map(|rate| per_second(Some(rate)));
        assert_eq!(rates, ["0", "0.05", "9.50", "37.8", "1,235"]);
        let shares = [0.0, 0.008, 0.0999, 0.5, 1.0].map(|part| share(Some(part)));
        assert_eq!(shares, ["0 %", "0.8 %", "10 %", "50 %", "100 %"]);
        let times = [0.000_4, 0.0412, 0.5123, 2.06, 75.0, 1e300].map(|time| seconds(Some(time)));
        assert_eq!(times[..5], ["0.40 ms", "41.2 ms", "512 ms", "2.1 s", "1 min 15 s"]);
        let ages = [0, 59, 754, 7_260, 200_000].map(|age| super::age(Some(Duration::from_secs(age))));
        assert_eq!(ages, ["0 s", "59 s", "12 min 34 s", "2 h 1 min", "2 d 7 h"]);
        assert_eq!([0, 2_048, 61 << 20, 3 << 30].map(bytes), ["0 B", "2 KiB", "61 MiB", "3.0 GiB"]);
        assert_eq!((count(None), per_second(None), age(None)), ("–".into(), "–".into(), "–".into()));
    }
}
