//! Formats times of the store for people and programs.

use jiff::tz::TimeZone;

use crate::job::Timestamp;
use crate::job_json::time::local_zone;

/// Local time, for people.
pub(crate) fn local(time: Timestamp) -> String {
    match local_zone() {
        Ok(Some(zone)) => shown_in(time, zone),
        // The zone is named, so that the time is not mistaken for a local one.
        Ok(None) | Err(_) => shown_in(time, TimeZone::UTC) + " UTC",
    }
}

fn shown_in(time: Timestamp, zone: TimeZone) -> String {
    match instant(time) {
        Some(instant) => instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "beyond the year 9999".to_owned(),
    }
}

/// RFC 3339 in UTC, for programs.
pub(crate) fn rfc3339(time: Timestamp) -> Option<String> {
    instant(time).map(|instant| instant.to_string())
}

fn instant(time: Timestamp) -> Option<jiff::Timestamp> {
    i64::try_from(time.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_shown_in_its_zone_and_never_panics() {
        assert_eq!(shown_in(Timestamp(1_796_029_200_000_000), TimeZone::UTC), "2026-11-30 09:00:00");
        assert_eq!(rfc3339(Timestamp(1_796_029_200_000_001)).unwrap(), "2026-11-30T09:00:00.000001Z");
        assert_eq!(shown_in(Timestamp(u64::MAX), TimeZone::UTC), "beyond the year 9999");
    }
}
