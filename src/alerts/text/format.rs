//! Numbers with their units, as people read them.

use aint_queue_core::condition::{Field, Unit};

use super::words::Words;
use crate::job::Timestamp;

/// Writes values in a language.
pub(super) struct Formats<'a>(&'a Words);

impl<'a> Formats<'a> {
    pub(super) fn new(words: &'a Words) -> Self {
        Self(words)
    }

    /// A value with its unit.
    pub(super) fn value(&self, field: Field, value: f64) -> String {
        match field.unit() {
            Unit::Number => number(value),
            Unit::Share => format!("{} %", number(value * 100.0)),
            Unit::Duration => self.duration(value),
            Unit::Bytes => bytes(value),
            Unit::Bool => (if value == 0.0 { self.0.no } else { self.0.yes }).to_owned(),
        }
    }

    /// A time in its two largest units: `12 min`, `2 h 5 min`, `1.5 s`.
    pub(super) fn duration(&self, seconds: f64) -> String {
        let [day, hour, minute, second] = self.0.units;
        if seconds < 10.0 {
            return format!("{} {second}", number(seconds));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds are not negative, and a cast saturates"
        )]
        let whole = seconds.round() as u64;
        let parts = [
            (whole / 86_400, day),
            (whole / 3_600 % 24, hour),
            (whole / 60 % 60, minute),
            (whole % 60, second),
        ];
        let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
        let shown = parts[first..].iter().take(2).filter(|(n, _)| *n > 0);
        shown.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ")
    }
}

/// A number with separators, and two digits behind the point when it is small and not whole.
fn number(value: f64) -> String {
    let text = if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(rest) = rest {
        grouped.push('.');
        grouped.push_str(rest);
    }
    grouped
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", number(scaled), units[unit])
}

/// A time in UTC, to the second.
pub(super) fn at(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::alerts::Language;

    #[test]
    fn values_are_written_with_their_units() {
        let words = Words::of(Language::English);
        let formats = Formats::new(&words);
        assert_eq!(formats.value(Field::Waiting, 1_204_000.0), "1,204,000");
        assert_eq!(formats.value(Field::RateOut, 0.126), "0.13");
        assert_eq!(formats.value(Field::RateOut, 48.3), "48.3");
        assert_eq!(formats.value(Field::FailureRate, 0.2), "20 %");
        assert_eq!(formats.value(Field::WorkersMemory, 1.5 * 1024.0 * 1024.0), "1.5 MiB");
        assert_eq!(formats.value(Field::Degraded, 1.0), "yes");
        for (seconds, text) in [
            (0.0, "0 s"),
            (1.5, "1.5 s"),
            (59.6, "1 min"),
            (65.0, "1 min 5 s"),
            (720.0, "12 min"),
            (7_500.0, "2 h 5 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(formats.duration(seconds), text);
        }
        assert_eq!(at(Timestamp(1_700_000_000_000_000)), "2023-11-14 22:13:20 UTC");
    }
}
