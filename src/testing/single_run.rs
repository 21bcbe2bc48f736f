//! Runs a single handler once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{TestQueue, handlers};
use crate::app::App;
use crate::job::{
    AsyncJob, Asynchronous, Blocking, Job, JobError, JobId, JobMeta, Outcome, Payload, Pushable,
};
use crate::retry::{Policy, RunTerms};
use crate::store::StoreError;

/// Runs one job once with default settings: see [`TestRun`].
///
/// ```
/// use aint_queue::testing::run_one;
/// # use aint_queue::{Context, Job, JobError};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Divide { by: i32 }
/// impl Job for Divide {
///     const NAME: &'static str = "divide";
///
///     fn handle(self, _: &Context) -> Result<(), JobError> {
///         1_i32.checked_div(self.by).map(drop).ok_or_else(|| JobError::never("divided by zero"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert!(run_one(Divide { by: 2 }).await.is_ok());
/// assert_eq!(run_one(Divide { by: 0 }).await.unwrap_err().message(), "divided by zero");
/// # }
/// ```
///
/// # Errors
/// The error of the handler.
pub async fn run_one<K, J: TestJob<K>>(job: J) -> Result<(), JobError> {
    TestRun::new().run_one(job).await
}

/// A job type that can be run by itself: every [`Job`] and every [`AsyncJob`]. The compiler infers `Kind`.
pub trait TestJob<Kind>: Pushable<Kind> {
    /// Registers the job.
    #[doc(hidden)]
    fn register(app: App) -> App;
}

impl<J: Job> TestJob<Blocking> for J {
    fn register(app: App) -> App {
        app.job::<J>()
    }
}

impl<J: AsyncJob> TestJob<Asynchronous> for J {
    fn register(app: App) -> App {
        app.async_job::<J>()
    }
}

/// A run of a handler with a custom [`Context`](crate::Context). The job passes through its payload and its middleware,
/// as in a worker; retries are up to the caller, who gets the error.
///
/// ```
/// use aint_queue::job::{RetryDecision, Outcome};
/// use aint_queue::testing::TestRun;
/// # use aint_queue::{AsyncJob, Context, JobError};
///
/// struct Templates(&'static str);
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet;
///
/// impl AsyncJob for Greet {
///     const NAME: &'static str = "greet";
///
///     async fn handle(self, ctx: &Context) -> Result<(), JobError> {
///         let Templates(greeting) = ctx.state();
///         match ctx.header("tenant") {
///             Some(tenant) => Ok(ctx.log("info", format!("{greeting}, {tenant}"))),
///             None => Err(JobError::never(format!("no tenant at attempt {}", ctx.attempt()))),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let run = || TestRun::new().attempt(2).state(Templates("hello"));
/// run().header("tenant", "a").run_one(Greet).await.unwrap();
///
/// let error = run().run_one(Greet).await.unwrap_err();
/// assert_eq!(error.message(), "no tenant at attempt 2");
/// assert!(matches!(error.outcome(), Outcome::Failed { next: RetryDecision::Never, .. }));
/// # }
/// ```
#[must_use = "nothing runs before run_one"]
pub struct TestRun {
    app: App,
    queue: TestQueue,
    id: JobId,
    terms: RunTerms,
    headers: BTreeMap<String, String>,
}

impl Default for TestRun {
    fn default() -> Self {
        Self::new()
    }
}

impl TestRun {
    /// A first of three attempts, without a time limit, headers or state.
    pub fn new() -> Self {
        Self {
            app: App::new(),
            queue: TestQueue::new(),
            id: JobId(1),
            terms: RunTerms { attempt: 1, max_attempts: 3, timeout: None, failure: None },
            headers: BTreeMap::new(),
        }
    }

    /// Runs the job inside this application: with its state and middleware.
    pub fn app(mut self, app: App) -> Self {
        self.app = app;
        self
    }

    /// Sets the number of the attempt, 1-based.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.terms.attempt = attempt;
        self
    }

    /// Sets the number of attempts.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.terms.max_attempts = attempts;
        self
    }

    /// Sets the id of the job.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// Sets the time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Shares a value with the handler, as [`App::state`] does.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.app = self.app.state(value);
        self
    }

    /// Sets the queue that receives follow-up jobs and decides claims.
    pub fn queue(mut self, queue: &TestQueue) -> Self {
        self.queue = queue.clone();
        self
    }

    /// Runs the job once.
    ///
    /// # Errors
    /// The error of the handler; [`JobError::outcome`] is the full outcome.
    ///
    /// # Panics
    /// When the job breaks a rule for payloads, or a shared state cannot be made.
    pub async fn run_one<K, J: TestJob<K>>(self, job: J) -> Result<(), JobError> {
        let payload = Payload::of(&job).unwrap_or_else(|error| panic!("the job cannot be run: {error}"));
        let registry = J::register(self.app).into_registry();
        let meta = JobMeta { headers: self.headers, ..JobMeta::named(J::NAME) };
        let handlers = handlers("the job", &registry, Policy::default(), None);
        let ran = async {
            let mut runner = self.queue.runner(&handlers).await?;
            let (outcome, _) = runner.deliver(self.id, &meta, payload, self.terms).await?;
            // The end of the owner releases its locks.
            runner.leave().await?;
            Ok::<_, StoreError>(outcome)
        };
        match ran.await {
            Ok(Outcome::Done) => Ok(()),
            Ok(outcome) => Err(JobError::from_outcome(outcome)),
            Err(error) => panic!("the job cannot be run: {}", crate::job::error_chain(&error)),
        }
    }
}

impl fmt::Debug for TestRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRun")
            .field("attempt", &self.terms.attempt)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
