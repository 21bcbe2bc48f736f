//! The lines of a bulk push: one JSON object each, of bounded length.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::push::check;
use super::time;
use crate::job::{MAX_PAYLOAD_BYTES, NewJob, NewJobError, Payload, PayloadError};
use crate::queue::PushOptions;

/// Longest line: the largest payload and generous room for the options beside it.
const MAX_LINE: usize = MAX_PAYLOAD_BYTES + (64 << 10);

/// Lines of bounded length, numbered from 1.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    pub(super) number: u64,
    /// Whether a reader may have to wait for the next line.
    live: bool,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn Read>, live: bool) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, reader), line: Vec::new(), number: 0, live }
    }

    /// Reads on to the next line that is not blank. `None` at the end.
    pub(super) fn next(&mut self) -> Option<Result<&str, LineError>> {
        loop {
            self.line.clear();
            let limit = MAX_LINE as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line);
            self.number += 1;
            match read {
                Err(error) => return Some(Err(LineError::Read(error))),
                Ok(0) => return None,
                Ok(_) if self.line.len() > MAX_LINE => return Some(Err(LineError::TooLong)),
                Ok(_) if self.line.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }
        Some(std::str::from_utf8(&self.line).map_err(|_| LineError::NotUtf8))
    }

    /// Whether the next line would have to be waited for: what was read should be pushed first.
    pub(super) fn would_wait(&self) -> bool {
        self.live && !self.reader.buffer().contains(&b'\n')
    }
}

/// Why a line is no job.
#[derive(Debug, Error)]
pub(super) enum LineError {
    #[error("the line cannot be read")]
    Read(#[source] io::Error),
    #[error("the line is longer than {MAX_LINE} bytes: a payload has at most 1 MiB")]
    TooLong,
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("not an object with job, payload and options: {0}")]
    NotAnObject(String),
    #[error("the line has no job: add \"job\": \"name\", or name the job before --file")]
    NoJob,
    #[error("\"{0}\": {1}")]
    Option(&'static str, String),
    #[error("\"delay\" and \"at\" exclude each other: keep one of the two")]
    DelayAndAt,
    #[error(transparent)]
    Payload(PayloadError),
    #[error(transparent)]
    Rule(NewJobError),
}

/// What holds for lines that say nothing else.
pub(super) struct Defaults<'a> {
    pub(super) job: Option<&'a str>,
    pub(super) options: &'a PushOptions,
}

/// One line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default)]
    job: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    delay: Option<Length>,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    max_attempts: Option<u32>,
    #[serde(default)]
    timeout: Option<Length>,
    #[serde(default)]
    unique: Option<String>,
}

/// Seconds, or a text with units.
#[derive(Deserialize)]
#[serde(untagged)]
enum Length {
    Seconds(f64),
    Text(String),
}

impl Length {
    fn duration(self, option: &'static str) -> Result<Duration, LineError> {
        let parsed = match self {
            Self::Seconds(seconds) => time::duration_from_seconds(seconds),
            Self::Text(text) => time::parse_duration(&text),
        };
        parsed.map_err(|why| LineError::Option(option, why))
    }
}

/// The job a line means.
pub(super) fn parse(line: &str, defaults: &Defaults<'_>) -> Result<NewJob, LineError> {
    let not_an_object = |error: serde_json::Error| {
        // The place within the line is of use, "line 1" is not.
        LineError::NotAnObject(error.to_string().replace(" at line 1 column ", " at column "))
    };
    let line: Line<'_> = serde_json::from_str(line.trim()).map_err(not_an_object)?;
    let name = line.job.as_deref().or(defaults.job).ok_or(LineError::NoJob)?;
    let payload = Payload::parse(line.payload.map_or("{}", RawValue::get)).map_err(LineError::Payload)?;
    let mut options = defaults.options.clone();
    match (line.delay, line.at) {
        (Some(_), Some(_)) => return Err(LineError::DelayAndAt),
        (Some(delay), None) => options = options.delay(delay.duration("delay")?),
        (None, Some(at)) => {
            options = options.at(time::parse_time(&at).map_err(|why| LineError::Option("at", why))?);
        }
        (None, None) => {}
    }
    if let Some(attempts) = line.max_attempts {
        options = options.max_attempts(attempts);
    }
    if let Some(timeout) = line.timeout {
        options = options.timeout(timeout.duration("timeout")?);
    }
    if let Some(key) = line.unique {
        options = options.unique(key);
    }
    let job = options.job(name, payload);
    check(&job).map_err(LineError::Rule)?;
    Ok(job)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::job::{Start, Timestamp};

    fn parsed(line: &str, job: Option<&str>) -> Result<NewJob, String> {
        let options = PushOptions::new().max_attempts(9);
        parse(line, &Defaults { job, options: &options }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_may_say_everything_a_push_can() {
        let line =
            r#"{"job":"a","payload":{"x": 1},"delay":"5m","max_attempts":2,"timeout":1.5,"unique":"k"}"#;
        let job = parsed(line, Some("other")).unwrap();
        assert_eq!((job.meta.job.as_str(), job.payload.as_str()), ("a", r#"{"x": 1}"#));
        assert_eq!(job.start, Start::After(Duration::from_secs(300)));
        assert_eq!((job.meta.max_attempts, job.meta.timeout_ms), (Some(2), Some(1500)));
        assert_eq!(job.meta.unique.as_deref(), Some("k"));

        let job = parsed(r#"{"at":"1970-01-01T00:00:01Z"}"#, Some("other")).unwrap();
        assert_eq!((job.meta.job.as_str(), job.payload.as_str()), ("other", "{}"));
        assert_eq!((job.start, job.meta.max_attempts), (Start::At(Timestamp(1_000_000)), Some(9)));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        let wrong = |line: &str| parsed(line, None).unwrap_err();
        assert!(wrong("nonsense").starts_with("not an object"));
        assert!(wrong("[1]").starts_with("not an object"));
        assert!(wrong(r#"{"job":"a","prio":1}"#).contains("unknown field `prio`"));
        assert!(wrong(r#"{"job":"a","payload":{"x":}}"#).contains("at column"));
        assert!(wrong(r#"{"payload":1}"#).contains("has no job"));
        assert!(wrong(r#"{"job":"a b"}"#).contains("is not allowed"));
        assert!(wrong(r#"{"job":"a","delay":"soon"}"#).starts_with("\"delay\": write seconds"));
        assert!(wrong(r#"{"job":"a","timeout":-1}"#).contains("cannot be negative"));
        assert!(wrong(r#"{"job":"a","at":"later"}"#).starts_with("\"at\": write 2026"));
        assert!(wrong(r#"{"job":"a","at":"2026-01-01","delay":1}"#).contains("exclude each other"));
        assert!(wrong(r#"{"job":"a","max_attempts":0}"#).contains("at least 1"));
        let deep = format!(r#"{{"job":"a","payload":{}{}}}"#, "[".repeat(129), "]".repeat(129));
        assert!(wrong(&deep).contains("nested deeper"));
    }

    #[test]
    fn blank_lines_are_passed_over_and_long_ones_refused() {
        let text = format!("\n  \r\n{{}}\n{}\n", "x".repeat(MAX_LINE + 1));
        let mut lines = Lines::new(Box::new(Cursor::new(text)), false);
        assert_eq!(lines.next().unwrap().unwrap().trim(), "{}");
        assert_eq!(lines.number, 3);
        assert!(matches!(lines.next(), Some(Err(LineError::TooLong))));
        assert_eq!(lines.number, 4);
    }

    #[test]
    fn the_last_line_needs_no_line_break() {
        let mut lines = Lines::new(Box::new(Cursor::new("a\nb")), false);
        assert_eq!(lines.next().unwrap().unwrap(), "a\n");
        assert_eq!(lines.next().unwrap().unwrap(), "b");
        assert!(lines.next().is_none());
    }
}
