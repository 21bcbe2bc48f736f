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

/// Why a text is no point in time.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// The text has another form.
    #[error("write 2026-11-30T09:00:00Z, 2026-11-30T09:00:00+01:00, or local time: 2026-11-30 09:00")]
    Form,
    /// The calendar ends before this time.
    #[error("the time is out of range")]
    OutOfRange,
    /// The text is a local time, but the local time zone is unknown.
    #[error(transparent)]
    UnknownZone(#[from] UnknownZone),
}

/// The variable `TZ` names an unknown time zone.
#[derive(Debug, thiserror::Error)]
#[error(
    "TZ is \"{}\", which is no known time zone: set TZ to a name such as Europe/Berlin (from the package tzdata) or to UTC, or unset it",
    name.escape_debug()
)]
pub struct UnknownZone {
    name: String,
}

/// The local time zone; `None` on a machine that has none, whose local time is UTC.
pub fn local_zone() -> Result<Option<TimeZone>, UnknownZone> {
    match (TimeZone::try_system(), std::env::var_os("TZ")) {
        (Ok(zone), _) => Ok(Some(zone)),
        (Err(_), None) => Ok(None),
        (Err(_), Some(name)) => Err(UnknownZone { name: name.to_string_lossy().into_owned() }),
    }
}

/// Parses a duration or a point in time; a text that fits both is a duration.
pub fn parse_until(text: &str) -> Result<Until, String> {
    match (parse_duration(text), parse_time(text)) {
        (Ok(length), _) => Ok(Until::After(length)),
        (Err(_), Ok(time)) => Ok(Until::At(time)),
        (Err(why), Err(_)) if why == NEGATIVE => Err(why),
        (Err(_), Err(TimeError::Form)) => {
            Err("write seconds, a time with units such as 5m, or 2026-11-30T09:00:00Z".to_owned())
        }
        (Err(_), Err(why)) => Err(why.to_string()),
    }
}

/// Parses a point in time: RFC 3339, or a local date with or without a time of day.
pub fn parse_time(text: &str) -> Result<SystemTime, TimeError> {
    parse_time_in(text.trim(), || Ok(local_zone()?.unwrap_or(TimeZone::UTC)))
}

/// As [`parse_time`]; `zone` is asked only for a time without a zone of its own.
fn parse_time_in(
    text: &str,
    zone: impl FnOnce() -> Result<TimeZone, UnknownZone>,
) -> Result<SystemTime, TimeError> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.into());
    }
    if let Ok(time) = text.parse::<Zoned>() {
        return Ok(time.timestamp().into());
    }
    let local: civil::DateTime = text.parse().map_err(|_| TimeError::Form)?;
    let time = local.to_zoned(zone()?).map_err(|_| TimeError::OutOfRange)?;
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
        let berlin = || Ok(TimeZone::get("Europe/Berlin").unwrap());
        let seconds =
            |text: &str| parse_time_in(text, berlin).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let nine_utc = 1_796_029_200;
        assert_eq!(seconds("2026-11-30T09:00:00Z"), nine_utc);
        assert_eq!(seconds("2026-11-30T10:00:00+01:00"), nine_utc);
        assert_eq!(seconds("2026-11-30 10:00"), nine_utc);
        assert_eq!(seconds("2026-11-30T10:00:00"), nine_utc);
        assert_eq!(seconds("2026-11-30"), nine_utc - 10 * 3600);
        assert!(parse_time_in("tomorrow", berlin).is_err());
    }

    #[test]
    fn unknown_zone_matters_only_to_local_times() {
        let unknown = || Err(UnknownZone { name: "Mars/Olympus".to_owned() });
        assert!(parse_time_in("2026-11-30T09:00:00Z", unknown).is_ok());
        assert!(matches!(parse_time_in("tomorrow", unknown), Err(TimeError::Form)));
        let refused = parse_time_in("2026-11-30 09:00", unknown).unwrap_err().to_string();
        assert!(refused.starts_with("TZ is \"Mars/Olympus\", which is no known time zone"), "{refused}");
    }
}
