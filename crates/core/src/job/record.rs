//! What the store keeps of a job, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobId, Payload, Timestamp};

/// How many of a job's last errors are kept.
pub const MAX_ERRORS: usize = 10;
/// Longest kept text of one error, in bytes.
pub const MAX_ERROR_BYTES: usize = 4096;
/// Longest unique key, in bytes.
pub const MAX_UNIQUE_KEY_BYTES: usize = 256;
/// Longest delay of a job: ten years.
pub const MAX_DELAY: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Most headers of a job.
pub const MAX_HEADERS: usize = 64;
/// Most bytes of all names and values of a job's headers together: 8 KiB.
pub const MAX_HEADER_BYTES: usize = 8 << 10;
/// A job whose worker crashed this often while it ran alone, or whose master was lost this often, ends in `failed`.
pub const MAX_CRASHES: u32 = 3;

/// A job as the store holds it: what to run, and what happened so far.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// The job's number, made by the store at push.
    pub id: JobId,
    /// Everything but the payload.
    pub meta: JobMeta,
    /// The data of the job, as pushed.
    pub payload: Payload,
}

/// Everything the store keeps of a job besides its payload.
///
/// The producer writes the options, the channel writes the counts and errors when it settles a run,
/// and the store itself only raises `lost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobMeta {
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
    /// At most one job with this key is in the channel, for as long as `unique_until` and `unique_for_ms` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<String>,
    /// When the unique key is free again.
    #[serde(default, skip_serializing_if = "UniqueUntil::is_end")]
    pub unique_until: UniqueUntil,
    /// The unique key is held for this long after the push instead, whatever becomes of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_for_ms: Option<u64>,
    /// Which waiting jobs it goes before.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Not to be started later than this many milliseconds after its push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Not to be started after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What the producer sends along for whoever handles the job: a tenant, a trace context. Names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The last [`MAX_ERRORS`] errors, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<AttemptError>,
    /// Why the job has failed for good although it is not in `failed` yet: its handler has a failed callback, and it is
    /// handed to a worker once more for that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailReason>,
    /// Why the job is in `failed`; absent in every other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailReason>,
}

/// Which of a channel's waiting jobs come first: all high ones before normal ones, all normal ones before low ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    High,
    /// What a job has that says nothing.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// All, in the order in which they are leased.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The priority's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// When a unique key is free again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueUntil {
    /// When the job has ended: done, failed, removed or cleared.
    #[default]
    End,
    /// When a worker has the job for the first time: a push made while it runs adds another.
    Start,
}

impl UniqueUntil {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_end(&self) -> bool {
        *self == Self::End
    }
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
    /// The job was not started in time.
    Expired,
    /// The job's failed callback did not end well.
    Callback,
    /// Somebody cancelled the job.
    Cancelled,
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
    /// The job could not be started before its expiry.
    Expired,
    /// Somebody cancelled the job.
    Cancelled,
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
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl JobMeta {
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
        let message = truncated(message, MAX_ERROR_BYTES).to_owned();
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
            self.failed = Some(self.failing.take().unwrap_or(FailReason::Lost));
        }
        self
    }

    /// The text of the job's last error; empty when there was none. What went wrong in its failed callback is no error of
    /// the job.
    #[must_use]
    pub fn last_error(&self) -> &str {
        let own = self.errors.iter().rev().find(|error| error.kind != ErrorKind::Callback);
        own.map_or("", |error| error.message.as_str())
    }

    /// After which time the job must not be started; `id` tells when it was pushed.
    #[must_use]
    pub fn expiry(&self, id: JobId) -> Option<Timestamp> {
        let relative = self.expires_in_ms.map(|ms| id.pushed_at().after(Duration::from_millis(ms)));
        relative.into_iter().chain(self.expires_at).min()
    }

    /// Meta of a failed job that is tried again from the beginning; its errors stay readable. Whoever asks for that
    /// wants it to run: its expiry does not count any more.
    #[must_use]
    pub fn reloaded(mut self) -> Self {
        (self.attempts, self.crashes, self.lost) = (0, 0, 0);
        (self.suspect, self.failing, self.failed) = (false, None, None);
        (self.expires_in_ms, self.expires_at) = (None, None);
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

/// Whether `name` is a job name: 1 to 128 of `A-Z a-z 0-9 _ . : -` and `\` for PHP class names.
#[must_use]
pub const fn is_job_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    // A loop by hand, so that a job type's name is checked when it is compiled.
    while at < bytes.len() {
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b'.' | b':' | b'-' | b'\\')) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= 128
}

/// The longest prefix of `text` that has at most `max` bytes and ends between characters.
#[must_use]
pub fn truncated(text: &str, max: usize) -> &str {
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
    fn default_meta_serializes_to_its_name() {
        let text = serde_json::to_string(&JobMeta::named("noop")).unwrap();
        assert_eq!(text, r#"{"job":"noop"}"#);
        assert_eq!(serde_json::from_str::<JobMeta>(&text).unwrap(), JobMeta::named("noop"));
    }

    #[test]
    fn only_the_last_errors_are_kept_and_each_is_bounded() {
        let mut meta = JobMeta::named("x");
        for attempt in 1..=25 {
            meta.record_error(attempt, Timestamp(1), ErrorKind::Error, &"é".repeat(MAX_ERROR_BYTES));
        }
        assert_eq!(meta.errors.len(), MAX_ERRORS);
        assert_eq!(meta.errors[0].attempt, 16);
        assert!(meta.errors.iter().all(|e| e.message.len() <= MAX_ERROR_BYTES));
    }

    #[test]
    fn third_lost_master_fails_the_job() {
        let meta = JobMeta::named("x").after_lost(Timestamp(1)).after_lost(Timestamp(2));
        assert_eq!((meta.lost, meta.failed), (2, None));
        let meta = meta.after_lost(Timestamp(3));
        assert_eq!((meta.lost, meta.attempts, meta.failed), (3, 0, Some(FailReason::Lost)));
        assert_eq!(meta.reloaded().lost, 0);
    }

    #[test]
    fn earlier_expiry_limit_applies_until_reload() {
        let id = JobId(1_000_000);
        let meta = |ms, at: Option<u64>| JobMeta {
            expires_in_ms: ms,
            expires_at: at.map(Timestamp),
            ..JobMeta::named("x")
        };
        assert_eq!(meta(None, None).expiry(id), None);
        assert_eq!(meta(Some(5), None).expiry(id), Some(Timestamp(1_005_000)));
        assert_eq!(meta(Some(5), Some(7)).expiry(id), Some(Timestamp(7)));
        assert_eq!(meta(Some(5), Some(7)).reloaded().expiry(id), None);
    }
}
