//! The JSON form of a pushed job: one object with a name, a payload and options.
//!
//! Shared by `queue:push --file` (one object per line), the HTTP listener and follow-up jobs of workers. Pure, except that
//! [`check`] reads the clock to find times beyond ten years early.
//!
//! | key | value |
//! |---|---|
//! | `job` | name of the job |
//! | `payload` | any JSON; `{}` when absent |
//! | `delay` | earliest start, from the push: seconds, or a text with units such as `"5m"` |
//! | `at` | earliest start: `"2026-11-30T09:00:00Z"` |
//! | `max_attempts` | number of attempts |
//! | `timeout` | time limit of one run, 0 for none: seconds, or a text with units |
//! | `unique` | unique key: add nothing while another job holds it |
//! | `unique_until` | end of the hold on that key: `"end"` of the job (the default) or its `"start"` |
//! | `unique_for` | hold the key for this long after the push instead |
//! | `priority` | `"high"`, `"normal"` or `"low"` |
//! | `retry_until` | end of the retry window: a time from the push, or a point in time |
//! | `expires` | latest start: a time from the push, or a point in time |
//! | `headers` | an object of texts, metadata for the handler |
//!
//! `null` means "absent", except for `payload`. Headers are merged with those of the defaults; every other key replaces its
//! default.

mod keys;
mod long_text;
pub mod time;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::job::{
    MAX_HEADER_BYTES, MAX_HEADERS, NewJob, NewJobError, Payload, PayloadError, Priority, PushOptions, Start,
    Timestamp, UniqueUntil, mend_surrogates,
};
use keys::{KEYS, cut_key};
pub use long_text::{LONG_TEXT, is_too_deep};
use time::Until;
pub use write::write;

/// Longest text of headers: longer ones are refused before they take many times their length as values. A byte takes up to six
/// characters, and a header a few more.
const MAX_HEADERS_TEXT: usize = 6 * MAX_HEADER_BYTES + 64 * MAX_HEADERS;

/// A mistake in the JSON form of a job.
#[derive(Debug, Error)]
pub enum JobJsonError {
    #[error("not valid JSON, where an object with job, payload and options belongs: {0}")]
    NotJson(String),
    #[error("not an object with job, payload and options: {0}")]
    NotAnObject(String),
    #[error("\"{}\" is no key of a job: {}", key.escape_debug(), keys::remedy(key))]
    UnknownKey { key: String },
    #[error("\"{0}\" is given twice: keep one of the two")]
    Twice(String),
    #[error("no job is named: add \"job\": \"name\"")]
    NoJob,
    #[error("\"{key}\": {why}")]
    Key { key: &'static str, why: String },
    #[error("\"{0}\" and \"{1}\" exclude each other: keep one of the two")]
    Both(&'static str, &'static str),
    #[error(transparent)]
    Payload(PayloadError),
    #[error("{rule}")]
    Rule { key: &'static str, rule: NewJobError },
}

impl JobJsonError {
    /// The key with the mistake, if the mistake belongs to one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::NotJson(_) | Self::NotAnObject(_) => None,
            Self::NoJob => Some("job"),
            Self::UnknownKey { key } | Self::Twice(key) => Some(key),
            Self::Both(key, _) | Self::Key { key, .. } | Self::Rule { key, .. } => Some(key),
            Self::Payload(_) => Some("payload"),
        }
    }
}

/// The key that breaks a rule for jobs.
fn key_of(rule: &NewJobError, job: &NewJob) -> &'static str {
    match rule {
        NewJobError::Name(_) => "job",
        NewJobError::UniqueKey(_) => "unique",
        NewJobError::Delay if matches!(job.start, Start::At(_)) => "at",
        NewJobError::Delay => "delay",
        NewJobError::Attempts => "max_attempts",
        NewJobError::UniqueFor(_) => "unique_for",
        NewJobError::Expiry => "expires",
        NewJobError::RetryWindow | NewJobError::RetryWindowOver => "retry_until",
        NewJobError::Header(_) => "headers",
    }
}

/// Name and options of jobs that do not set their own.
pub struct PushDefaults<'a> {
    pub job: Option<&'a str>,
    pub options: &'a PushOptions,
}

/// The JSON object, for both directions. A parsed one keeps raw values until each is read by itself, so that every mistake
/// names its key.
#[derive(Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object",
    bound(deserialize = "V: Deserialize<'de>, P: Deserialize<'de>")
)]
struct JobObject<V, P> {
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    job: Option<V>,
    #[serde(default = "none", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    payload: Option<P>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    delay: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    at: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    max_attempts: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    retry_until: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    timeout: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    unique: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    unique_until: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    unique_for: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    priority: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    expires: Option<V>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    headers: Option<V>,
}

/// The default of every key. A function, because `#[serde(default)]` alone would require `V: Default`.
fn none<T>() -> Option<T> {
    None
}

/// Keeps a payload of `null`, which serde would read as absent.
fn present<'de, P: Deserialize<'de>, D: Deserializer<'de>>(raw: D) -> Result<Option<P>, D::Error> {
    P::deserialize(raw).map(Some)
}

/// The job that `text` means.
///
/// Half a character in any text (`\ud83d` alone) is replaced by U+FFFD.
pub fn parse(text: &str, defaults: &PushDefaults<'_>) -> Result<NewJob, JobJsonError> {
    match text.trim() {
        long if long.len() > LONG_TEXT => parse_short(&long_text::shortened(long)?, defaults),
        short => parse_short(short, defaults),
    }
}

/// The job of a text that is not much longer than the longest job.
fn parse_short(text: &str, defaults: &PushDefaults<'_>) -> Result<NewJob, JobJsonError> {
    let mended = text.contains("\\u").then(|| mend_surrogates(text.to_owned()));
    let text = mended.as_deref().unwrap_or(text);
    let written: JobObject<&RawValue, &RawValue> =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => keys::mistake(text).unwrap_or_else(|| JobJsonError::NotAnObject(place(&error))),
            _ => JobJsonError::NotJson(place(&error)),
        })?;
    if !text.starts_with('{') {
        // serde takes an array for an object whose keys are left out.
        return Err(JobJsonError::NotAnObject("the text is an array".to_owned()));
    }
    let named = written.job.map(|raw| read_text("job", raw)).transpose()?;
    let name = named.as_deref().or(defaults.job).ok_or(JobJsonError::NoJob)?;
    let payload =
        Payload::parse(written.payload.map_or("{}", RawValue::get)).map_err(JobJsonError::Payload)?;
    let job = written.options(defaults.options.clone())?.job(name, payload);
    check(&job).map_err(|rule| JobJsonError::Rule { key: key_of(&rule, &job), rule })?;
    Ok(job)
}

impl JobObject<&RawValue, &RawValue> {
    /// Applies the keys of this object to `options`.
    fn options(&self, mut options: PushOptions) -> Result<PushOptions, JobJsonError> {
        match (self.delay, self.at) {
            (Some(_), Some(_)) => return Err(JobJsonError::Both("delay", "at")),
            (Some(delay), None) => options = options.delay(read_duration("delay", delay)?),
            (None, Some(at)) => options = options.at(read_time("at", at)?),
            (None, None) => {}
        }
        if let Some(attempts) = self.max_attempts {
            let read = serde_json::from_str(attempts.get());
            options = options.max_attempts(read.map_err(|_| wrong("max_attempts", "write a whole number"))?);
        }
        if let Some(end) = self.retry_until {
            options = match read_until("retry_until", end)? {
                Until::After(length) => options.retry_for(length),
                Until::At(time) => options.retry_until(time),
            };
        }
        if let Some(timeout) = self.timeout {
            options = options.timeout(read_duration("timeout", timeout)?);
        }
        if let Some(priority) = self.priority {
            let read = serde_json::from_str::<Priority>(priority.get());
            let read = read.map_err(|_| wrong("priority", "write \"high\", \"normal\" or \"low\""));
            options = options.priority(read?);
        }
        if let Some(expires) = self.expires {
            options = match read_until("expires", expires)? {
                Until::After(length) => options.expires_in(length),
                Until::At(time) => options.expires_at(time),
            };
        }
        if let Some(headers) = self.headers {
            if headers.get().len() > MAX_HEADERS_TEXT {
                return Err(headers_too_long());
            }
            let read = serde_json::from_str::<BTreeMap<String, String>>(headers.get());
            let form = "write an object of texts, such as {\"tenant\": \"7\"}";
            for (name, value) in read.map_err(|_| wrong("headers", form))? {
                options = options.header(name, value);
            }
        }
        self.unique(options)
    }

    /// Applies the unique key and its hold to `options`.
    fn unique(&self, options: PushOptions) -> Result<PushOptions, JobJsonError> {
        let Some(key) = self.unique.map(|raw| read_text("unique", raw)).transpose()? else {
            let lonely = [("unique_until", self.unique_until), ("unique_for", self.unique_for)];
            return match lonely.iter().find(|(_, raw)| raw.is_some()) {
                Some((name, _)) => Err(wrong(name, "says how long a key is held: add \"unique\", the key")),
                None => Ok(options),
            };
        };
        match (self.unique_until, self.unique_for) {
            (Some(_), Some(_)) => Err(JobJsonError::Both("unique_until", "unique_for")),
            (Some(until), None) => match serde_json::from_str(until.get()) {
                Ok(UniqueUntil::Start) => Ok(options.unique_until_start(key)),
                Ok(UniqueUntil::End) => Ok(options.unique(key)),
                Err(_) => Err(wrong("unique_until", "write \"start\" or \"end\"")),
            },
            (None, Some(time)) => Ok(options.unique_for(read_duration("unique_for", time)?, key)),
            (None, None) => Ok(options.unique(key)),
        }
    }
}

/// Checks the rules of the store. The store's clock decides on times; this check finds clear violations earlier.
pub fn check(job: &NewJob) -> Result<(), NewJobError> {
    job.check_times(Timestamp::from(SystemTime::now()))?;
    job.check()
}

fn wrong(key: &'static str, why: impl Into<String>) -> JobJsonError {
    JobJsonError::Key { key, why: why.into() }
}

fn headers_too_long() -> JobJsonError {
    wrong("headers", format!("at most {MAX_HEADER_BYTES} bytes are allowed in all"))
}

fn read_text<'a>(key: &'static str, raw: &'a RawValue) -> Result<Cow<'a, str>, JobJsonError> {
    if let Some(plain) = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'))
        && !plain.contains('\\')
    {
        return Ok(Cow::Borrowed(plain));
    }
    serde_json::from_str::<String>(raw.get()).map(Cow::Owned).map_err(|_| wrong(key, "write a text"))
}

/// Parses seconds, or a text with units.
fn read_duration(key: &'static str, raw: &RawValue) -> Result<Duration, JobJsonError> {
    let parsed = match serde_json::from_str::<f64>(raw.get()) {
        Ok(seconds) => time::duration_from_seconds(seconds),
        Err(_) => time::parse_duration(&read_text(key, raw).unwrap_or_default()),
    };
    parsed.map_err(|why| wrong(key, why))
}

/// Parses seconds, a text with units, or a point in time.
fn read_until(key: &'static str, raw: &RawValue) -> Result<Until, JobJsonError> {
    let parsed = match serde_json::from_str::<f64>(raw.get()) {
        Ok(seconds) => time::duration_from_seconds(seconds).map(Until::After),
        Err(_) => time::parse_until(&read_text(key, raw).unwrap_or_default()),
    };
    parsed.map_err(|why| wrong(key, why))
}

fn read_time(key: &'static str, raw: &RawValue) -> Result<SystemTime, JobJsonError> {
    time::parse_time(&read_text(key, raw).unwrap_or_default()).map_err(|why| wrong(key, why.to_string()))
}

/// The text of a JSON error. The input is one line, so "line 1" is removed.
fn place(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, job: Option<&str>) -> Result<NewJob, JobJsonError> {
        parse(text, &PushDefaults { job, options: &PushOptions::new().max_attempts(9) })
    }

    #[test]
    fn object_carries_every_push_option() {
        let text = r#"{"job":"a","payload":{"x": 1},"delay":"5m","max_attempts":2,"timeout":1.5,"unique":"k\u0065y",
                "unique_until":"start","priority":"high","expires":"1h","headers":{"tenant":"7"}}"#;
        let job = parsed(text, Some("other")).unwrap();
        assert_eq!((job.meta.job.as_str(), job.payload.as_str()), ("a", r#"{"x": 1}"#));
        assert_eq!(job.start, Start::After(Duration::from_secs(300)));
        assert_eq!((job.meta.max_attempts, job.meta.timeout_ms), (Some(2), Some(1500)));
        assert_eq!(job.meta.unique.as_deref(), Some("key"));
        assert_eq!((job.meta.unique_until, job.meta.unique_for_ms), (UniqueUntil::Start, None));
        assert_eq!((job.meta.priority, job.meta.expires_in_ms), (Priority::High, Some(3_600_000)));
        assert_eq!(job.meta.headers["tenant"], "7");

        let text = r#"{"unique":"k","unique_for":60,"expires":"2026-11-30T09:00:00Z","priority":"low"}"#;
        let meta = parsed(text, Some("other")).unwrap().meta;
        assert_eq!((meta.unique_until, meta.unique_for_ms), (UniqueUntil::End, Some(60_000)));
        assert_eq!((meta.expires_in_ms, meta.expires_at), (None, Some(Timestamp(1_796_029_200_000_000))));

        let window = |text| parsed(text, Some("other")).unwrap().meta;
        assert_eq!(window(r#"{"retry_until":"2h"}"#).retry_for_ms, Some(7_200_000));
        let until = window(r#"{"retry_until":"2030-11-30T09:00:00Z"}"#);
        assert_eq!((until.retry_for_ms, until.retry_until), (None, Some(Timestamp(1_922_259_600_000_000))));

        let job = parsed(r#"{"at":"1970-01-01T00:00:01Z"}"#, Some("other")).unwrap();
        assert_eq!((job.meta.job.as_str(), job.payload.as_str()), ("other", "{}"));
        assert_eq!((job.start, job.meta.max_attempts), (Start::At(Timestamp(1_000_000)), Some(9)));
    }

    #[test]
    fn fields_replace_defaults_and_headers_merge() {
        let options = PushOptions::new().expires_in(Duration::from_secs(1)).header("a", "1").header("b", "1");
        let options = options.priority(Priority::Low);
        let text = r#"{"expires":"2026-11-30T09:00:00Z","headers":{"b":"2"}}"#;
        let meta = parse(text, &PushDefaults { job: Some("x"), options: &options }).unwrap().meta;
        assert_eq!((meta.expires_in_ms, meta.expires_at.is_some()), (None, true));
        assert_eq!((meta.headers["a"].as_str(), meta.headers["b"].as_str()), ("1", "2"));
        assert_eq!(meta.priority, Priority::Low);
    }

    #[test]
    fn half_a_character_is_replaced_in_every_text() {
        let text = r#"{"job":"a","payload":["\ud83d"],"unique":"k\ud83d","headers":{"agent":"\ude00"}}"#;
        let job = parsed(text, None).unwrap();
        assert_eq!((job.payload.as_str(), job.meta.unique.as_deref()), (r#"["\ufffd"]"#, Some("k\u{fffd}")));
        assert_eq!(job.meta.headers["agent"], "\u{fffd}");
    }

    #[test]
    fn null_is_absent_except_as_payload() {
        let text = r#"{"job":null,"payload":null,"delay":null,"at":null,"max_attempts":null,"timeout":null,"unique":null,
                "unique_until":null,"unique_for":null,"priority":null,"expires":null,"headers":null}"#;
        let job = parsed(text, Some("other")).unwrap();
        let expected = PushOptions::new().max_attempts(9).job("other", Payload::parse("null").unwrap());
        assert_eq!(job, expected);
    }

    #[test]
    fn job_error_names_key_and_reason() {
        let wrong = |text: &str, key: Option<&str>, says: &str| {
            let error = parsed(text, None).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.key(), key, "{error}");
        };
        wrong("nonsense", None, "not valid JSON, where an object");
        wrong(r#"{"job":"x""#, None, "not valid JSON");
        wrong(
            "5",
            None,
            "not an object with job, payload and options: invalid type: integer `5`, expected an object",
        );
        wrong("[1]", None, "not an object");
        wrong("[null,1]", None, "not an object");
        wrong(
            r#"{"job":"a","prio":1}"#,
            Some("prio"),
            "\"prio\" is no key of a job: did you mean \"priority\"?",
        );
        wrong(r#"{"job":"a","timout":1}"#, Some("timout"), "did you mean \"timeout\"?");
        wrong(r#"{"job":"a","data":{}}"#, Some("data"), "did you mean \"payload\"?");
        wrong(r#"{"job":"a","colour":1}"#, Some("colour"), "the keys are job, payload, delay, at,");
        wrong(r#"{"job":"a","job":"b"}"#, Some("job"), "\"job\" is given twice");
        wrong(r#"{"job":"a","payload":{"x":}}"#, None, "at column");
        wrong(r#"{"payload":1}"#, Some("job"), "no job is named");
        wrong(r#"{"job":7}"#, Some("job"), "\"job\": write a text");
        wrong(r#"{"job":"a b"}"#, Some("job"), "is not allowed");
        wrong(r#"{"job":"a","delay":"soon"}"#, Some("delay"), "\"delay\": write seconds");
        wrong(r#"{"job":"a","delay":[1]}"#, Some("delay"), "\"delay\": write seconds");
        wrong(r#"{"job":"a","delay":"4000d"}"#, Some("delay"), "ten years");
        wrong(r#"{"job":"a","timeout":-1}"#, Some("timeout"), "cannot be negative");
        wrong(r#"{"job":"a","at":"later"}"#, Some("at"), "\"at\": write 2026");
        wrong(r#"{"job":"a","at":1796029200}"#, Some("at"), "\"at\": write 2026");
        wrong(r#"{"job":"a","at":"2100-01-01"}"#, Some("at"), "ten years");
        wrong(r#"{"job":"a","at":"2026-01-01","delay":1}"#, Some("delay"), "exclude each other");
        wrong(r#"{"job":"a","max_attempts":0}"#, Some("max_attempts"), "at least 1");
        wrong(r#"{"job":"a","max_attempts":"3"}"#, Some("max_attempts"), "write a whole number");
        wrong(r#"{"job":"a","unique":""}"#, Some("unique"), "1 to 256");
        wrong(r#"{"job":"a","unique_until":"end"}"#, Some("unique_until"), "add \"unique\"");
        wrong(r#"{"job":"a","unique_for":9}"#, Some("unique_for"), "add \"unique\"");
        let both = r#"{"job":"a","unique":"k","unique_for":9,"unique_until":"start"}"#;
        wrong(both, Some("unique_until"), "exclude each other");
        wrong(r#"{"job":"a","unique":"k","unique_for":0}"#, Some("unique_for"), "is zero");
        wrong(r#"{"job":"a","unique":"k","unique_until":"now"}"#, Some("unique_until"), "\"start\" or");
        wrong(r#"{"job":"a","priority":1}"#, Some("priority"), "write \"high\"");
        wrong(r#"{"job":"a","expires":"soon"}"#, Some("expires"), "write seconds");
        wrong(r#"{"job":"a","retry_until":"2999-01-01"}"#, Some("retry_until"), "ten years");
        wrong(r#"{"job":"a","retry_until":"9999d"}"#, Some("retry_until"), "ten years");
        for over in [r#""2020-01-01""#, "0", r#""10m","delay":"1h""#, r#""2020-01-01","at":"2019-01-01""#] {
            wrong(
                &format!(r#"{{"job":"a","retry_until":{over}}}"#),
                Some("retry_until"),
                "before the job can start",
            );
        }
        wrong(r#"{"job":"a","expires":"9999d"}"#, Some("expires"), "ten years");
        wrong(r#"{"job":"a","expires":"2999-01-01"}"#, Some("expires"), "ten years");
        wrong(r#"{"job":"a","headers":{"a":1}}"#, Some("headers"), "an object of texts");
        let many: Vec<_> = (0..100_000).map(|n| format!("\"h{n}\":\"\"")).collect();
        let many = format!("{{\"job\":\"a\",\"headers\":{{{}}}}}", many.join(","));
        wrong(&many, Some("headers"), "at most");
        wrong(r#"{"job":"a","headers":{"A":"1"}}"#, Some("headers"), "the header name \"A\"");
        let deep = format!(r#"{{"job":"a","payload":{}{}}}"#, "[".repeat(129), "]".repeat(129));
        wrong(&deep, Some("payload"), "nested deeper");
    }
}
