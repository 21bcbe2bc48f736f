//! The application's door: [`App`] is the whole command line with your jobs inside.

#[cfg(feature = "server")]
use std::ffi::OsString;
use std::future::Future;
#[cfg(feature = "server")]
use std::process::ExitCode;

use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "server")]
use crate::cli;
use crate::config::Config;
#[cfg(feature = "server")]
use crate::guardian;
use crate::in_process;
use crate::job::{AsyncJob, Job, JobCall, JobError, JobService, Registry};
use crate::queue::{OpenError, Queue};
#[cfg(feature = "server")]
use crate::webhook;
#[cfg(feature = "server")]
use crate::worker;

/// The whole command line of aint-queue with your jobs inside.
///
/// ```no_run
/// use std::process::ExitCode;
/// use aint_queue::{App, Context, Job, JobError};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendEmail { to: String }
///
/// impl Job for SendEmail {
///     const NAME: &'static str = "send_email";
///     fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
/// }
///
/// fn main() -> ExitCode { App::new().job::<SendEmail>().run() }
/// ```
#[derive(Default)]
pub struct App {
    registry: Registry,
}

/// The first argument of a process that runs the jobs registered in this binary.
#[cfg(feature = "server")]
pub const WORKER_ARGUMENT: &str = "__worker";

impl App {
    /// An application without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a blocking job.
    #[must_use]
    pub fn job<J: Job>(mut self) -> Self {
        self.registry.add::<J>();
        self
    }

    /// Registers an asynchronous job.
    #[must_use]
    pub fn async_job<J: AsyncJob>(mut self) -> Self {
        self.registry.add_async::<J>();
        self
    }

    /// Shares a value with all handlers, which find it by its type: [`Context::state`](crate::Context::state). Put it
    /// in an [`Arc`](std::sync::Arc) if it shall be cloned cheaply, in a lock if it changes. Each worker process has its
    /// own.
    ///
    /// `main` runs for every command and in every process: what is expensive to make goes into [`App::state_with`].
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.registry.add_state(value);
        self
    }

    /// Shares what `make` answers, called once in each process that runs jobs, inside its runtime. A worker whose state
    /// cannot be made does not start, says why, and is tried again with growing pauses.
    ///
    /// ```
    /// # use aint_queue::App;
    /// struct Templates(String);
    ///
    /// let app = App::new().state_with(|| std::fs::read_to_string("mail.txt").map(Templates));
    /// ```
    #[must_use]
    pub fn state_with<T, E>(mut self, make: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.registry.add_state_with(make);
        self
    }

    /// Puts a tower layer around every job; the first one given is the outermost. [`middleware`](crate::middleware) has
    /// some made for jobs.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<JobService> + Clone + Send + Sync + 'static,
        L::Service: Service<JobCall, Response = ()> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobCall>>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        <L::Service as Service<JobCall>>::Future: Send,
    {
        self.registry.add_layer(move |service| service.with(layer.clone()));
        self
    }

    /// Puts a function around every job: it gets each run and what would run it. Layers and functions nest in the
    /// order they are given.
    ///
    /// ```
    /// # use aint_queue::App;
    /// let app = App::new().middleware(|call, next| async move {
    ///     let ctx = call.ctx().clone();
    ///     ctx.log("debug", format!("{} begins", ctx.job()));
    ///     next.run(call).await
    /// });
    /// ```
    #[must_use]
    pub fn middleware<F, R>(mut self, around: F) -> Self
    where
        F: Fn(JobCall, JobService) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        self.registry.add_layer(move |service| service.wrap(around.clone()));
        self
    }

    /// Opens a declared channel for pushing, whatever its driver.
    ///
    /// With `driver.type = "sync"` a push runs the job, which must be one of this application, and answers when it has ended:
    /// for development, for scripts, for tests of a whole program. Attempts follow each other and delays are not waited for:
    /// neither the one of the push, nor that between attempts, nor that of a job that hands itself back. A job that failed
    /// for good, after its failed callback, makes the push an error that carries its last error
    /// ([`PushError::Failed`](crate::store::PushError::Failed)). Follow-up jobs run before the push of them answers the job.
    /// Unique keys, locks and rates hold within one opened queue and its clones. A blocking job that runs longer than its
    /// limit cannot be killed: it is asked to end, waited for, and then counts as timed out, unless it is done.
    ///
    /// ```
    /// use aint_queue::store::PushError;
    /// use aint_queue::{App, Config, Context, Job, JobError};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Divide { by: i32 }
    ///
    /// impl Job for Divide {
    ///     const NAME: &'static str = "divide";
    ///
    ///     fn handle(self, _: &Context) -> Result<(), JobError> {
    ///         1_i32.checked_div(self.by).map(drop).ok_or_else(|| JobError::never("divided by zero"))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::parse("[channels.default.driver]\ntype = \"sync\"", "aint-queue.toml")?;
    /// let queue = App::new().job::<Divide>().queue(&config, "default").await?;
    /// queue.push(&Divide { by: 2 }).await?;
    /// let error = queue.push(&Divide { by: 0 }).await.unwrap_err();
    /// assert!(matches!(&error, PushError::Failed { failure, .. } if failure.error == "divided by zero"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Queue::open`]; for a channel of the `sync` driver, when two jobs have one name or the shared state cannot be made.
    pub async fn queue(&self, config: &Config, channel: &str) -> Result<Queue, OpenError> {
        in_process::queue(&self.registry, config, channel).await
    }

    /// The jobs.
    pub(crate) fn into_registry(self) -> Registry {
        self.registry
    }

    /// Does what the command line says and answers with the exit code of the process.
    ///
    /// The master starts this same program again as guardian and as worker, so nothing with an effect should happen in
    /// `main` before this call.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn run(self) -> ExitCode {
        let args: Vec<OsString> = std::env::args_os().collect();
        // Our own child processes come first: they are no commands, have no options and print no help.
        match args.get(1).and_then(|argument| argument.to_str()) {
            Some(WORKER_ARGUMENT) => worker::main(&self.registry),
            Some(webhook::WORKER_ARGUMENT) => webhook::main(),
            Some(guardian::ARGUMENT) => guardian::process_main(),
            _ => cli::main(self.registry, args),
        }
    }
}
