//! The stored form of a job, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobId, Payload, Timestamp};

/// Number of errors kept per job.
pub const MAX_ERRORS: usize = 10;
/// Longest kept error text, in bytes.
pub const MAX_ERROR_BYTES: usize = 4096;
/// Longest unique key, in bytes.
pub const MAX_UNIQUE_KEY_BYTES: usize = 256;
/// Longest delay of a job: ten years.
pub const MAX_DELAY: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// Most headers of a job.
pub const MAX_HEADERS: usize = 64;
/// Most bytes of all names and values of a job's headers together: 8 KiB.
pub const MAX_HEADER_BYTES: usize = 8 << 10;
/// A job whose worker crashed this often while it ran alone, or whose master or guardian was lost this often, ends in `failed`.
pub const MAX_CRASHES: u32 = 3;

/// A job as stored: its data, its options, its history.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// The id, assigned by the store at push.
    pub id: JobId,
    /// Everything but the payload.
    pub meta: JobMeta,
    /// The data of the job, as pushed.
    pub payload: Payload,
}

/// The stored data of a job besides its payload.
///
/// The producer writes the options, the channel writes counts and errors when it settles a run, and the store raises
/// `lost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobMeta {
    /// The job's name, which selects the handler.
    pub job: String,
    /// Counted attempts that have ended: errors, time-outs, and crashes of a worker that ran only this job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// Crashes of a worker that ran only this job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crashes: u32,
    /// Number of masters lost while they held the job, and of guardians that died while it ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost: u32,
    /// A worker crashed while it ran this and other jobs: the job runs alone until it ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspect: bool,
    /// Attempts allowed; the channel's `max_attempts` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Retry window in milliseconds after the push, in place of the channel's `max_attempts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for_ms: Option<u64>,
    /// End of the retry window as a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_until: Option<Timestamp>,
    /// Longest run in milliseconds, 0 for none; the channel's `max_execute_seconds` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Unique key, held for as long as `unique_until` and `unique_for_ms` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<String>,
    /// End of the hold on the unique key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unique_until: UniqueUntil,
    /// Hold the unique key for this long after the push instead, even if the job ends earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_for_ms: Option<u64>,
    /// Priority among the waiting jobs of the channel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// Time of the push, written by the store if the id differs from it by more than a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// Delay of the start in milliseconds after the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Time at which the job became or becomes ready, where it differs from its push and delay: the start that the push asked for,
    /// or that of a retry or release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// Expiry in milliseconds after the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// Expiry as a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Metadata of the producer for the handler: a tenant, a trace context. Names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The last [`MAX_ERRORS`] errors, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<AttemptError>,
    /// Reason of a permanent failure whose failed callback is still to run: the job is delivered once more for the callback
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailReason>,
    /// Reason of the permanent failure; absent in every state but `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailReason>,
}

/// Priority of a job: waiting jobs are leased high before normal before low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// All priorities, in leasing order.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name of the priority.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// The company in which a job may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Any other jobs.
    #[default]
    None,
    /// No other job in its worker: it may have crashed a worker.
    Worker,
    /// No other job in its worker, and no other such job of the master: it may have killed a guardian or master, and with
    /// it everything that ran.
    Master,
}

/// End of the hold on a unique key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueUntil {
    /// The end of the job: done, failed, removed or cleared.
    #[default]
    End,
    /// The first delivery to a worker: a push made during the run adds another job.
    Start,
}

/// An unsuccessful end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// Number of the attempt, 1-based.
    pub attempt: u32,
    /// Time by the store's clock.
    pub at: Timestamp,
    /// Kind of the end.
    pub kind: ErrorKind,
    /// The message, truncated to [`MAX_ERROR_BYTES`].
    pub message: String,
    /// The circumstances of the process; absent when it did not end and was not asked to, and in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessEnd>,
}

/// The process of an unsuccessful run: how it ended, and what came before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// The exit status; absent when a signal ended the process, or when the process lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The name of the signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Whether the process dumped core.
    #[serde(default, skip_serializing_if = "is_default")]
    pub core: bool,
    /// The most resident bytes of the process in the samples taken while the job ran; absent when it ran too short for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_peak: Option<u64>,
    /// The bytes above which the process would have been killed; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Time at which the run was asked to end, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// Time at which the process was killed, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<Timestamp>,
    /// Number of other runs in the process at that time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub others: u32,
}

/// Kind of an unsuccessful end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The handler returned an error.
    Error,
    /// The job ran longer than allowed.
    Timeout,
    /// The worker died while it ran this job alone.
    Crash,
    /// The master that held the job, or the guardian of its worker, was lost.
    Lost,
    /// The stored record could not be parsed.
    Malformed,
    /// The job was not started in time.
    Expired,
    /// The job's failed callback did not succeed.
    Callback,
    /// A user cancelled the job.
    Cancelled,
}

impl ErrorKind {
    /// The word of the kind, as in its JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Lost => "lost",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::Callback => "callback",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Reason of a permanent failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// All attempts are used; the last one ended in an error of the handler.
    Exhausted,
    /// The handler ruled out another attempt.
    Final,
    /// All attempts are used; the last one exceeded its time limit.
    Timeout,
    /// All attempts are used; the last one crashed its worker.
    Crashed,
    /// The job crashed its worker [`MAX_CRASHES`] times while it ran alone.
    Poison,
    /// Masters that held the job, or guardians of its worker, were lost [`MAX_CRASHES`] times.
    Lost,
    /// No handler is registered for the job's name.
    UnknownJob,
    /// The stored record could not be parsed; the payload is the record as found.
    Malformed,
    /// The job was not started before its expiry.
    Expired,
    /// A user cancelled the job.
    Cancelled,
}

impl FailReason {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::Exhausted,
        Self::Final,
        Self::Timeout,
        Self::Crashed,
        Self::Poison,
        Self::Lost,
        Self::UnknownJob,
        Self::Malformed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The name of the reason in JSON and tables.
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
    /// Meta of a new job without options.
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
        self.errors.push(AttemptError { attempt, at, kind, message, process: None });
    }

    /// Adds the circumstances of the process to the error that was recorded at `at`, if there is one.
    pub fn describe_process(&mut self, at: Timestamp, process: ProcessEnd) {
        if let Some(last) = self.errors.last_mut().filter(|last| last.at == at && last.process.is_none()) {
            last.process = Some(process);
        }
    }

    /// Meta after the master that held the job, or the guardian of its worker, was lost: raises `lost`, and fails the job at
    /// [`MAX_CRASHES`].
    ///
    /// The rule is here, beside the data, because the reaper of every driver applies it.
    #[must_use]
    pub fn after_lost(mut self, at: Timestamp) -> Self {
        self.lost = self.lost.saturating_add(1);
        if self.lost >= MAX_CRASHES {
            let message = format!(
                "the master of this job or the guardian of its worker was lost {} times while the job ran: look for a job that kills or stops its parent process",
                self.lost
            );
            self.record_error(self.attempts.saturating_add(1), at, ErrorKind::Lost, &message);
            self.failed = Some(self.failing.take().unwrap_or(FailReason::Lost));
        }
        self
    }

    /// The company in which the job may run.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        match (self.lost, self.suspect) {
            // The next loss fails the job.
            (lost, _) if lost.saturating_add(1) >= MAX_CRASHES => Isolation::Master,
            (_, true) => Isolation::Worker,
            (_, false) => Isolation::None,
        }
    }

    /// The text of the job's last error; empty without one. Errors of its failed callback do not count.
    #[must_use]
    pub fn last_error(&self) -> &str {
        let own = self.errors.iter().rev().find(|error| error.kind != ErrorKind::Callback);
        own.map_or("", |error| error.message.as_str())
    }

    /// Time of the push of the job with this id, by the store's clock; exact to a second.
    #[must_use]
    pub fn pushed_at(&self, id: JobId) -> Timestamp {
        self.pushed_at.unwrap_or(id.pushed_at())
    }

    /// Time from which the job waits for a worker; `id` supplies the time of the push.
    #[must_use]
    pub fn ready_at(&self, id: JobId) -> Timestamp {
        let delay = Duration::from_millis(self.delay_ms.unwrap_or(0));
        self.ready_at.unwrap_or_else(|| self.pushed_at(id).after(delay))
    }

    /// Latest start of the job; `id` supplies the time of the push.
    #[must_use]
    pub fn expiry(&self, id: JobId) -> Option<Timestamp> {
        let relative = self.expires_in_ms.map(|ms| self.pushed_at(id).after(Duration::from_millis(ms)));
        relative.into_iter().chain(self.expires_at).min()
    }

    /// End of the retry window: no attempt begins later. `None` for a job without one. `id` supplies the time of the push.
    #[must_use]
    pub fn retry_end(&self, id: JobId) -> Option<Timestamp> {
        let relative = self.retry_for_ms.map(|ms| self.pushed_at(id).after(Duration::from_millis(ms)));
        relative.into_iter().chain(self.retry_until).min()
    }

    /// Whether a time limits the retries of the job, in place of the number of attempts of its type or channel.
    #[must_use]
    pub fn has_retry_window(&self) -> bool {
        self.retry_for_ms.is_some() || self.retry_until.is_some()
    }

    /// Meta of a failed job that a user retries from the beginning. Its errors stay readable; its expiry and its retry window
    /// are dropped, because the user wants it to run now.
    #[must_use]
    pub fn reloaded(mut self) -> Self {
        (self.attempts, self.crashes, self.lost) = (0, 0, 0);
        (self.suspect, self.failing, self.failed) = (false, None, None);
        (self.expires_in_ms, self.expires_at) = (None, None);
        (self.retry_for_ms, self.retry_until) = (None, None);
        self
    }

    /// Meta of a stored record that could not be parsed.
    #[must_use]
    pub fn malformed(at: Timestamp, why: &str) -> Self {
        let mut meta = Self::named("?");
        meta.record_error(1, at, ErrorKind::Malformed, why);
        meta.failed = Some(FailReason::Malformed);
        meta
    }
}

/// Whether `name` is a job name: 1 to 128 of `A-Z a-z 0-9 _ . : @ / -` and `\`, so that class names of PHP with a method
/// (`app\job\Mail@send`) and paths (`module/Job`) are names.
///
/// Neither the name nor a part of a path is empty, `.` or `..`: a program that makes a file name of the name stays in its folder.
#[must_use]
pub const fn is_job_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (mut at, mut part, mut has_bad_part) = (0, 0, false);
    // A hand-written loop, because a `const fn` checks the names of job types at compile time.
    while at <= bytes.len() {
        if at == bytes.len() || bytes[at] == b'/' {
            let length = at - part;
            has_bad_part |= length == 0
                || (bytes[part] == b'.' && (length == 1 || (length == 2 && bytes[part + 1] == b'.')));
            part = at + 1;
        } else if !(bytes[at].is_ascii_alphanumeric()
            || matches!(bytes[at], b'_' | b'.' | b':' | b'@' | b'-' | b'\\'))
        {
            return false;
        }
        at += 1;
    }
    bytes.len() <= 128 && !has_bad_part
}

/// The longest prefix of `text` with at most `max` bytes that ends on a character boundary.
#[must_use]
pub fn truncated(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    fn names_of_php_classes_and_paths_are_job_names() {
        for name in ["noop", "app\\lib\\job\\Job2@task1", "module/Job1", "a/b/c.d", "a/..b", "...", "x@y/z:1"]
        {
            assert!(is_job_name(name), "{name}");
        }
        let long = "a/".repeat(64) + "a";
        for name in
            ["", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "../a", "a/../b", "a b", "a\n", "é", &long]
        {
            assert!(!is_job_name(name), "{name}");
        }
        assert!(is_job_name(&long[1..].replace('/', "@")));
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
    fn last_run_before_a_failure_is_isolated() {
        let isolation = |lost, suspect| JobMeta { lost, suspect, ..JobMeta::named("x") }.isolation();
        assert_eq!([isolation(0, false), isolation(1, false)], [Isolation::None; 2]);
        assert_eq!([isolation(0, true), isolation(1, true)], [Isolation::Worker; 2]);
        assert_eq!([isolation(2, false), isolation(2, true)], [Isolation::Master; 2]);
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
        let stepped = JobMeta { pushed_at: Some(Timestamp(3)), ..meta(Some(5), None) };
        assert_eq!((stepped.pushed_at(id), stepped.expiry(id)), (Timestamp(3), Some(Timestamp(5_003))));
    }
}
