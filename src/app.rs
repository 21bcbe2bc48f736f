//! The application's door: [`App`] is the whole command line with your jobs inside.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli;
use crate::guardian;
use crate::job::{AsyncJob, Job, Registry};
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

    /// Does what the command line says and answers with the exit code of the process.
    ///
    /// The master starts this same program again as guardian and as worker, so nothing with an effect should happen in
    /// `main` before this call.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let args: Vec<OsString> = std::env::args_os().collect();
        // Our own child processes come first: they are no commands, have no options and print no help.
        match args.get(1).and_then(|argument| argument.to_str()) {
            Some(WORKER_ARGUMENT) => worker::main(&self.registry),
            Some(guardian::ARGUMENT) => guardian::process_main(),
            _ => cli::main(self.registry, args),
        }
    }
}
