//! Formats durations and counts for people. Times are in [`super::time`].

use std::time::Duration;

use serde::Serialize;

/// A duration in milliseconds: `50 ms`, `1.5 s`, `3 min`, `2 h`.
pub(crate) fn duration(ms: u64) -> String {
    let duration = Duration::from_millis(ms);
    match duration.as_secs() {
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        s @ 60..3600 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

/// A configured duration in seconds, without rounding: `90 s`, `0.5 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// A number of bytes: `512 bytes`, `1.5 KiB`, `12 MiB`, `3.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let number = format!("{:.1}", bytes as f64 / unit as f64);
            format!("{} {name}", number.strip_suffix(".0").unwrap_or(&number))
        }
        None => format!("{bytes} bytes"),
    }
}

/// The name of a variant, as in JSON.
pub(crate) fn word(variant: impl Serialize) -> String {
    let json = serde_json::to_value(variant).expect("a variant is plain data");
    json.as_str().expect("a variant without fields is a string").to_owned()
}

/// `a, b and c`.
pub(crate) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 job`, `2 jobs`.
pub(crate) fn jobs(count: u64) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// `1 job is`, `2 jobs are`.
pub(crate) fn jobs_are(count: u64) -> String {
    format!("{} {}", jobs(count), if count == 1 { "is" } else { "are" })
}

/// `1 job was`, `2 jobs were`.
pub(crate) fn jobs_were(count: u64) -> String {
    format!("{} {}", jobs(count), if count == 1 { "was" } else { "were" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([5, 1_500, 61_000, 7_200_000].map(duration), ["5 ms", "1.5 s", "1 min", "2 h"]);
        assert_eq!([0, 1_536, 100 << 20, 5 << 40].map(size), ["0 bytes", "1.5 KiB", "100 MiB", "5120 GiB"]);
        assert_eq!([90_000, 500].map(|ms| seconds(Duration::from_millis(ms))), ["90 s", "0.5 s"]);
    }

    #[test]
    fn counts_agree_with_their_verb() {
        assert_eq!([1, 2].map(jobs_are), ["1 job is", "2 jobs are"]);
        assert_eq!([0, 1].map(jobs_were), ["0 jobs were", "1 job was"]);
    }
}
