//! What the store keeps of a job, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{JobId, Payload, Timestamp};

/// How many of a job's last errors are kept.
pub const MAX_ERRORS: usize = 10;
/// Longest kept text of one error, in bytes.
pub const MAX_ERROR_BYTES: usize = 4096;
/// Longest unique key, in bytes.
pub const MAX_UNIQUE_KEY_BYTES: usize = 256;
/// Longest delay of a job: ten years.
pub const MAX_DELAY: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// A job whose worker crashed this often while it ran alone, or whose master was lost this often, ends in `failed`.
pub const MAX_CRASHES: u32 = 3;

/// A job as the store holds it: what to run, and what happened so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The job's number, made by the store at push.
    pub id: JobId,
    /// Everything but the payload.
    pub meta: Meta,
    /// The data of the job, as pushed.
    pub payload: Payload,
}

/// Everything the store keeps of a job besides its payload.
///
/// The producer writes the options, the channel writes the counts and errors when it settles a run,
/// and the store itself only raises `lost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The job's name: which handler runs it.
    pub job: String,
    /// Counted attempts that have ended: errors, time-outs, and crashes of a worker that had this job alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Crashes of a worker that had this job alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crashes: u32,
    /// How often the master that held the job was lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// Was aboard when a worker with several jobs crashed, so it runs alone until it ends.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspect: bool,
    /// Attempts allowed; the channel's `max_attempts` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Longest run in milliseconds, 0 for none; the channel's `max_execute_seconds` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// At most one job with this key is in the channel until it is done, failed, removed or cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<String>,
    /// The last [`MAX_ERRORS`] errors, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<AttemptError>,
    /// Why the job is in `failed`; absent in every other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailReason>,
}

/// One ending that was not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// The attempt it happened in, 1-based.
    pub attempt: u32,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// What kind of ending it was.
    pub kind: ErrorKind,
    /// The message, cut at [`MAX_ERROR_BYTES`].
    pub message: String,
}

/// What kind of ending an [`AttemptError`] tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The handler returned an error.
    Error,
    /// The job ran longer than allowed.
    Timeout,
    /// The worker died while it ran this job alone.
    Crash,
    /// The master that held the job was lost.
    Lost,
    /// The record could not be understood.
    Malformed,
}

/// Why a job ended in `failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// Every allowed attempt ended in an error, the last one in the handler's.
    Exhausted,
    /// The handler said that trying again is pointless.
    Final,
    /// Every allowed attempt was used; the last one ran too long.
    Timeout,
    /// Every allowed attempt was used; the last one crashed its worker.
    Crashed,
    /// The job killed its worker [`MAX_CRASHES`] times while it ran alone.
    Poison,
    /// The master that held the job was lost [`MAX_CRASHES`] times.
    Lost,
    /// No handler has this job's name.
    UnknownJob,
    /// The stored record could not be understood; its payload is the record as found.
    Malformed,
}

impl FailReason {
    /// The reason as it appears in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Final => "final",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::Poison => "poison",
            Self::Lost => "lost",
            Self::UnknownJob => "unknown_job",
            Self::Malformed => "malformed",
        }
    }
}

impl Meta {
    /// Meta of a fresh job without options.
    #[must_use]
    pub fn named(job: impl Into<String>) -> Self {
        Self { job: job.into(), ..Self::default() }
    }

    /// Appends an error of the current attempt, dropping the oldest beyond [`MAX_ERRORS`].
    pub fn record_error(&mut self, attempt: u32, at: Timestamp, kind: ErrorKind, message: &str) {
        if self.errors.len() >= MAX_ERRORS {
            self.errors.drain(..=self.errors.len() - MAX_ERRORS);
        }
        let message = bounded(message, MAX_ERROR_BYTES).to_owned();
        self.errors.push(AttemptError { attempt, at, kind, message });
    }

    /// Meta after the master that held the job was lost: raises `lost`, and at [`MAX_CRASHES`] fails the job.
    ///
    /// The rule stands here, beside the data, because every driver's reaper applies it.
    #[must_use]
    pub fn after_lost(mut self, at: Timestamp) -> Self {
        self.lost = self.lost.saturating_add(1);
        if self.lost >= MAX_CRASHES {
            let message = format!("the master that held this job was lost {} times", self.lost);
            self.record_error(self.attempts.saturating_add(1), at, ErrorKind::Lost, &message);
            self.failed = Some(FailReason::Lost);
        }
        self
    }

    /// Meta of a failed job that is tried again from the beginning; its errors stay readable.
    #[must_use]
    pub fn reloaded(mut self) -> Self {
        (self.attempts, self.crashes, self.lost) = (0, 0, 0);
        (self.suspect, self.failed) = (false, None);
        self
    }

    /// Meta for a stored record that could not be understood.
    #[must_use]
    pub fn malformed(at: Timestamp, why: &str) -> Self {
        let mut meta = Self::named("?");
        meta.record_error(1, at, ErrorKind::Malformed, why);
        meta.failed = Some(FailReason::Malformed);
        meta
    }
}

/// A job on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// The job's name and options; its counts are zero.
    pub meta: Meta,
    /// The data of the job.
    pub payload: Payload,
    /// When it may run.
    pub start: Start,
}

/// When a pushed job may run.
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

/// Why a job cannot be pushed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NewJobError {
    /// The name breaks the rule for job names.
    #[error("the job name \"{}\" is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . : - \\", .0.escape_debug())]
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
}

impl NewJob {
    /// A job to run now, without options.
    #[must_use]
    pub fn new(job: impl Into<String>, payload: Payload) -> Self {
        Self { meta: Meta::named(job), payload, start: Start::Now }
    }

    /// Checks name and options; every way into the store calls this once.
    ///
    /// # Errors
    /// Names the rule that is broken.
    pub fn check(&self) -> Result<(), NewJobError> {
        if !is_job_name(&self.meta.job) {
            return Err(NewJobError::Name(bounded(&self.meta.job, 160).to_owned()));
        }
        if let Some(key) = &self.meta.unique
            && !(1..=MAX_UNIQUE_KEY_BYTES).contains(&key.len())
        {
            return Err(NewJobError::UniqueKey(key.len()));
        }
        if self.meta.max_attempts == Some(0) {
            return Err(NewJobError::Attempts);
        }
        match self.start {
            Start::After(delay) if delay > MAX_DELAY => Err(NewJobError::Delay),
            _ => Ok(()),
        }
    }
}

/// Whether `name` is a job name: 1 to 128 of `A-Z a-z 0-9 _ . : -` and `\` for PHP class names.
#[must_use]
pub fn is_job_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:-\\".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

/// The longest prefix of `text` that has at most `max` bytes and ends between characters.
#[must_use]
pub fn bounded(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(b: &bool) -> bool {
    !*b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_meta_serialises_to_its_name_only() {
        let text = serde_json::to_string(&Meta::named("noop")).unwrap();
        assert_eq!(text, r#"{"job":"noop"}"#);
        assert_eq!(serde_json::from_str::<Meta>(&text).unwrap(), Meta::named("noop"));
    }

    #[test]
    fn only_the_last_errors_are_kept_and_each_is_bounded() {
        let mut meta = Meta::named("x");
        for attempt in 1..=25 {
            meta.record_error(attempt, Timestamp(1), ErrorKind::Error, &"é".repeat(MAX_ERROR_BYTES));
        }
        assert_eq!(meta.errors.len(), MAX_ERRORS);
        assert_eq!(meta.errors[0].attempt, 16);
        assert!(meta.errors.iter().all(|e| e.message.len() <= MAX_ERROR_BYTES));
    }

    #[test]
    fn the_third_lost_master_fails_the_job() {
        let meta = Meta::named("x").after_lost(Timestamp(1)).after_lost(Timestamp(2));
        assert_eq!((meta.lost, meta.failed), (2, None));
        let meta = meta.after_lost(Timestamp(3));
        assert_eq!((meta.lost, meta.attempts, meta.failed), (3, 0, Some(FailReason::Lost)));
        assert_eq!(meta.reloaded().lost, 0);
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
        let too_long = |j: &mut NewJob| j.start = Start::After(MAX_DELAY + Duration::from_secs(1));
        assert_eq!(job(too_long), Err(NewJobError::Delay));
    }
}
