//! Durations and points in time as typed by people and programs.

use std::time::{Duration, SystemTime};

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Zoned};

const NEGATIVE: &str = "a duration cannot be negative";

/// Parses a duration: seconds as a number, or units: `90`, `1.5`, `5m`, `1h30m`, `2 days`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write seconds, or a time with units such as 500ms, 5m, 1h30m, 2d";
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return duration_from_seconds(seconds);
    }
    let span: Span = text.parse().map_err(|_| FORM.to_owned())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| FORM.to_owned())?;
    Duration::try_from(length).map_err(|_| NEGATIVE.to_owned())
}

/// Converts a number of seconds.
pub fn duration_from_seconds(seconds: f64) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err(NEGATIVE.to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "the number is too large".to_owned())
}

/// The end of a period, relative or absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// This long after the push.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

/// Parses a duration or a point in time; a text that fits both is a duration.
pub fn parse_until(text: &str) -> Result<Until, String> {
    match (parse_duration(text), parse_time(text)) {
        (Ok(length), _) => Ok(Until::After(length)),
        (Err(_), Ok(time)) => Ok(Until::At(time)),
        (Err(why), Err(_)) if why == NEGATIVE => Err(why),
        (Err(_), Err(why)) if why.contains("TZ") => Err(why),
        (Err(_), Err(_)) => {
            Err("write seconds, a time with units such as 5m, or 2026-11-30T09:00:00Z".to_owned())
        }
    }
}

/// Parses a point in time: RFC 3339, or a local date with or without a time of day.
pub fn parse_time(text: &str) -> Result<SystemTime, String> {
    match TimeZone::try_system() {
        Ok(zone) => parse_time_in(text.trim(), &zone),
        // A time with its own zone needs no other.
        Err(_) => text.trim().parse::<jiff::Timestamp>().map(SystemTime::from).map_err(|_| unknown_zone()),
    }
}

fn unknown_zone() -> String {
    let zone = std::env::var("TZ").unwrap_or_default();
    format!(
        "the local time zone is unknown (TZ is \"{}\"): set TZ to a name such as Europe/Berlin, or write the time with its zone, as \
         in 2026-11-30T09:00:00Z",
        zone.escape_debug()
    )
}

fn parse_time_in(text: &str, zone: &TimeZone) -> Result<SystemTime, String> {
    const FORM: &str =
        "write 2026-11-30T09:00:00Z, 2026-11-30T09:00:00+01:00, or local time: 2026-11-30 09:00";
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.into());
    }
    if let Ok(time) = text.parse::<Zoned>() {
        return Ok(time.timestamp().into());
    }
    let local: civil::DateTime = text.parse().map_err(|_| FORM.to_owned())?;
    let time = local.to_zoned(zone.clone()).map_err(|_| "the time is out of range".to_owned())?;
    Ok(time.timestamp().into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        let parsed = |text: &str| parse_duration(text).unwrap();
        assert_eq!(parsed("90"), Duration::from_secs(90));
        assert_eq!(parsed(" 1.5 "), Duration::from_millis(1500));
        assert_eq!(parsed("500ms"), Duration::from_millis(500));
        assert_eq!(parsed("5m"), Duration::from_secs(300));
        assert_eq!(parsed("1h30m"), Duration::from_secs(5400));
        assert_eq!(parsed("2d"), Duration::from_secs(172_800));
        assert_eq!(parsed("2 days"), Duration::from_secs(172_800));
        for wrong in ["", "soon", "-5", "-5m", "nan", "inf", "1e300", "5 parsecs"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pause_end_is_a_duration_or_a_time() {
        assert_eq!(parse_until("5m"), Ok(Until::After(Duration::from_secs(300))));
        assert_eq!(parse_until("2026"), Ok(Until::After(Duration::from_secs(2026))));
        let time = UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(parse_until("1970-01-01T00:00:01Z"), Ok(Until::At(time)));
        assert_eq!(parse_until("-5"), Err(NEGATIVE.to_owned()));
        assert!(parse_until("soon").is_err());
    }

    #[test]
    fn times_are_rfc_3339_or_local() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let seconds =
            |text: &str| parse_time_in(text, &berlin).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let nine_utc = 1_796_029_200;
        assert_eq!(seconds("2026-11-30T09:00:00Z"), nine_utc);
        assert_eq!(seconds("2026-11-30T10:00:00+01:00"), nine_utc);
        assert_eq!(seconds("2026-11-30 10:00"), nine_utc);
        assert_eq!(seconds("2026-11-30T10:00:00"), nine_utc);
        assert_eq!(seconds("2026-11-30"), nine_utc - 10 * 3600);
        assert!(parse_time_in("tomorrow", &berlin).is_err());
    }
}
