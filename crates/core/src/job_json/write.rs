//! Writes a job in its JSON form.

use serde_json::{Value, json};

use super::JobObject;
use crate::durations::millis_at_least_one;
use crate::job::{NewJob, Priority, Start, Timestamp, UniqueUntil};

/// Writes a job; [`parse`](super::parse) reads the text as an equal job. Times are texts with a unit, which are exact.
#[must_use]
pub fn write(job: &NewJob) -> String {
    let meta = &job.meta;
    let ms = |ms: u64| json!(format!("{ms}ms"));
    let (delay, at) = match job.start {
        Start::Now => (None, None),
        Start::After(delay) => (Some(ms(millis_at_least_one(delay).max(1))), None),
        Start::At(time) => (None, Some(text(time))),
    };
    let object = JobObject {
        job: Some(json!(meta.job)),
        payload: Some(job.payload.as_raw()),
        delay,
        at,
        max_attempts: meta.max_attempts.map(Value::from),
        retry_until: meta.retry_for_ms.map(ms).or_else(|| meta.retry_until.map(text)),
        timeout: meta.timeout_ms.map(ms),
        unique: meta.unique.as_deref().map(Value::from),
        unique_until: (meta.unique_until != UniqueUntil::End).then(|| json!(meta.unique_until)),
        unique_for: meta.unique_for_ms.map(ms),
        priority: (meta.priority != Priority::Normal).then(|| json!(meta.priority)),
        expires: meta.expires_in_ms.map(ms).or_else(|| meta.expires_at.map(text)),
        headers: (!meta.headers.is_empty()).then(|| json!(meta.headers)),
    };
    serde_json::to_string(&object).expect("texts and numbers are JSON")
}

/// A time to the microsecond, at most the end of the calendar, which every store refuses.
fn text(time: Timestamp) -> Value {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    json!(jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string())
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
        let later = UNIX_EPOCH + Duration::from_micros(1_990_000_000_000_001);
        let all = [
            PushOptions::new(),
            PushOptions::new()
                .delay(second)
                .unique("k")
                .max_attempts(7)
                .timeout(second / 2)
                .retry_for(2 * second)
                .priority(Priority::Low),
            PushOptions::new().at(soon).unique_until_start("k").timeout(Duration::ZERO).expires_in(second),
            PushOptions::new()
                .unique_for(second, "k")
                .expires_at(soon)
                .retry_until(later)
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
