//! The producer's interface: [`Queue`] pushes jobs into a channel.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use thiserror::Error;

use crate::config::{Config, UndeclaredChannel};
use crate::job::{DuplicateJob, JobId, NewJob, Payload, PayloadError, Timestamp};
pub use crate::job::{PushOptions, Pushable};
use crate::otel::PushSpan;
use crate::store::{
    self, MAX_BATCH, MAX_BATCH_BYTES, PushError, PushLimit, PushSize, Pushed, Store, StoreError,
};

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
    /// The name of the channel, where it is known.
    channel: Option<Arc<str>>,
    route: PushRoute,
    limit: PushLimit,
}

/// The receiver of pushed jobs.
#[derive(Clone, Debug)]
enum PushRoute {
    Store(Arc<dyn Store>),
    Target(Arc<dyn PushTarget>),
}

/// Receives jobs in place of a store.
#[async_trait]
#[doc(hidden)]
pub trait PushTarget: Send + Sync + fmt::Debug {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError>;

    /// Most jobs of one batch.
    fn max_batch_len(&self) -> usize {
        MAX_BATCH
    }
}

/// Failure to open a [`Queue`].
#[derive(Debug, Error)]
pub enum OpenError {
    /// The configuration does not declare the channel.
    #[error(transparent)]
    Undeclared(#[from] UndeclaredChannel),
    /// The store is unreachable or unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two job types share a name (`sync` driver only).
    #[error(transparent)]
    Jobs(#[from] DuplicateJob),
    /// A shared state cannot be made (`sync` driver only).
    #[error("{0}")]
    State(String),
}

/// A partial push.
#[derive(Debug, Error)]
#[error("{} of the jobs were pushed, the rest were not", .pushed.len())]
pub struct PushManyError {
    /// Results of the jobs before the failure, in order. If the store became unavailable, up to [`MAX_BATCH`] further jobs
    /// may or may not have been added.
    pub pushed: Vec<Pushed>,
    /// The failure of the next job; positions count from the first job of all.
    #[source]
    pub source: PushError,
}

impl Queue {
    /// Opens the store of a declared channel. A channel of the `sync` driver has none; `App::queue`
    /// opens channels of every driver.
    ///
    /// # Errors
    /// When the channel is not declared, its store is unusable, or its driver is `sync`.
    pub async fn open(config: &Config, channel: &str) -> Result<Self, OpenError> {
        let channel = config.channel(channel)?;
        let store = store::open(&channel.driver, &channel.name).await?;
        Ok(Queue::from_store(store).limited(PushLimit::of(channel)).named(&channel.name))
    }

    /// A queue on an open store, for custom drivers and tests.
    #[must_use]
    pub fn from_store(store: Arc<dyn Store>) -> Self {
        Self { channel: None, route: PushRoute::Store(store), limit: PushLimit::default() }
    }

    /// This queue with a limit on waiting jobs.
    #[doc(hidden)]
    #[must_use]
    pub fn limited(self, limit: PushLimit) -> Self {
        Self { limit, ..self }
    }

    /// This queue with the name of its channel.
    #[doc(hidden)]
    #[must_use]
    pub fn named(self, channel: &str) -> Self {
        Self { channel: Some(channel.into()), ..self }
    }

    /// A queue on a receiver that is not a store.
    #[doc(hidden)]
    pub fn with_target(target: Arc<dyn PushTarget>) -> Self {
        Self { channel: None, route: PushRoute::Target(target), limit: PushLimit::default() }
    }

    /// Pushes one job, to run as soon as a slot is free.
    ///
    /// # Errors
    /// When the job breaks a rule for payloads or the store does not accept it; with the `sync` driver, when the job
    /// failed.
    pub async fn push<K, J: Pushable<K>>(&self, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new()).await.map(Pushed::id)
    }

    /// Pushes one job with a delay.
    ///
    /// # Errors
    /// See [`Queue::push`].
    pub async fn push_in<K, J: Pushable<K>>(&self, delay: Duration, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new().delay(delay)).await.map(Pushed::id)
    }

    /// Pushes one job, to run at `time` or later.
    ///
    /// # Errors
    /// See [`Queue::push`].
    pub async fn push_at<K, J: Pushable<K>>(&self, time: SystemTime, job: &J) -> Result<JobId, PushError> {
        self.push_with(job, &PushOptions::new().at(time)).await.map(Pushed::id)
    }

    /// Pushes one job with options. The result tells an added job from the holder of its unique key; [`Pushed::id`] is the id
    /// of either.
    ///
    /// # Errors
    /// See [`Queue::push`].
    pub async fn push_with<K, J: Pushable<K>>(
        &self,
        job: &J,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        let job = options.of(job).map_err(|why| PushError::Payload { index: 0, why })?;
        self.push_one(job).await
    }

    /// Pushes one job by name, for handlers in other programs.
    ///
    /// # Errors
    /// When the job breaks a rule or the store does not accept it.
    pub async fn push_raw(
        &self,
        name: &str,
        payload: Payload,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        self.push_one(options.job(name, payload)).await
    }

    async fn push_one(&self, job: NewJob) -> Result<Pushed, PushError> {
        let pushed = self.push_batch(&[job]).await?;
        Ok(pushed.into_iter().next().expect("a store answers for every job"))
    }

    /// Pushes the jobs of a [`Queue::batch`].
    #[doc(hidden)]
    pub async fn push_batch(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let now = Timestamp::from(SystemTime::now());
        for (index, job) in jobs.iter().enumerate() {
            job.check_retry_window(now).map_err(|why| PushError::Job { index, why })?;
        }
        let span = PushSpan::begin(self.channel.as_deref(), jobs, None);
        let traced = span.jobs(jobs);
        let pushed = match &self.route {
            PushRoute::Store(store) => self.limit.push(&**store, traced).await,
            PushRoute::Target(target) => target.push(traced).await,
        };
        span.end(&pushed);
        pushed
    }

    /// Checks jobs that come in several batches, before the first of them.
    #[doc(hidden)]
    pub fn check_size(&self, size: PushSize) -> Result<(), PushError> {
        self.limit.check_size(size)
    }

    /// An empty batch.
    #[doc(hidden)]
    pub fn batch(&self) -> Batch {
        let max_batch_len = match &self.route {
            PushRoute::Store(_) => MAX_BATCH,
            PushRoute::Target(target) => target.max_batch_len(),
        };
        Batch { max_batch_len, jobs: Vec::new(), bytes: 0 }
    }

    /// Pushes many jobs of one type in order, in as few batches as possible. Each batch is added completely or not at all;
    /// the error contains the results of earlier ones.
    ///
    /// # Errors
    /// See [`Queue::push`]; with the results of all jobs pushed before the failure.
    pub async fn push_many<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        self.push_many_with(jobs, &PushOptions::new()).await
    }

    /// Pushes many jobs of one type with the same options. See [`Queue::push_many`].
    ///
    /// # Errors
    /// See [`Queue::push_many`].
    pub async fn push_many_with<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
        options: &PushOptions,
    ) -> Result<Vec<Pushed>, PushManyError> {
        self.push_in_batches(jobs.into_iter().map(|job| options.of(job))).await
    }

    /// Pushes many prepared jobs. See [`Queue::push_many`].
    #[doc(hidden)]
    pub async fn push_jobs(
        &self,
        jobs: impl IntoIterator<Item = NewJob>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        self.push_in_batches(jobs.into_iter().map(Ok)).await
    }

    async fn push_in_batches(
        &self,
        jobs: impl Iterator<Item = Result<NewJob, PayloadError>>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        let mut pushed = Vec::new();
        let mut batch = self.batch();
        for (index, job) in jobs.enumerate() {
            let job = match job {
                Ok(job) => job,
                Err(why) => {
                    return Err(PushManyError { pushed, source: PushError::Payload { index, why } });
                }
            };
            if !batch.has_room_for(&job) {
                self.flush(&mut batch, &mut pushed).await?;
            }
            batch.add(job);
        }
        self.flush(&mut batch, &mut pushed).await?;
        Ok(pushed)
    }

    /// Pushes the collected jobs and adds their results; positions in an error count from the first result.
    #[doc(hidden)]
    pub async fn flush(&self, batch: &mut Batch, pushed: &mut Vec<Pushed>) -> Result<(), PushManyError> {
        match self.push_batch(&batch.take()).await {
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

/// Counts the positions in an error from the first job of all batches.
fn counted_from_the_first(error: PushError, before: usize) -> PushError {
    match error {
        PushError::Job { index, why } => PushError::Job { index: before + index, why },
        PushError::Payload { index, why } => PushError::Payload { index: before + index, why },
        PushError::Failed { index, id, job, failure } => {
            PushError::Failed { index: before + index, id, job, failure }
        }
        other => other,
    }
}

/// Memory of a job by its parts of any length. A header is two texts and a place in a tree.
fn size_of(job: &NewJob) -> usize {
    const HEADER_OVERHEAD: usize = 128;
    let header = |(name, value): (&String, &String)| name.len() + value.len() + HEADER_OVERHEAD;
    job.payload.as_str().len() + job.meta.headers.iter().map(header).sum::<usize>()
}

/// Jobs collected for one call of the store.
#[doc(hidden)]
pub struct Batch {
    max_batch_len: usize,
    jobs: Vec<NewJob>,
    bytes: usize,
}

impl Batch {
    /// Whether `job` fits; the first job always does.
    #[doc(hidden)]
    pub fn has_room_for(&self, job: &NewJob) -> bool {
        self.jobs.is_empty()
            || (self.jobs.len() < self.max_batch_len && self.bytes + size_of(job) <= MAX_BATCH_BYTES)
    }

    #[doc(hidden)]
    pub fn add(&mut self, job: NewJob) {
        self.bytes += size_of(&job);
        self.jobs.push(job);
    }

    /// Takes all collected jobs.
    #[doc(hidden)]
    pub fn take(&mut self) -> Vec<NewJob> {
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
    fn batch_is_bounded_by_count_and_bytes() {
        let job = |bytes: usize| {
            let text = format!("\"{}\"", "x".repeat(bytes - 2));
            NewJob::new("x", Payload::parse(text).unwrap())
        };
        let mut batch =
            Queue::from_store(Arc::new(crate::store::model::Model::at(crate::job::Timestamp(0)))).batch();
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
}
