//! The producer's door: [`Queue`] pushes jobs into a channel.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use thiserror::Error;

use crate::config::{Config, UndeclaredChannel};
use crate::job::{DuplicateJob, JobId, NewJob, Payload};
pub use crate::job::{PushOptions, Pushable};
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
    route: PushRoute,
}

/// Where pushed jobs go.
#[derive(Clone, Debug)]
enum PushRoute {
    Store(Arc<dyn Store>),
    Target(Arc<dyn PushTarget>),
}

/// What takes jobs instead of a store.
#[async_trait]
#[doc(hidden)]
pub trait PushTarget: Send + Sync + fmt::Debug {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError>;

    /// How many jobs it takes at once.
    fn max_batch_len(&self) -> usize {
        MAX_BATCH
    }
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
    /// The jobs cannot be told apart: for a channel of the `sync` driver.
    #[error(transparent)]
    Jobs(#[from] DuplicateJob),
    /// What the handlers share cannot be made: for a channel of the `sync` driver.
    #[error("{0}")]
    State(String),
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
    /// Opens the store of a declared channel. A channel of the `sync` driver has none: see
    /// `App::queue`, which opens channels of every driver.
    ///
    /// # Errors
    /// When the channel is not declared, its store cannot be used, or its driver is `sync`.
    pub async fn open(config: &Config, channel: &str) -> Result<Self, OpenError> {
        let channel = config.channel(channel)?;
        Ok(Queue::from_store(store::open(&channel.driver, &channel.name).await?))
    }

    /// Pushes into a store that is open already, for a driver of one's own and for tests.
    #[must_use]
    pub fn from_store(store: Arc<dyn Store>) -> Self {
        Self { route: PushRoute::Store(store) }
    }

    /// Pushes through something that is no store.
    #[doc(hidden)]
    pub fn with_target(target: Arc<dyn PushTarget>) -> Self {
        Self { route: PushRoute::Target(target) }
    }

    /// Pushes one job to run as soon as a slot is free.
    ///
    /// # Errors
    /// When the job's data cannot be a payload or the store does not take it; on a channel of the `sync` driver, when
    /// the job failed.
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

    /// Pushes one job with options. The answer tells a new job from the one that holds the unique key;
    /// [`Pushed::id`] is the number of either.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_with<K, J: Pushable<K>>(
        &self,
        job: &J,
        options: &PushOptions,
    ) -> Result<Pushed, PushError> {
        let job = options.of(job).map_err(|why| PushError::Payload { index: 0, why })?;
        self.push_one(job).await
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
        self.push_one(options.job(name, payload)).await
    }

    async fn push_one(&self, job: NewJob) -> Result<Pushed, PushError> {
        let pushed = self.push_batch(&[job]).await?;
        Ok(pushed.into_iter().next().expect("a store answers for every job"))
    }

    /// Pushes a batch of [`Queue::batch`].
    #[doc(hidden)]
    pub async fn push_batch(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        match &self.route {
            PushRoute::Store(store) => store.push(jobs).await,
            PushRoute::Target(target) => target.push(jobs).await,
        }
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

    /// Pushes many jobs of one type in their order, in as few calls as the limits of a batch allow. Each batch is
    /// added as a whole or not at all; the error tells which were.
    ///
    /// # Errors
    /// As [`Queue::push`], with what was pushed until then.
    pub async fn push_many<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        self.push_many_with(jobs, &PushOptions::new()).await
    }

    /// Pushes many jobs of one type with the same options, as [`Queue::push_many`] does.
    ///
    /// # Errors
    /// As [`Queue::push_many`].
    pub async fn push_many_with<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
        options: &PushOptions,
    ) -> Result<Vec<Pushed>, PushManyError> {
        let mut pushed = Vec::new();
        let mut batch = self.batch();
        for (index, job) in jobs.into_iter().enumerate() {
            let job = match options.of(job) {
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

    /// As [`Queue::push_many`], for jobs of any names and options.
    #[doc(hidden)]
    pub async fn push_jobs(
        &self,
        jobs: impl IntoIterator<Item = NewJob>,
    ) -> Result<Vec<Pushed>, PushManyError> {
        let mut pushed = Vec::new();
        let mut batch = self.batch();
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

/// The error with its place counted from the first job of all batches.
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

/// Jobs gathered for one call of the store.
#[doc(hidden)]
pub struct Batch {
    max_batch_len: usize,
    jobs: Vec<NewJob>,
    bytes: usize,
}

impl Batch {
    /// Whether `job` still fits. The first one always does.
    #[doc(hidden)]
    pub fn has_room_for(&self, job: &NewJob) -> bool {
        self.jobs.is_empty()
            || (self.jobs.len() < self.max_batch_len
                && self.bytes + job.payload.as_str().len() <= MAX_BATCH_BYTES)
    }

    #[doc(hidden)]
    pub fn add(&mut self, job: NewJob) {
        self.bytes += job.payload.as_str().len();
        self.jobs.push(job);
    }

    /// What was gathered, leaving nothing.
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
