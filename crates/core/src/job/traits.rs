//! The traits of handlers: a type, a name, a `handle` function.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Asynchronous, Blocking, Context, Failure, JobError, JobService, Pushable};

/// Failed callback of a blocking job. See [`Job::failed`].
pub type FailedFn<J> = fn(J, &Failure, &Context) -> Result<(), JobError>;

/// Failed callback of an asynchronous job. See [`AsyncJob::failed`].
pub type AsyncFailedFn<J> = for<'a> fn(
    J,
    &'a Failure,
    &'a Context,
) -> Pin<Box<dyn Future<Output = Result<(), JobError>> + Send + 'a>>;

/// A job whose handler blocks its thread.
///
/// Name and `handle` are required; every other item has a default that follows the channel.
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
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : @ / - \`.
    const NAME: &'static str;

    /// Attempts of jobs of this kind; the channel's `max_attempts` when `None`. A push may override it.
    const MAX_ATTEMPTS: Option<u32> = None;

    /// Time limit of one run, zero for no limit; the channel's `max_execute_seconds` when `None`. A push may override it. The
    /// master measures the time; a run that exceeds it is asked to end and then killed.
    const TIMEOUT: Option<Duration> = None;

    /// Runs the job once. A job may run more than once: see "At least once" on the crate page.
    ///
    /// # Errors
    /// Every error is kept with the job and retried by the channel's policy; [`JobError`] offers other consequences.
    fn handle(self, ctx: &Context) -> Result<(), JobError>;

    /// Whether to retry after an error or panic that does not decide this itself. Time-outs and crashes follow the policy
    /// without this call.
    fn can_retry(_error: &JobError, _ctx: &Context) -> bool {
        true
    }

    /// The wait before the retry of an error or panic that does not decide this itself; the channel's backoff when
    /// `None`.
    fn retry_after(_error: &JobError, _ctx: &Context) -> Option<Duration> {
        None
    }

    /// Callback for a permanent failure: all attempts used, failed finally, timed out, expired, or crashed too often.
    ///
    /// Runs in a worker, at least once, after the last run and before the job moves to `failed`; the worker of the last run
    /// may be dead by then. Errors and time-outs of the callback are kept with the job and change nothing else; if its
    /// worker dies, the callback runs again, up to three times.
    /// Jobs that were lost with their masters or guardians, unreadable records and cancelled jobs have no callback.
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

    /// Wraps every run of this kind of job into middleware, inside that of the whole `App`.
    fn layers(service: JobService) -> JobService {
        service
    }
}

/// A job whose handler is asynchronous and must not block its thread.
///
/// The items have the meaning and the form of those of [`Job`]; only `handle` and the failed callback are asynchronous.
///
/// ```
/// use std::time::Duration;
/// use aint_queue::{AsyncJob, Context, JobError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Poll { times: u32 }
///
/// impl AsyncJob for Poll {
///     const NAME: &'static str = "poll";
///
///     async fn handle(self, ctx: &Context) -> Result<(), JobError> {
///         for nth in 1..=self.times {
///             tokio::time::sleep(Duration::from_millis(10)).await;
///             ctx.progress(f64::from(nth) / f64::from(self.times) * 100.0);
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// A task that outlives the call needs a clone of the context, which is cheap.
pub trait AsyncJob: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name of this kind of job, at most 128 of `A-Z a-z 0-9 _ . : @ / - \`.
    const NAME: &'static str;

    /// Attempts of jobs of this kind. See [`Job::MAX_ATTEMPTS`].
    const MAX_ATTEMPTS: Option<u32> = None;

    /// Time limit of one run. See [`Job::TIMEOUT`].
    const TIMEOUT: Option<Duration> = None;

    /// Runs the job once. A job may run more than once: see "At least once" on the crate page.
    ///
    /// [`Context::cancelled`] completes when the run is cancelled; a handler that does not return soon after is dropped at
    /// one of its await points.
    ///
    /// # Errors
    /// Every error is kept with the job and retried by the channel's policy; [`JobError`] offers other consequences.
    fn handle(self, ctx: &Context) -> impl Future<Output = Result<(), JobError>> + Send;

    /// Whether to retry after an error. See [`Job::can_retry`].
    fn can_retry(_error: &JobError, _ctx: &Context) -> bool {
        true
    }

    /// The wait before the next attempt. See [`Job::retry_after`].
    fn retry_after(_error: &JobError, _ctx: &Context) -> Option<Duration> {
        None
    }

    /// Callback for a permanent failure. See [`Job::failed`].
    ///
    /// ```
    /// # use aint_queue::{AsyncFailedFn, AsyncJob, Context, JobError};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct SendEmail { to: String }
    /// # impl AsyncJob for SendEmail {
    /// #     const NAME: &'static str = "send_email";
    /// #     async fn handle(self, ctx: &Context) -> Result<(), JobError> { Ok(()) }
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

    /// Wraps every run of this kind of job into middleware. See [`Job::layers`].
    fn layers(service: JobService) -> JobService {
        service
    }
}

impl<J: Job> Pushable<Blocking> for J {
    const NAME: &'static str = <J as Job>::NAME;
}

impl<J: AsyncJob> Pushable<Asynchronous> for J {
    const NAME: &'static str = <J as AsyncJob>::NAME;
}
