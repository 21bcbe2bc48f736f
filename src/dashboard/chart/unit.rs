//! Units of values and their texts.

/// Unit of the values of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Whole things: jobs, workers.
    Count,
    /// Things per second.
    PerSecond,
    /// Seconds, shown as ms, s, min or h.
    Seconds,
    /// Bytes, shown as KiB, MiB or GiB.
    Bytes,
}

/// The largest value that is drawn: larger ones are cut.
const LARGEST: f64 = 1e18;

const KIB: f64 = 1024.0;
const BYTE_UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

impl Unit {
    /// A value that can be drawn: finite, not negative, not absurd.
    pub(crate) fn drawable(value: Option<f64>) -> Option<f64> {
        value.filter(|value| value.is_finite()).map(|value| value.clamp(0.0, LARGEST))
    }

    /// Name for the script of the crosshair.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::PerSecond => "per-second",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// The value in full: "1,180", "40.1/s", "512 ms", "61 MiB", "0.8 %".
    pub(crate) fn full(self, value: f64) -> String {
        match self {
            Self::Count if value < 1e6 => grouped(value),
            Self::PerSecond if value < 1e6 => format!("{}/s", grouped(value)),
            Self::PerSecond => format!("{}/s", self.short(value)),
            Self::Count | Self::Seconds | Self::Bytes => self.short(value),
        }
    }

    /// The value in few characters, for an axis: "12.3k". The axis of a rate leaves out "/s": its title says so.
    pub(crate) fn short(self, value: f64) -> String {
        match self {
            Self::Count | Self::PerSecond => thousands(value),
            Self::Seconds => duration(value),
            Self::Bytes => bytes(value),
        }
    }
}

/// Three significant digits up to 100, whole numbers above.
fn decimal(value: f64) -> String {
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.1 || v == 0.0 => 2,
        v if v >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// The decimal text with commas between thousands.
fn grouped(value: f64) -> String {
    let text = decimal(value);
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut shown = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{shown}.{fraction}"),
        None => shown,
    }
}

fn thousands(value: f64) -> String {
    const SUFFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if value < 9_999.5 {
        return grouped(value);
    }
    // The limit is half of the last digit below: 999,999 is 1M, not 1,000k.
    let (scale, suffix) =
        SUFFIXES.into_iter().find(|(scale, _)| value >= scale * 0.9995).unwrap_or((1e3, "k"));
    format!("{}{suffix}", grouped(value / scale))
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0 s".to_owned(),
        s if s < 0.000_999_5 => format!("{} µs", decimal(s * 1e6)),
        s if s < 0.999_5 => format!("{} ms", decimal(s * 1e3)),
        s if s < 60.0 => format!("{} s", decimal(s)),
        s if s < 3_600.0 => format!("{} min", decimal(s / 60.0)),
        s if s < 86_400.0 * 3.0 => format!("{} h", decimal(s / 3_600.0)),
        s => format!("{} d", grouped(s / 86_400.0)),
    }
}

fn bytes(value: f64) -> String {
    let mut value = value;
    let mut unit = 0;
    while value >= 1_023.5 && unit + 1 < BYTE_UNITS.len() {
        value /= KIB;
        unit += 1;
    }
    if unit == 0 {
        return format!("{value:.0} B");
    }
    format!("{} {}", grouped(value), BYTE_UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn values_are_short_on_axes_and_full_in_tables() {
        let cases = [
            (Unit::Count, 0.0, "0", "0"),
            (Unit::Count, 1_180.0, "1,180", "1,180"),
            (Unit::Count, 12_345.0, "12.3k", "12,345"),
            (Unit::Count, 999_999.0, "1M", "999,999"),
            (Unit::Count, 1e12, "1T", "1T"),
            (Unit::Count, 1e18, "1,000,000T", "1,000,000T"),
            (Unit::PerSecond, 40.125, "40.1", "40.1/s"),
            (Unit::PerSecond, 0.05, "0.05", "0.05/s"),
            (Unit::Seconds, 0.000_04, "40 µs", "40 µs"),
            (Unit::Seconds, 0.512, "512 ms", "512 ms"),
            (Unit::Seconds, 0.999_9, "1 s", "1 s"),
            (Unit::Seconds, 90.0, "1.5 min", "1.5 min"),
            (Unit::Seconds, 7_200.0, "2 h", "2 h"),
            (Unit::Seconds, 864_000.0, "10 d", "10 d"),
            (Unit::Bytes, 512.0, "512 B", "512 B"),
            (Unit::Bytes, 63_963_136.0, "61 MiB", "61 MiB"),
            (Unit::Bytes, 1_048_575.0, "1 MiB", "1 MiB"),
        ];
        for (unit, value, short, full) in cases {
            assert_eq!(unit.short(value), short, "{unit:?} {value}");
            assert_eq!(unit.full(value), full, "{unit:?} {value}");
        }
    }

    #[test]
    fn values_that_cannot_be_drawn_are_gaps_or_cut() {
        assert_eq!(Unit::drawable(Some(f64::NAN)), None);
        assert_eq!(Unit::drawable(Some(f64::INFINITY)), None);
        assert_eq!(Unit::drawable(Some(-1.0)), Some(0.0));
        assert_eq!(Unit::drawable(Some(1e300)), Some(1e18));
    }
}
