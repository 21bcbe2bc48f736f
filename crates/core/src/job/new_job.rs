//! A job before it is stored, and the rules it must meet.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::record::{
    JobMeta, MAX_DELAY, MAX_HEADER_BYTES, MAX_HEADERS, MAX_UNIQUE_KEY_BYTES, UniqueUntil, is_job_name,
    truncated,
};
use super::{Payload, Timestamp};

/// A job before it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// The job's name and options; its counts are zero.
    pub meta: JobMeta,
    /// The data of the job, as JSON.
    pub payload: Payload,
    /// Earliest start.
    pub start: Start,
}

/// Earliest start of a pushed job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// As soon as a slot is free.
    #[default]
    Now,
    /// Not before this long after the push, by the store's clock.
    After(Duration),
    /// Not before this time, by the store's clock.
    At(Timestamp),
}

/// A broken rule of a push.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NewJobError {
    /// The name has other characters or another length than allowed.
    #[error("the job name \"{}\" is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . : @ / - \\; a part of a path is not empty, . or ..", .0.escape_debug())]
    Name(String),
    /// The unique key is empty or too long.
    #[error("the unique key has {0} bytes; 1 to {MAX_UNIQUE_KEY_BYTES} are allowed")]
    UniqueKey(usize),
    /// The delay is longer than [`MAX_DELAY`].
    #[error("the delay is longer than ten years")]
    Delay,
    /// `max_attempts` is zero.
    #[error("max_attempts must be at least 1")]
    Attempts,
    /// The hold time of a unique key is zero, too long, or without a key.
    #[error("the time for which a unique key is held {0}")]
    UniqueFor(&'static str),
    /// The job expires later than [`MAX_DELAY`] after its push.
    #[error("the expiry is more than ten years from now")]
    Expiry,
    /// The retry window ends later than [`MAX_DELAY`] after the push.
    #[error("the retry window ends more than ten years from now")]
    RetryWindow,
    /// The retry window has no room for a second attempt.
    #[error(
        "the retry window ends before the job can start: give a later time, or max_attempts = 1 for a job without retries"
    )]
    RetryWindowOver,
    /// A header breaks a rule.
    #[error("{0}")]
    Header(String),
}

impl NewJob {
    /// A job to run now, without options.
    #[must_use]
    pub fn new(job: impl Into<String>, payload: Payload) -> Self {
        Self { meta: JobMeta::named(job), payload, start: Start::Now }
    }

    /// Checks the times of a push at `now`, by a clock near that of the store: the store decides, this check finds clear
    /// violations earlier.
    ///
    /// # Errors
    /// The broken rule.
    pub fn check_times(&self, now: Timestamp) -> Result<(), NewJobError> {
        let latest = now.after(MAX_DELAY);
        let is_late = |time: Option<Timestamp>| time.is_some_and(|time| time > latest);
        match self.start {
            Start::At(time) if time > latest => Err(NewJobError::Delay),
            _ if is_late(self.meta.expires_at) => Err(NewJobError::Expiry),
            _ if is_late(self.meta.retry_until) => Err(NewJobError::RetryWindow),
            _ => self.check_retry_window(now),
        }
    }

    /// Checks that the retry window of a push at `now` ends after the earliest start of the job.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_retry_window(&self, now: Timestamp) -> Result<(), NewJobError> {
        let start = match self.start {
            Start::Now => now,
            Start::After(delay) => now.after(delay),
            Start::At(time) => time.max(now),
        };
        let relative = self.meta.retry_for_ms.map(|ms| now.after(Duration::from_millis(ms)));
        let end = relative.into_iter().chain(self.meta.retry_until).min();
        if end.is_some_and(|end| end <= start) { Err(NewJobError::RetryWindowOver) } else { Ok(()) }
    }

    /// Checks name and options; every way into the store calls this once.
    ///
    /// # Errors
    /// The broken rule.
    pub fn check(&self) -> Result<(), NewJobError> {
        if !is_job_name(&self.meta.job) {
            return Err(NewJobError::Name(truncated(&self.meta.job, 160).to_owned()));
        }
        if let Some(key) = &self.meta.unique
            && !(1..=MAX_UNIQUE_KEY_BYTES).contains(&key.len())
        {
            return Err(NewJobError::UniqueKey(key.len()));
        }
        if self.meta.max_attempts == Some(0) {
            return Err(NewJobError::Attempts);
        }
        check_unique_for(&self.meta)?;
        if self.meta.expires_in_ms.is_some_and(|ms| Duration::from_millis(ms) > MAX_DELAY) {
            return Err(NewJobError::Expiry);
        }
        if self.meta.retry_for_ms.is_some_and(|ms| Duration::from_millis(ms) > MAX_DELAY) {
            return Err(NewJobError::RetryWindow);
        }
        check_headers(&self.meta.headers)?;
        match self.start {
            Start::After(delay) if delay > MAX_DELAY => Err(NewJobError::Delay),
            _ => Ok(()),
        }
    }
}

fn check_unique_for(meta: &JobMeta) -> Result<(), NewJobError> {
    let Some(ms) = meta.unique_for_ms else { return Ok(()) };
    let wrong = match Duration::from_millis(ms) {
        _ if meta.unique.is_none() => "needs a unique key",
        _ if meta.unique_until != UniqueUntil::End => {
            "and \"until start\" exclude each other: keep one of the two"
        }
        Duration::ZERO => "is zero: leave it out, or make it at least a millisecond",
        time if time > MAX_DELAY => "is longer than ten years",
        _ => return Ok(()),
    };
    Err(NewJobError::UniqueFor(wrong))
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), NewJobError> {
    let wrong = |what: String| Err(NewJobError::Header(what));
    if headers.len() > MAX_HEADERS {
        return wrong(format!("the job has {} headers; at most {MAX_HEADERS} are allowed", headers.len()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES {
        return wrong(format!(
            "the headers have {bytes} bytes; at most {MAX_HEADER_BYTES} are allowed in all"
        ));
    }
    for (name, value) in headers {
        let shown = truncated(name, 80).escape_debug();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
            return wrong(format!(
                "the header name \"{shown}\" is not allowed: use 1 to 64 of the characters a-z 0-9 _ . -"
            ));
        }
        if value.chars().any(char::is_control) {
            return wrong(format!("the header \"{shown}\" has a control character in its value: encode it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_window_ends_after_the_start() {
        const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
        let second = Duration::from_secs(1);
        let job = |edit: &dyn Fn(&mut NewJob)| {
            let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
            edit(&mut job);
            job.check_times(NOW)
        };
        let over = Err(NewJobError::RetryWindowOver);
        assert_eq!(job(&|_| ()), Ok(()));
        assert_eq!(job(&|j| j.meta.retry_until = Some(NOW.after(second))), Ok(()));
        assert_eq!(job(&|j| j.meta.retry_until = Some(NOW)), over);
        assert_eq!(job(&|j| j.meta.retry_until = Some(Timestamp(1))), over);
        assert_eq!(job(&|j| j.meta.retry_for_ms = Some(0)), over);
        for start in [Start::After(60 * second), Start::At(NOW.after(60 * second))] {
            let window =
                |length: Duration| job(&|j| (j.start, j.meta.retry_until) = (start, Some(NOW.after(length))));
            assert_eq!((window(60 * second), window(61 * second)), (over.clone(), Ok(())), "{start:?}");
        }
        assert_eq!(job(&|j| j.start = Start::At(Timestamp(1))), Ok(()), "a past start means at once");
        let late = Some(NOW.after(MAX_DELAY + second));
        assert_eq!(job(&|j| j.meta.retry_until = late), Err(NewJobError::RetryWindow));
        assert_eq!(job(&|j| j.meta.expires_at = late), Err(NewJobError::Expiry));
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let job = |edit: fn(&mut NewJob)| {
            let mut job = NewJob::new("App\\Jobs\\Send:v1.0", Payload::parse("{}").unwrap());
            edit(&mut job);
            job.check()
        };
        assert_eq!(job(|_| ()), Ok(()));
        assert!(matches!(job(|j| j.meta.job = "a b".into()), Err(NewJobError::Name(_))));
        assert!(matches!(job(|j| j.meta.job = String::new()), Err(NewJobError::Name(_))));
        assert!(matches!(job(|j| j.meta.job = "x".repeat(129)), Err(NewJobError::Name(_))));
        assert_eq!(job(|j| j.meta.unique = Some("k".repeat(257))), Err(NewJobError::UniqueKey(257)));
        assert_eq!(job(|j| j.meta.max_attempts = Some(0)), Err(NewJobError::Attempts));
        let unique_for = |key: bool, until, ms| {
            let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
            job.meta.unique = key.then(|| "k".to_owned());
            (job.meta.unique_until, job.meta.unique_for_ms) = (until, Some(ms));
            job.check()
        };
        assert_eq!(unique_for(true, UniqueUntil::End, 1), Ok(()));
        assert!(matches!(unique_for(false, UniqueUntil::End, 1), Err(NewJobError::UniqueFor(_))));
        assert!(matches!(unique_for(true, UniqueUntil::Start, 1), Err(NewJobError::UniqueFor(_))));
        assert!(matches!(unique_for(true, UniqueUntil::End, 0), Err(NewJobError::UniqueFor(_))));
        assert!(matches!(unique_for(true, UniqueUntil::End, u64::MAX), Err(NewJobError::UniqueFor(_))));
        assert_eq!(job(|j| j.meta.expires_in_ms = Some(u64::MAX)), Err(NewJobError::Expiry));
        assert_eq!(job(|j| j.meta.retry_for_ms = Some(u64::MAX)), Err(NewJobError::RetryWindow));
        let header = |name: &str, value: &str| {
            let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
            job.meta.headers.insert(name.to_owned(), value.to_owned());
            job.check()
        };
        assert_eq!(header("traceparent", "00-é"), Ok(()));
        for (name, value) in [("", ""), ("Upper", ""), ("a b", ""), ("a", "x\ny"), ("a", &*"v".repeat(9_000))]
        {
            assert!(matches!(header(name, value), Err(NewJobError::Header(_))), "{name}");
        }
        let too_long = |j: &mut NewJob| j.start = Start::After(MAX_DELAY + Duration::from_secs(1));
        assert_eq!(job(too_long), Err(NewJobError::Delay));
    }
}
