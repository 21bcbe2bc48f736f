//! What a job is to the person who writes it: a type, a name, a `handle` function.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Failure, JobError, JobService};

/// What a blocking job does when it has failed for good. See [`Job::failed`].
pub type FailedFn<J> = fn(J, &Failure, &Context) -> Result<(), JobError>;

/// What an asynchronous job does when it has failed for good. See [`AsyncJob::failed`].
pub type AsyncFailedFn<J> =
    fn(J, Failure, Context) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

/// A job whose handler blocks its thread: ordinary Rust.
///
/// Only the name and `handle` are needed; everything else has a default that follows the channel.
///
/// ```
/// use std::time::Duration;
/// use aint_queue::{Context, Job, JobError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendEmail { to: String }
///
/// impl Job for SendEmail {
///     const NAME: &'static str = "send_email";
///     const MAX_ATTEMPTS: Option<u32> = Some(5);
///     const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));
///
///     fn handle(self, ctx: &Context) -> Result<(), JobError> {
///         if !self.to.contains('@') {
///             return Err(JobError::never("not an address"));
///         }
///         println!("attempt {} of job {}: mail to {}", ctx.attempt(), ctx.id(), self.to);
///         Ok(())
///     }
/// }
/// ```
///
/// A name that is not allowed is an error of the compiler where the job is registered or pushed:
///
/// ```compile_fail
/// # use aint_queue::{App, Context, Job, JobError};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Wrong;
///
/// impl Job for Wrong {
///     const NAME: &'static str = "send email";
///     fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
/// }
///
/// let app = App::new().job::<Wrong>();
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : - \`.
    const NAME: &'static str;

    /// How often a job of this kind may be attempted; the channel's `max_attempts` when `None`. A push may say otherwise.
    const MAX_ATTEMPTS: Option<u32> = None;

    /// How long one run may last, zero for no limit; the channel's `max_execute_seconds` when `None`. A push may say
    /// otherwise. The master keeps the time; a run that passes it is asked to end and then killed.
    const TIMEOUT: Option<Duration> = None;

    /// Runs the job once. It may run more than once: see the at-least-once paragraph of the crate page.
    ///
    /// # Errors
    /// Any error is kept with the job and tried again by the channel's policy; [`JobError`] says more.
    fn handle(self, ctx: &Context) -> Result<(), JobError>;

    /// Whether another attempt makes sense after an error, or a panic, that does not say so itself. Time-outs and
    /// crashes are tried again by the policy without asking.
    fn can_retry(_error: &JobError, _ctx: &Context) -> bool {
        true
    }

    /// How long to wait before the next attempt after an error, or a panic, that does not say so itself; the channel's
    /// backoff when `None`.
    fn retry_after(_error: &JobError, _ctx: &Context) -> Option<Duration> {
        None
    }

    /// What to do when a job of this kind has failed for good: its attempts are used, or it failed finally, ran too
    /// long, expired, or crashed its worker too often.
    ///
    /// It runs in a worker, at least once, after the last run and before the job rests in `failed`; a worker that ran
    /// the job last may be dead by then. Its own errors and time-outs are kept with the job and change nothing; if its
    /// worker dies, it runs again, up to three times.
    /// It does not run for jobs that ended because their masters were lost or their records could not be understood, nor for
    /// those that somebody cancelled.
    ///
    /// ```
    /// # use aint_queue::{Context, FailedFn, Job, JobError};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct SendEmail { to: String }
    /// # impl Job for SendEmail {
    /// #     const NAME: &'static str = "send_email";
    /// #     fn handle(self, ctx: &Context) -> Result<(), JobError> { Ok(()) }
    /// fn failed() -> Option<FailedFn<Self>> {
    ///     Some(|job, failure, _| {
    ///         println!("no mail to {} ({}): {}", job.to, failure.reason.as_str(), failure.error);
    ///         Ok(())
    ///     })
    /// }
    /// # }
    /// ```
    fn failed() -> Option<FailedFn<Self>> {
        None
    }

    /// Puts middleware around every run of this kind of job, inside that of the whole `App`.
    fn layers(service: JobService) -> JobService {
        service
    }
}

/// A job whose handler is asynchronous; it must not block its thread.
///
/// Its items mean what those of [`Job`] mean.
pub trait AsyncJob: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : - \`.
    const NAME: &'static str;

    /// How often a job of this kind may be attempted. See [`Job::MAX_ATTEMPTS`].
    const MAX_ATTEMPTS: Option<u32> = None;

    /// How long one run may last. See [`Job::TIMEOUT`].
    const TIMEOUT: Option<Duration> = None;

    /// Runs the job once. It may run more than once: see the at-least-once paragraph of the crate page.
    ///
    /// When the run is cancelled, [`Context::cancelled`] ends; a handler that does not end by itself then is dropped at
    /// one of its await points a moment later.
    ///
    /// # Errors
    /// Any error is kept with the job and tried again by the channel's policy; [`JobError`] says more.
    fn handle(self, ctx: Context) -> impl Future<Output = Result<(), JobError>> + Send;

    /// Whether another attempt makes sense. See [`Job::can_retry`].
    fn can_retry(_error: &JobError, _ctx: &Context) -> bool {
        true
    }

    /// How long to wait before the next attempt. See [`Job::retry_after`].
    fn retry_after(_error: &JobError, _ctx: &Context) -> Option<Duration> {
        None
    }

    /// What to do when a job of this kind has failed for good. See [`Job::failed`].
    ///
    /// ```
    /// # use aint_queue::{AsyncFailedFn, AsyncJob, Context, JobError};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct SendEmail { to: String }
    /// # impl AsyncJob for SendEmail {
    /// #     const NAME: &'static str = "send_email";
    /// #     async fn handle(self, ctx: Context) -> Result<(), JobError> { Ok(()) }
    /// fn failed() -> Option<AsyncFailedFn<Self>> {
    ///     Some(|job, failure, _| Box::pin(async move {
    ///         println!("no mail to {}: {}", job.to, failure.error);
    ///         Ok(())
    ///     }))
    /// }
    /// # }
    /// ```
    fn failed() -> Option<AsyncFailedFn<Self>> {
        None
    }

    /// Puts middleware around every run of this kind of job. See [`Job::layers`].
    fn layers(service: JobService) -> JobService {
        service
    }
}
