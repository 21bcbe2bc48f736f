//! Options of a push.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{
    JobMeta, NewJob, Payload, PayloadError, Priority, Start, TRACEPARENT, TRACESTATE, Timestamp, UniqueUntil,
    is_job_name,
};
use crate::durations::millis_at_least_one;

/// A job type that can be pushed: every [`Job`](super::Job) and every [`AsyncJob`](super::AsyncJob). The compiler infers `Kind`, which only keeps the
/// two blanket implementations apart.
pub trait Pushable<Kind>: Serialize {
    /// The job's stable name.
    const NAME: &'static str;
}

/// Marks [`Job`](super::Job) in [`Pushable`].
#[derive(Debug)]
pub enum Blocking {}

/// Marks [`AsyncJob`](super::AsyncJob) in [`Pushable`].
#[derive(Debug)]
pub enum Asynchronous {}

/// Options of one push; unset ones follow the handler, then the channel.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    unique: Option<String>,
    unique_until: UniqueUntil,
    unique_for: Option<Duration>,
    priority: Priority,
    expires_in: Option<Duration>,
    expires_at: Option<Timestamp>,
    headers: BTreeMap<String, String>,
    max_attempts: Option<u32>,
    retry_for: Option<Duration>,
    retry_until: Option<Timestamp>,
    timeout: Option<Duration>,
    start: Start,
}

impl PushOptions {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows one job with this key (1 to 256 bytes) in the channel until it is done, failed, removed or cleared. A push
    /// with a held key adds nothing and returns the id of the holder.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::End, None);
        self
    }

    /// Allows one waiting job with this key: the key is free again before the job starts, so that a push made during the
    /// run, whose cause the run may have missed, adds another job.
    #[must_use]
    pub fn unique_until_start(mut self, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::Start, None);
        self
    }

    /// Allows one push with this key within this time (a millisecond to ten years), even if the job ends earlier.
    #[must_use]
    pub fn unique_for(mut self, time: Duration, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::End, Some(time));
        self
    }

    /// Sets the priority. Jobs of one priority are leased first in, first out; lower priorities wait as long as higher ones
    /// have waiting jobs.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Expires the job this long after the push (at most ten years, by the store's clock): a job not started by then ends
    /// in `failed` as `expired`. Replaces an earlier expiry.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        (self.expires_in, self.expires_at) = (Some(time), None);
        self
    }

    /// Expires the job at this time, by the store's clock. Replaces an earlier expiry.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        (self.expires_in, self.expires_at) = (None, Some(time.into()));
        self
    }

    /// Adds a header, metadata for the handler beside the payload: a tenant, a trace context. Names are 1 to 64 of
    /// `a-z 0-9 _ . -`; at most 64 headers with 8 KiB in all.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Adds the headers `traceparent` and `tracestate` of the W3C Trace Context recommendation. Jobs pushed by the job
    /// inherit them.
    #[must_use]
    pub fn trace(self, traceparent: impl Into<String>, tracestate: Option<&str>) -> Self {
        let traced = self.header(TRACEPARENT, traceparent);
        match tracestate {
            Some(state) => traced.header(TRACESTATE, state),
            None => traced,
        }
    }

    /// Sets the number of attempts; at least 1.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Retries the job until this long after the push (at most ten years, by the store's clock), however many attempts that
    /// takes: the `max_attempts` of its type and channel do not apply, those of [`Self::max_attempts`] do. The job fails when
    /// its next attempt would begin after that. Replaces an earlier window.
    #[must_use]
    pub fn retry_for(mut self, time: Duration) -> Self {
        (self.retry_for, self.retry_until) = (Some(time), None);
        self
    }

    /// Like [`Self::retry_for`], with the end of the window as a time.
    #[must_use]
    pub fn retry_until(mut self, time: SystemTime) -> Self {
        (self.retry_for, self.retry_until) = (None, Some(time.into()));
        self
    }

    /// Sets the time limit of one run, in whole milliseconds; zero for no limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Delays the start until this long after the push, by the store's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = if delay.is_zero() { Start::Now } else { Start::After(delay) };
        self
    }

    /// Delays the start until this time, by the store's clock; a past time means at once.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        self.start = Start::At(time.into());
        self
    }

    /// Builds a job of this type with these options.
    #[doc(hidden)]
    pub fn of<K, J: Pushable<K>>(&self, job: &J) -> Result<NewJob, PayloadError> {
        const { assert!(is_job_name(J::NAME), "a job's NAME is 1 to 128 of A-Z a-z 0-9 _ . : @ / - \\") };
        Ok(self.job(J::NAME, Payload::of(job)?))
    }

    /// Builds a job of this name with these options.
    #[doc(hidden)]
    pub fn job(&self, name: &str, payload: Payload) -> NewJob {
        let meta = JobMeta {
            max_attempts: self.max_attempts,
            retry_for_ms: self.retry_for.map(millis_at_least_one),
            retry_until: self.retry_until,
            timeout_ms: self.timeout.map(millis_at_least_one),
            unique: self.unique.clone(),
            unique_until: self.unique_until,
            unique_for_ms: self.unique_for.map(millis_at_least_one),
            priority: self.priority,
            delay_ms: match self.start {
                Start::After(delay) => Some(millis_at_least_one(delay)),
                Start::Now | Start::At(_) => None,
            },
            ready_at: match self.start {
                Start::At(time) => Some(time),
                Start::Now | Start::After(_) => None,
            },
            expires_in_ms: self.expires_in.map(millis_at_least_one),
            expires_at: self.expires_at,
            headers: self.headers.clone(),
            ..JobMeta::named(name)
        };
        NewJob { meta, payload, start: self.start }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn push_options_become_job_meta() {
        let payload = || Payload::parse("null").unwrap();
        let options = PushOptions::new()
            .unique("k")
            .max_attempts(2)
            .timeout(Duration::from_micros(5))
            .delay(Duration::from_secs(1));
        let job = options.job("x", payload());
        assert_eq!((job.meta.unique.as_deref(), job.meta.max_attempts), (Some("k"), Some(2)));
        assert_eq!((job.meta.timeout_ms, job.start), (Some(1), Start::After(Duration::from_secs(1))));
        let job = PushOptions::new().timeout(Duration::ZERO).delay(Duration::ZERO).job("x", payload());
        assert_eq!((job.meta.timeout_ms, job.start), (Some(0), Start::Now));
        let job = PushOptions::new().at(UNIX_EPOCH + Duration::from_secs(1)).job("x", payload());
        assert_eq!(job.start, Start::At(Timestamp(1_000_000)));
    }
}
