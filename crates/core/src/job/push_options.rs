//! What a producer says about a push.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{
    AsyncJob, Job, JobMeta, NewJob, Payload, PayloadError, Priority, Start, Timestamp, UniqueUntil,
    is_job_name,
};

/// A job type that can be pushed: every [`Job`] and every [`AsyncJob`]. `Kind` is found by the compiler; it only
/// keeps the two apart.
pub trait Pushable<Kind>: Serialize {
    /// The job's stable name.
    const NAME: &'static str;
}

/// Marks [`Job`] in [`Pushable`].
#[derive(Debug)]
pub enum Blocking {}

/// Marks [`AsyncJob`] in [`Pushable`].
#[derive(Debug)]
pub enum Asynchronous {}

impl<J: Job> Pushable<Blocking> for J {
    const NAME: &'static str = <J as Job>::NAME;
}

impl<J: AsyncJob> Pushable<Asynchronous> for J {
    const NAME: &'static str = <J as AsyncJob>::NAME;
}

/// What a producer may say about one push; everything left out follows the channel.
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
    timeout: Option<Duration>,
    start: Start,
}

impl PushOptions {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most one job with this key, 1 to 256 bytes, is in the channel until it is done, failed, removed or cleared. A
    /// push that meets one answers with its id instead of adding another.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::End, None);
        self
    }

    /// At most one job with this key waits in the channel: the key is free again before the job starts, so that a push
    /// made while it runs, and that it may not see the reason of any more, adds another.
    #[must_use]
    pub fn unique_until_start(mut self, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::Start, None);
        self
    }

    /// At most one job with this key is pushed into the channel within this time, at least a millisecond and at most
    /// ten years, whatever becomes of it.
    #[must_use]
    pub fn unique_for(mut self, time: Duration, key: impl Into<String>) -> Self {
        (self.unique, self.unique_until, self.unique_for) = (Some(key.into()), UniqueUntil::End, Some(time));
        self
    }

    /// Which waiting jobs the job goes before; those of the same priority are leased first in, first out. As long as
    /// more important jobs wait, less important ones do not run.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Not to be started later than this long after the push, at most ten years, by the store's clock: a job that is
    /// too late ends in `failed` as `expired`. Replaces an earlier expiry.
    #[must_use]
    pub fn expires_in(mut self, time: Duration) -> Self {
        (self.expires_in, self.expires_at) = (Some(time), None);
        self
    }

    /// Not to be started after this time, by the store's clock. Replaces an earlier expiry.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        (self.expires_in, self.expires_at) = (None, Some(timestamp(time)));
        self
    }

    /// Sends something along for whoever handles the job, apart from its data: a tenant, a trace context. Names are 1
    /// to 64 of `a-z 0-9 _ . -`; at most 64 headers with 8 KiB in all.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sends a trace context along, as `traceparent` and `tracestate` of the W3C Trace Context recommendation. Jobs
    /// pushed by the job inherit it.
    #[must_use]
    pub fn trace(self, traceparent: impl Into<String>, tracestate: Option<&str>) -> Self {
        let traced = self.header("traceparent", traceparent);
        match tracestate {
            Some(state) => traced.header("tracestate", state),
            None => traced,
        }
    }

    /// How often the job may be attempted; at least 1.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// How long one run may last, in whole milliseconds; zero for no limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Not before this long after the push, by the store's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = if delay.is_zero() { Start::Now } else { Start::After(delay) };
        self
    }

    /// Not before this time, by the store's clock; at once when it is past.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        self.start = Start::At(timestamp(time));
        self
    }

    /// A job of this type with these options.
    #[doc(hidden)]
    pub fn of<K, J: Pushable<K>>(&self, job: &J) -> Result<NewJob, PayloadError> {
        const { assert!(is_job_name(J::NAME), "a job's NAME is 1 to 128 of A-Z a-z 0-9 _ . : - \\") };
        Ok(self.job(J::NAME, Payload::of(job)?))
    }

    /// A job with these options.
    #[doc(hidden)]
    pub fn job(&self, name: &str, payload: Payload) -> NewJob {
        let meta = JobMeta {
            max_attempts: self.max_attempts,
            timeout_ms: self.timeout.map(millis),
            unique: self.unique.clone(),
            unique_until: self.unique_until,
            unique_for_ms: self.unique_for.map(millis),
            priority: self.priority,
            expires_in_ms: self.expires_in.map(millis),
            expires_at: self.expires_at,
            headers: self.headers.clone(),
            ..JobMeta::named(name)
        };
        NewJob { meta, payload, start: self.start }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp(0).after(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Whole milliseconds. What is not zero stays so: a limit below the millisecond must not become no limit.
fn millis(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if time.is_zero() { 0 } else { millis.max(1) }
}

#[cfg(test)]
mod tests {
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
