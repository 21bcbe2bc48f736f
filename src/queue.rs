//! The producer's door: [`Queue`] pushes jobs into a channel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use thiserror::Error;

use crate::config::{Config, UndeclaredChannel};
use crate::job::{AsyncJob, Job, JobId, Meta, NewJob, Payload, Priority, Start, Timestamp, UniqueUntil};
use crate::store::{self, MAX_BATCH, MAX_BATCH_BYTES, PushError, Pushed, Store, StoreError};

/// Pushes jobs into one channel. Cheap to clone; every clone uses the same connection.
///
/// ```no_run
/// use std::time::Duration;
/// use aint_queue::{Config, PushOptions, Queue};
/// # use aint_queue::{Context, Job, JobError};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct SendEmail { to: String }
/// # impl Job for SendEmail {
/// #     const NAME: &'static str = "send_email";
/// #     fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
/// # }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::open(&Config::find(None)?, "default").await?;
/// let mail = SendEmail { to: "ann@example.com".to_owned() };
/// queue.push(&mail).await?;
/// queue.push_in(Duration::from_secs(60), &mail).await?;
/// queue.push_with(&mail, &PushOptions::new().unique("mail-ann").max_attempts(5)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    store: Arc<dyn Store>,
}

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

    /// At most one job with this key waits in the channel: the key is free again as soon as a worker has the job, so
    /// that a push made while it runs, and that it may not see the reason of any more, adds another.
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

    /// A job with these options.
    pub(crate) fn job(&self, name: &str, payload: Payload) -> NewJob {
        let meta = Meta {
            max_attempts: self.max_attempts,
            timeout_ms: self.timeout.map(millis),
            unique: self.unique.clone(),
            unique_until: self.unique_until,
            unique_for_ms: self.unique_for.map(millis),
            priority: self.priority,
            expires_in_ms: self.expires_in.map(millis),
            expires_at: self.expires_at,
            headers: self.headers.clone(),
            ..Meta::named(name)
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

/// Why a [`Queue`] cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration does not declare the channel.
    #[error(transparent)]
    Undeclared(#[from] UndeclaredChannel),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why not all jobs were pushed.
#[derive(Debug, Error)]
#[error("{} of the jobs were pushed, the rest were not", .pushed.len())]
pub struct PushManyError {
    /// What became of the jobs before the failure, in their order. When the store became unavailable, up to
    /// [`MAX_BATCH`] more may or may not have been added.
    pub pushed: Vec<Pushed>,
    /// Why the next one was not; a place in it counts from the first job of all.
    #[source]
    pub source: PushError,
}

impl Queue {
    /// Opens the store of a declared channel.
    ///
    /// # Errors
    /// When the channel is not declared or its store cannot be used.
    pub async fn open(config: &Config, channel: &str) -> Result<Self, OpenError> {
        let channel = config.channel(channel)?;
        Ok(Self::on(store::open(&channel.driver, &channel.name).await?))
    }

    /// Pushes into a store that is open already, for a driver of one's own and for tests.
    #[must_use]
    pub fn on(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Pushes one job to run as soon as a slot is free.
    ///
    /// # Errors
    /// When the job's data cannot be a payload or the store does not take it.
    pub async fn push<K, J: Pushable<K>>(&self, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new()).await.map(Pushed::id)
    }

    /// Pushes one job to run not before `delay` from now.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_in<K, J: Pushable<K>>(&self, delay: Duration, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new().delay(delay)).await.map(Pushed::id)
    }

    /// Pushes one job to run not before `time`.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_at<K, J: Pushable<K>>(&self, time: SystemTime, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new().at(time)).await.map(Pushed::id)
    }

    /// Pushes one job with options.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_with<K, J: Pushable<K>>(
        &self,
        job: &J,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        self.push_raw(J::NAME, payload(job, 0)?, options).await
    }

    /// Pushes one job by its name: for jobs that are handled by another program.
    ///
    /// # Errors
    /// When a rule for names or options is broken or the store does not take the job.
    pub async fn push_raw(
        &self,
        name: &str,
        payload: Payload,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        let pushed = self.store.push(&[options.job(name, payload)]).await?;
        Ok(pushed.into_iter().next().expect("a store answers for every job"))
    }

    /// Pushes many jobs of one type in their order, in as few calls as the limits of a batch allow. Each batch is
    /// added as a whole or not at all; the error tells which were.
    ///
    /// # Errors
    /// As [`Queue::push`], with what was pushed until then.
    pub async fn push_many<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        let mut pushed = Vec::new();
        let mut batch = Batch::default();
        for (index, job) in jobs.into_iter().enumerate() {
            let job = match payload(job, index) {
                Ok(payload) => NewJob::new(J::NAME, payload),
                Err(source) => return Err(PushManyError { pushed, source }),
            };
            if !batch.has_room_for(&job) {
                self.flush(&mut batch, &mut pushed).await?;
            }
            batch.add(job);
        }
        self.flush(&mut batch, &mut pushed).await?;
        Ok(pushed)
    }

    /// As [`Queue::push_many`], for jobs of any names and options.
    pub(crate) async fn push_jobs(
        &self,
        jobs: impl IntoIterator<Item = NewJob>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        let mut pushed = Vec::new();
        let mut batch = Batch::default();
        for job in jobs {
            if !batch.has_room_for(&job) {
                self.flush(&mut batch, &mut pushed).await?;
            }
            batch.add(job);
        }
        self.flush(&mut batch, &mut pushed).await?;
        Ok(pushed)
    }

    async fn flush(&self, batch: &mut Batch, pushed: &mut Vec<Pushed>) -> Result<(), PushManyError> {
        match self.store.push(&batch.take()).await {
            Ok(more) => {
                pushed.extend(more);
                Ok(())
            }
            Err(source) => {
                let source = counted_from_the_first(source, pushed.len());
                Err(PushManyError { pushed: std::mem::take(pushed), source })
            }
        }
    }
}

fn payload(job: &impl Serialize, index: usize) -> Result<Payload, PushError> {
    Payload::of(job).map_err(|source| PushError::Payload { index, source })
}

/// The error with its place counted from the first job of all batches.
fn counted_from_the_first(error: PushError, before: usize) -> PushError {
    match error {
        PushError::Job { index, source } => PushError::Job { index: before + index, source },
        PushError::Payload { index, source } => PushError::Payload { index: before + index, source },
        other => other,
    }
}

/// Jobs gathered for one call of the store.
#[derive(Default)]
pub(crate) struct Batch {
    jobs: Vec<NewJob>,
    bytes: usize,
}

impl Batch {
    /// Whether `job` still fits. The first one always does.
    pub(crate) fn has_room_for(&self, job: &NewJob) -> bool {
        self.jobs.is_empty()
            || (self.jobs.len() < MAX_BATCH && self.bytes + job.payload.as_str().len() <= MAX_BATCH_BYTES)
    }

    pub(crate) fn add(&mut self, job: NewJob) {
        self.bytes += job.payload.as_str().len();
        self.jobs.push(job);
    }

    /// What was gathered, leaving nothing.
    pub(crate) fn take(&mut self) -> Vec<NewJob> {
        self.bytes = 0;
        std::mem::take(&mut self.jobs)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} jobs, {} bytes)", self.jobs.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_at_its_count_and_at_its_bytes() {
        let job = |bytes: usize| {
            let text = format!("\"{}\"", "x".repeat(bytes - 2));
            NewJob::new("x", Payload::parse(text).unwrap())
        };
        let mut batch = Batch::default();
        for _ in 0..MAX_BATCH {
            assert!(batch.has_room_for(&job(2)));
            batch.add(job(2));
        }
        assert!(!batch.has_room_for(&job(2)));
        assert_eq!(batch.take().len(), MAX_BATCH);

        for _ in 0..4 {
            assert!(batch.has_room_for(&job(1 << 20)));
            batch.add(job(1 << 20));
        }
        assert!(!batch.has_room_for(&job(2)));
        batch.take();
        assert!(batch.has_room_for(&job(1 << 20)));
    }

    #[test]
    fn options_become_the_meta_of_the_job() {
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
