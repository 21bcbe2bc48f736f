//! Parses a body into jobs, one at a time: the text of a body takes far less memory than its jobs.

use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::job::NewJob;
use crate::job_json::{self, JobJsonError, LONG_TEXT, PushDefaults};
use crate::queue::PushOptions;

/// Largest number of jobs in one request.
pub(super) const MAX_JOBS: usize = 10_000;

/// Shortest text of a job in an array.
const MIN_JOB_TEXT: usize = r#"{"job":"a"},"#.len();

/// The most jobs that a body of this length has.
pub(super) fn most_jobs(length: usize) -> usize {
    (length / MIN_JOB_TEXT + 1).min(MAX_JOBS)
}

/// The jobs of a body, as text.
#[derive(Debug)]
pub(super) struct ParsedBody<'a> {
    /// Whether the body is an array; then the response is one too.
    pub(super) is_array: bool,
    jobs: Vec<&'a str>,
}

/// The reason why a body has no valid jobs.
#[derive(Debug, Error)]
pub(super) enum ParseError {
    #[error(
        "the body is empty: send a job, as in {{\"job\": \"name\", \"payload\": {{}}}}, or an array of jobs"
    )]
    Empty,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not valid JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the body is nested deeper than any job: flatten it")]
    TooDeep,
    #[error("the array has more than {MAX_JOBS} jobs: send it in several requests")]
    TooMany,
    #[error("{0}")]
    Job(JobJsonError),
    #[error("job {index} of the array: {error}")]
    JobAt { index: usize, error: JobJsonError },
}

/// Finds the jobs of a body: one, or the items of an array.
pub(super) fn parse(body: &[u8]) -> Result<ParsedBody<'_>, ParseError> {
    let text = std::str::from_utf8(body).map_err(|_| ParseError::NotUtf8)?.trim();
    match text.as_bytes().first() {
        None => Err(ParseError::Empty),
        // The parser of an array keeps a byte for each level.
        Some(b'[') if text.len() > LONG_TEXT && job_json::is_too_deep(text, 1) => Err(ParseError::TooDeep),
        Some(b'[') => Ok(ParsedBody { is_array: true, jobs: array(text)? }),
        Some(_) => Ok(ParsedBody { is_array: false, jobs: vec![text] }),
    }
}

impl ParsedBody<'_> {
    /// The number of jobs.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Parses the job at `index`.
    pub(super) fn job(&self, index: usize) -> Result<NewJob, ParseError> {
        let options = PushOptions::new();
        let defaults = PushDefaults { job: None, options: &options };
        job_json::parse(self.jobs[index], &defaults).map_err(|error| match self.is_array {
            true => ParseError::JobAt { index, error },
            false => ParseError::Job(error),
        })
    }
}

fn array(text: &str) -> Result<Vec<&str>, ParseError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = reader.deserialize_seq(ArrayItems)?;
    reader.end()?;
    Ok(items.ok_or(ParseError::TooMany)?.into_iter().map(RawValue::get).collect())
}

/// Visits an array and keeps its items as text; `None` when there are more than [`MAX_JOBS`].
struct ArrayItems;

impl<'de> Visitor<'de> for ArrayItems {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX_JOBS {
            match items.next_element()? {
                Some(item) => kept.push(item),
                None => return Ok(Some(kept)),
            }
        }
        let mut more = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok((!more).then_some(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All jobs of a body.
    fn jobs(body: &[u8]) -> Result<(bool, Vec<NewJob>), ParseError> {
        let body = parse(body)?;
        Ok((body.is_array, (0..body.len()).map(|index| body.job(index)).collect::<Result<_, _>>()?))
    }

    fn error(body: &str) -> String {
        jobs(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn body_is_one_job_or_an_array_of_them() {
        let (is_array, one) = jobs(br#" {"job":"a"} "#).unwrap();
        assert_eq!((is_array, one.len()), (false, 1));
        let (is_array, many) = jobs(b"\n[{\"job\":\"a\"},\n {\"job\":\"b\",\"payload\":[1]}]").unwrap();
        let names: Vec<_> = many.iter().map(|job| job.meta.job.as_str()).collect();
        assert_eq!((is_array, names), (true, vec!["a", "b"]));
        assert_eq!(parse(b"[]").unwrap().len(), 0);
    }

    #[test]
    fn error_has_its_position() {
        assert!(error("").starts_with("the body is empty"));
        assert!(matches!(parse(b"\"\xff\""), Err(ParseError::NotUtf8)));
        assert!(error("7").starts_with("not an object"));
        assert!(error("{\"job\":\"a\"").starts_with("not valid JSON"));
        assert!(
            error("[{\"job\":\"a\"},{\"jop\":\"b\"}]")
                .starts_with("job 1 of the array: \"jop\" is no key of a job")
        );
        assert!(error("[{\"job\":\"a\"},[]]").starts_with("job 1 of the array: not an object"));
        assert!(error("[{\"job\":\"a\"}").starts_with("the body is not valid JSON"));
        assert!(error("[{\"job\":\"a\"}] x").starts_with("the body is not valid JSON"));
        let wrong = jobs(br#"[{"job":"a"},{"job":"a","delay":"x"}]"#).unwrap_err();
        assert!(matches!(wrong, ParseError::JobAt { index: 1, error } if error.key() == Some("delay")));
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(matches!(parse("[".repeat(LONG_TEXT + 1).as_bytes()), Err(ParseError::TooDeep)));
        let job = format!("{{\"job\":\"a\",\"payload\":{}{}}}", "[".repeat(128), "]".repeat(128));
        let space = " ".repeat(LONG_TEXT);
        assert_eq!(jobs(format!("[{job},{space}{job}]").as_bytes()).unwrap().1.len(), 2);
    }

    #[test]
    fn number_of_jobs_is_bounded() {
        let body = |count: usize| format!("[{}]", vec![r#"{"job":"a"}"#; count].join(","));
        assert_eq!(parse(body(MAX_JOBS).as_bytes()).unwrap().len(), MAX_JOBS);
        assert!([1, 2, 100].into_iter().all(|count| most_jobs(body(count).len()) >= count));
        assert!(matches!(parse(body(MAX_JOBS + 1).as_bytes()), Err(ParseError::TooMany)));
        let torn = format!("[{}", vec!["1"; MAX_JOBS + 5].join(","));
        assert!(matches!(parse(torn.as_bytes()), Err(ParseError::NotJson(_))));
    }

    proptest::proptest! {
        /// A damaged body gives jobs or an error, and never a panic.
        #[test]
        fn body_parser_never_panics(
            from in 0usize..260, length in 0usize..40, with in proptest::collection::vec(0u8.., 0..20), torn in 0usize..400
        ) {
            let mut body = br#"[{"job":"a\\b","payload":{"x":[1,2.5e3,null,"\u00e9"]},"delay":"1h30m","at":null},
                {"job":"c","at":"2026-11-30T09:00:00+01:00","max_attempts":7,"timeout":1.5,"unique":"k",
                 "unique_for":"2 days","priority":"low","expires":9,"headers":{"tenant":"7"}}]"#.to_vec();
            let start = from.min(body.len());
            body.splice(start..(start + length).min(body.len()), with);
            body.truncate(torn);
            if let Ok((_, jobs)) = jobs(&body) {
                proptest::prop_assert!(jobs.iter().all(|job| job.check().is_ok()));
            }
        }
    }
}
