//! The view of a handler on its run: the job's data, cancellation, requests to the master.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::job_requests::{JobRequest, LimitClaim, LimitDecision, PendingResponse, RunHost};
use super::outbox::Outbox;
use super::{AppState, JobId, PushOptions, Pushable};

/// The view of a handler on its run. Cheap to clone; clones may go to other threads and tasks, and serve as the run's
/// cancellation token.
#[derive(Clone)]
pub struct Context {
    run: Arc<Run>,
}

/// The parts of a [`Context`].
#[doc(hidden)]
pub struct ContextParts {
    pub id: JobId,
    pub job: Arc<str>,
    pub channel: Arc<str>,
    pub attempt: u32,
    pub max_attempts: u32,
    pub timeout: Option<Duration>,
    pub headers: BTreeMap<String, String>,
    pub state: AppState,
    pub host: Box<dyn RunHost>,
}

struct Run {
    parts: ContextParts,
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    cancel: Notify,
}

impl Context {
    #[doc(hidden)]
    pub fn new(parts: ContextParts) -> Self {
        let deadline = parts.timeout.map(|t| Instant::now() + t);
        Self {
            run: Arc::new(Run { parts, deadline, cancelled: AtomicBool::new(false), cancel: Notify::new() }),
        }
    }

    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.run.parts.id
    }

    /// The name of the job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.run.parts.job
    }

    /// The channel that holds the job.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.run.parts.channel
    }

    /// Number of this attempt, 1-based. In a failed callback: the number of attempts made.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.run.parts.attempt
    }

    /// Number of attempts that the job has in all.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.run.parts.max_attempts
    }

    /// The headers of the push.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.run.parts.headers
    }

    /// A header of the push.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).map(String::as_str)
    }

    /// The time at which the master asks this run to end; `None` when it has no limit.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.run.deadline
    }

    /// Remaining run time; zero after the deadline, `None` without a limit.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.run.deadline.map(|d| d.saturating_duration_since(Instant::now()))
    }

    /// Whether the master asked this run to end: its time is up, the job was cancelled, or the channel stops. The handler
    /// should clean up and return; an error it returns then is ignored, success counts.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.run.cancelled.load(Ordering::Acquire)
    }

    /// Completes when the master asks this run to end. Any number of tasks may wait.
    pub async fn cancelled(&self) {
        let mut cancel = pin!(self.run.cancel.notified());
        // Registered before the flag is read: otherwise a cancel between the read and the wait would be missed.
        cancel.as_mut().enable();
        if !self.is_cancelled() {
            cancel.await;
        }
    }

    #[doc(hidden)]
    pub fn cancel(&self) {
        self.run.cancelled.store(true, Ordering::Release);
        self.run.cancel.notify_waiters();
    }

    /// The shared value of this type, as given to `App::state`.
    ///
    /// # Panics
    /// When the application has no value of this type; the panic fails the run and names the type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> &T {
        self.try_state().unwrap_or_else(|| {
            panic!("the application has no state of type {0}: add it with App::state", type_name::<T>())
        })
    }

    /// The shared value of this type, if the application has one.
    #[must_use]
    pub fn try_state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.run.parts.state.get()
    }

    /// Reports progress in percent to observers of the job. Does not wait; the store does not keep it.
    pub fn progress(&self, percent: f64) {
        self.run.parts.host.progress(percent.clamp(0.0, 100.0));
    }

    /// Writes a line with the job's id into the master's log. `level` is `error`, `warn`, `info` or `debug`.
    pub fn log(&self, level: &str, message: impl fmt::Display) {
        self.run.parts.host.log(level, message.to_string());
    }

    /// Pushes a follow-up job into the same channel. The job is stored once the response is here, even if this run fails
    /// later: a retried run pushes again, unless the push has a unique key. The job inherits the trace context.
    ///
    /// Await the response, or call [`PendingResponse::wait`] in a blocking handler.
    ///
    /// ```
    /// # use aint_queue::{AsyncJob, Context, JobError};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Invoice { order: u64 }
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Order { id: u64 }
    /// # impl AsyncJob for Invoice {
    /// #     const NAME: &'static str = "invoice";
    /// #     async fn handle(self, ctx: &Context) -> Result<(), JobError> { Ok(()) }
    /// # }
    /// # impl AsyncJob for Order {
    /// #     const NAME: &'static str = "order";
    /// async fn handle(self, ctx: &Context) -> Result<(), JobError> {
    ///     let id = ctx.push(&Invoice { order: self.id }).await?;
    ///     ctx.log("info", format!("the invoice is job {id}"));
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn push<K, J: Pushable<K>>(&self, job: &J) -> PendingResponse<JobId> {
        self.push_with(job, &PushOptions::new())
    }

    /// Pushes a follow-up job with options.
    pub fn push_with<K, J: Pushable<K>>(&self, job: &J, options: &PushOptions) -> PendingResponse<JobId> {
        self.outbox(None).push_with(job, options)
    }

    /// Pushes follow-up jobs of one type, all or none; at most 500 with about 1 MiB together.
    pub fn push_many<'a, K, J: Pushable<K> + 'a>(
        &self,
        jobs: impl IntoIterator<Item = &'a J>,
    ) -> PendingResponse<Vec<JobId>> {
        self.outbox(None).push_many(jobs)
    }

    /// Follow-up jobs into another channel of the master's configuration: `ctx.to("mails").push(&mail)`.
    pub fn to<'a>(&'a self, channel: &'a str) -> Outbox<'a> {
        self.outbox(Some(channel))
    }

    fn outbox<'a>(&'a self, channel: Option<&'a str>) -> Outbox<'a> {
        let ContextParts { headers, host, .. } = &self.run.parts;
        Outbox { channel, headers, host: &**host }
    }

    /// Claims a lock, room in a rate, or a closed circuit breaker. Every end of the run releases a granted claim.
    /// [`middleware`](crate::middleware) makes these claims for a handler.
    pub fn claim(&self, claim: LimitClaim) -> PendingResponse<LimitDecision> {
        match claim.check() {
            Ok(()) => PendingResponse::new(
                self.run.parts.host.request(JobRequest::Claim(claim)),
                super::job_requests::claimed,
            ),
            Err(why) => PendingResponse::refused(why),
        }
    }

    /// Runs code of this run on another thread; the host attributes its output to the run.
    pub(super) fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        let (mut code, mut answer) = (Some(code), None);
        self.run.parts.host.enter(&mut || answer = code.take().map(|code| code()));
        answer.expect("a host runs the code it is given")
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ContextParts { id, job, channel, attempt, max_attempts, .. } = &self.run.parts;
        f.debug_struct("Context")
            .field("id", id)
            .field("job", job)
            .field("channel", channel)
            .field("attempt", attempt)
            .field("max_attempts", max_attempts)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context without a master, for tests: requests are never answered.
    #[doc(hidden)]
    #[must_use]
    pub fn detached(job: &str, attempt: u32) -> Self {
        Self::detached_from("default", job, attempt)
    }

    /// A context without a master in the named channel.
    #[doc(hidden)]
    #[must_use]
    pub fn detached_in(channel: &str) -> Self {
        Self::detached_from(channel, "noop", 1)
    }

    fn detached_from(channel: &str, job: &str, attempt: u32) -> Self {
        struct DetachedHost;
        impl RunHost for DetachedHost {
            fn progress(&self, _: f64) {}
            fn log(&self, _: &str, _: String) {}
            fn request(&self, _: JobRequest) -> tokio::sync::oneshot::Receiver<super::Response> {
                tokio::sync::oneshot::channel().1
            }
        }
        Self::new(ContextParts {
            id: JobId(1),
            job: job.into(),
            channel: channel.into(),
            attempt,
            max_attempts: 3,
            timeout: None,
            headers: BTreeMap::new(),
            state: AppState::default(),
            host: Box::new(DetachedHost),
        })
    }
}
