//! Writes a job in its JSON form.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::job::{NewJob, Priority, Start, Timestamp, UniqueUntil};

/// The JSON object. Times are texts with a unit, which are exact.
#[derive(Serialize)]
struct Written<'a> {
    job: &'a str,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_until: Option<UniqueUntil>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, String>,
}

/// Writes a job; [`parse`](super::parse) reads the text as an equal job.
pub fn write(job: &NewJob) -> String {
    let meta = &job.meta;
    let ms = |ms: u64| format!("{ms}ms");
    let (delay, at) = match job.start {
        Start::Now => (None, None),
        Start::After(delay) => (Some(ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1))), None),
        Start::At(time) => (None, Some(text(time))),
    };
    let written = Written {
        job: &meta.job,
        payload: job.payload.as_raw(),
        delay,
        at,
        max_attempts: meta.max_attempts,
        timeout: meta.timeout_ms.map(ms),
        unique: meta.unique.as_deref(),
        unique_until: (meta.unique_until != UniqueUntil::End).then_some(meta.unique_until),
        unique_for: meta.unique_for_ms.map(ms),
        priority: (meta.priority != Priority::Normal).then_some(meta.priority),
        expires: meta.expires_in_ms.map(ms).or_else(|| meta.expires_at.map(text)),
        headers: &meta.headers,
    };
    serde_json::to_string(&written).expect("texts and numbers are JSON")
}

/// A time to the microsecond, at most the end of the calendar, which every store refuses.
fn text(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::{PushDefaults, parse};
    use super::*;
    use crate::job::{Payload, PushOptions};

    #[test]
    fn written_job_parses_as_the_same_job() {
        let second = Duration::from_secs(1);
        let soon = UNIX_EPOCH + Duration::from_micros(1_790_000_000_000_001);
        let all = [
            PushOptions::new(),
            PushOptions::new()
                .delay(second)
                .unique("k")
                .max_attempts(7)
                .timeout(second / 2)
                .priority(Priority::Low),
            PushOptions::new().at(soon).unique_until_start("k").timeout(Duration::ZERO).expires_in(second),
            PushOptions::new()
                .unique_for(second, "k")
                .expires_at(soon)
                .header("a", "b")
                .trace("00-1", Some("x=y")),
        ];
        for options in all {
            let job = options.job("App\\Send", Payload::parse(r#"{"a":[1,"\u0000"]}"#).unwrap());
            let read =
                parse(&write(&job), &PushDefaults { job: None, options: &PushOptions::new() }).unwrap();
            assert_eq!(read, job);
        }
    }
}
