//! What a job is to the person who writes it: a type, a name, a `handle` function.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JobId, Next, Outcome};

/// A job whose handler blocks its thread: ordinary Rust.
///
/// ```
/// use aint_queue::{Context, Job, JobError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendEmail { to: String }
///
/// impl Job for SendEmail {
///     const NAME: &'static str = "send_email";
///     fn handle(self, ctx: &Context) -> Result<(), JobError> {
///         if !self.to.contains('@') {
///             return Err(JobError::never("not an address"));
///         }
///         println!("attempt {} of job {}: mail to {}", ctx.attempt(), ctx.id(), self.to);
///         Ok(())
///     }
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : - \`.
    const NAME: &'static str;

    /// Runs the job once. It may run more than once: see the at-least-once paragraph of the crate page.
    ///
    /// # Errors
    /// Any error is kept with the job and tried again by the channel's policy; [`JobError`] says more.
    fn handle(self, ctx: &Context) -> Result<(), JobError>;
}

/// A job whose handler is asynchronous; it must not block its thread.
pub trait AsyncJob: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : - \`.
    const NAME: &'static str;

    /// Runs the job once. It may run more than once: see the at-least-once paragraph of the crate page.
    ///
    /// # Errors
    /// Any error is kept with the job and tried again by the channel's policy; [`JobError`] says more.
    fn handle(self, ctx: Context) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// What a handler knows of the run it is in.
#[derive(Clone, Debug)]
pub struct Context {
    id: JobId,
    channel: Arc<str>,
    attempt: u32,
    max_attempts: u32,
    deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Context {
    pub(crate) fn new(
        id: JobId,
        channel: Arc<str>,
        attempt: u32,
        max_attempts: u32,
        timeout: Option<Duration>,
    ) -> Self {
        let deadline = timeout.map(|t| Instant::now() + t);
        Self { id, channel, attempt, max_attempts, deadline, cancelled: Arc::default() }
    }

    /// The job's number.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The channel the job came from.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How many attempts the job has in all.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// How long the run may still last; `None` when it has no limit.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|d| d.saturating_duration_since(Instant::now()))
    }

    /// Whether the master asked this run to end: its time is up or the channel stops.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// How a handler ends other than well.
///
/// Any error converts into one with `?` and is tried again by the channel's policy. The constructors
/// say something more exact.
pub struct JobError {
    outcome: Outcome,
}

impl JobError {
    /// Tries again after `delay`, if attempts are left.
    pub fn retry_after(delay: Duration, error: impl fmt::Display) -> Self {
        Self::failed(error.to_string(), Next::After(delay))
    }

    /// Fails for good: another attempt would be pointless.
    pub fn never(error: impl fmt::Display) -> Self {
        Self::failed(error.to_string(), Next::Never)
    }

    /// Hands the job back without counting an attempt; it runs again after `delay`.
    #[must_use]
    pub fn release(delay: Duration) -> Self {
        Self { outcome: Outcome::Released { after: delay } }
    }

    pub(crate) fn unknown_job(name: &str) -> Self {
        Self::failed(format!("no handler is registered for the job \"{name}\""), Next::UnknownJob)
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        self.outcome
    }

    fn failed(error: String, next: Next) -> Self {
        Self { outcome: Outcome::Failed { error, next } }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for JobError {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::failed(text, Next::ByPolicy)
    }
}
