//! [`App`]: registers the jobs of a program and runs its command line.

#[cfg(feature = "server")]
use std::ffi::OsString;
use std::future::Future;
#[cfg(feature = "server")]
use std::path::Path;
#[cfg(feature = "server")]
use std::process::ExitCode;
#[cfg(feature = "server")]
use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;

use crate::config::Config;
use crate::in_process;
use crate::job::{AsyncJob, Job, JobCall, JobError, JobService, Registry};
use crate::queue::{OpenError, Queue};
#[cfg(feature = "server")]
use crate::snapshot::{NamedHandler, SnapshotHandler};
#[cfg(feature = "server")]
use crate::{cli, demo_jobs, guardian, webhook, worker};

/// A program with your jobs and the command line of aint-queue.
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
    version: Option<String>,
    /// The demo jobs are registered.
    #[cfg(feature = "server")]
    has_demo_jobs: bool,
    #[cfg(feature = "server")]
    snapshot_handlers: Vec<NamedHandler>,
}

/// First argument that makes this program run as a worker.
#[cfg(feature = "server")]
pub const WORKER_ARGUMENT: &str = "__worker";

impl App {
    /// An application without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The version that `--version` prints, beside that of aint-queue: `env!("CARGO_PKG_VERSION")` is that of your package. The
    /// name of the program is the name under which it was started.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
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

    /// Shares a value with all handlers, which read it by its type with [`Context::state`](crate::Context::state). Each
    /// worker process has its own copy. Wrap it in an [`Arc`](std::sync::Arc) if clones must be cheap, in a lock if it
    /// changes.
    ///
    /// `main` runs for every command and in every process: use [`App::state_with`] for state that is expensive to create.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.registry.add_state(value);
        self
    }

    /// Shares the result of `make` with all handlers. `make` is called once in each process that runs jobs, inside its
    /// runtime. On an error the worker does not start and reports the error; the master retries with growing delays.
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

    /// Wraps every job in a tower layer; the first layer added is the outermost. [`middleware`](crate::middleware) has
    /// layers made for jobs.
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

    /// Wraps every job in a function that receives the run and the service that would run it. Layers and functions nest in
    /// the order in which they are added.
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

    /// Registers a handler of snapshots, beside those of `job_snapshot.handler`: the master passes to it the state of each channel that
    /// it serves, once per `job_snapshot.interval`. `name` is its name in the log and in metrics: 1 to 60 of the characters `A-Z a-z 0-9 _ - .`,
    /// another one for each handler, and not of the form `webhook-1`, which handlers of the configuration have. A master does not start
    /// with another name.
    ///
    /// ```
    /// use aint_queue::{App, HandlerError, Snapshot, SnapshotHandler};
    ///
    /// struct Backlog;
    ///
    /// impl SnapshotHandler for Backlog {
    ///     async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
    ///         if snapshot.status.waiting > 1_000 {
    ///             eprintln!("{} jobs wait in {}", snapshot.status.waiting, snapshot.channel);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new().snapshot_handler("backlog", Backlog);
    /// ```
    #[cfg(feature = "server")]
    #[must_use]
    pub fn snapshot_handler(mut self, name: impl Into<String>, handler: impl SnapshotHandler) -> Self {
        let name: String = name.into();
        self.snapshot_handlers.push(NamedHandler { name: name.into(), handler: Arc::new(handler) });
        self
    }

    /// Opens a declared channel for pushing, with any driver.
    ///
    /// With `driver.type = "sync"`, a push runs the job in this process and returns when the job has ended. The job must be
    /// registered in this application. Use this driver for development, scripts, and tests of a whole program:
    ///
    /// - Attempts follow each other without delay. Neither the delay of the push, nor that between attempts, nor that of a
    ///   released job is waited for.
    /// - A job that fails for good runs its failed callback, then the push returns
    ///   [`PushError::Failed`](crate::store::PushError::Failed) with the last error.
    /// - Jobs pushed by a job run before that inner push returns.
    /// - Unique keys, locks and rates apply within one opened queue and its clones.
    /// - A blocking job that exceeds its time limit cannot be killed: it is asked to end and waited for. It counts as timed
    ///   out, unless it is done.
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

    /// Registers the demo jobs of the `aint-queue` binary.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    #[must_use]
    pub fn demo_jobs(mut self) -> Self {
        demo_jobs::register(&mut self.registry);
        self.has_demo_jobs = true;
        self
    }

    /// The registered jobs.
    pub(crate) fn into_registry(self) -> Registry {
        self.registry
    }

    /// Runs the command line and returns the exit code of the process.
    ///
    /// The master starts the same program again as guardian and as worker, so `main` must not have side effects before this
    /// call.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn run(mut self) -> ExitCode {
        let args: Vec<_> = std::env::args_os().collect();
        // Child processes of the master are no commands: they have no options and no help.
        match args.get(1).and_then(|argument| argument.to_str()) {
            Some(WORKER_ARGUMENT) => {
                if self.has_demo_jobs && args.get(2).is_none_or(|argument| argument != demo_jobs::ON_ARGUMENT)
                {
                    demo_jobs::switch_off(&mut self.registry);
                }
                worker::main(&self.registry)
            }
            Some(demo_jobs::WORKER_ARGUMENT) => demo_jobs::worker_main(),
            Some(webhook::WORKER_ARGUMENT) => webhook::main(),
            Some(guardian::ARGUMENT) => guardian::process_main(),
            _ => {
                let name = program_name(args.first());
                let Self { version, has_demo_jobs, snapshot_handlers, .. } = self;
                let program = cli::Program { name, version, has_demo_jobs, snapshot_handlers };
                cli::main(program, self.registry, args)
            }
        }
    }
}

/// The name under which a program was started, without its directory.
#[cfg(feature = "server")]
fn program_name(first_argument: Option<&OsString>) -> String {
    let name = first_argument.and_then(|path| Path::new(path).file_name());
    name.map_or_else(|| "aint-queue".to_owned(), |name| name.to_string_lossy().into_owned())
}
