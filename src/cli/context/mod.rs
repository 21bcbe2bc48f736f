//! State shared by all commands: global options, configuration, async runtime, terminal.

mod channels;
mod output;
mod stores;

use std::cell::OnceCell;
use std::future::Future;
use std::io::{self, IsTerminal};

use tokio::runtime::Runtime;

use crate::cli::failure::{Exit, Failure};
use crate::cli::global_options::GlobalOptions;
use crate::cli::log::{Log, LogFormat, LogOptions};
use crate::cli::program::Program;
use crate::cli::recorded_masters;
use crate::config::{Config, ConfigError, LogFile};
use crate::job::Registry;
use crate::logging::LogFileSettings;
use crate::trust;

/// Context of one run of the command line.
pub(crate) struct CommandContext {
    globals: GlobalOptions,
    registry: Registry,
    program: Program,
    config: OnceCell<Config>,
    runtime: OnceCell<Runtime>,
    colours: bool,
    /// Whether the command controls running masters, and does so without a valid configuration.
    controls_masters: bool,
    /// Whether the command changes jobs or masters, so that its result must reach its user.
    is_change: bool,
    /// The log of a command that runs jobs, which then also takes notes, warnings and failures.
    log: OnceCell<Log>,
}

impl CommandContext {
    pub(super) fn new(globals: GlobalOptions, registry: Registry) -> Self {
        if globals.trust_files {
            trust::insist();
        }
        let mut context = Self {
            globals,
            registry,
            program: Program::default(),
            config: OnceCell::new(),
            runtime: OnceCell::new(),
            colours: false,
            controls_masters: false,
            is_change: false,
            log: OnceCell::new(),
        };
        context.colours = context.colours_for(io::stdout().is_terminal());
        context
    }

    /// The same context in a program of another name.
    pub(super) fn of_program(self, program: Program) -> Self {
        Self { program, ..self }
    }

    /// The same context for a command that controls running masters, even if the configuration is broken.
    pub(super) fn of_control(self, controls_masters: bool) -> Self {
        Self { controls_masters, ..self }
    }

    /// The same context for a command that changes jobs or masters.
    pub(super) fn of_change(self, is_change: bool) -> Self {
        Self { is_change, ..self }
    }

    /// A context for another thread of the command, which prints neither notes nor warnings.
    #[cfg(feature = "top")]
    pub(super) fn silent_twin(&self) -> Self {
        let globals = GlobalOptions { quiet: true, verbose: 0, ..self.globals.clone() };
        let twin = Self::new(globals, self.registry.clone()).of_program(self.program.clone());
        // The twin serves what this context was started with.
        if let Some(config) = self.config.get() {
            let _ = twin.config.set(config.clone());
        }
        twin
    }

    /// The program that runs.
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// The jobs registered in this binary.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Fails when two registered jobs have the same name.
    pub(crate) fn check_registry(&self) -> Result<(), Failure> {
        let wrong = |error| Failure::new(Exit::Failed, "register the jobs of this program").because(error);
        self.registry.check().map_err(|error| wrong(error.to_string()))
    }

    /// Whether to print JSON.
    pub(crate) fn json(&self) -> bool {
        self.globals.json
    }

    pub(crate) fn quiet(&self) -> bool {
        self.globals.quiet
    }

    /// The configuration, loaded at the first call. Prints its warnings only with `-v`; commands that check the
    /// configuration or start a master use [`CommandContext::checked_config`].
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = match Config::find(self.globals.config.as_deref()) {
            Ok(config) => config,
            Err(error) => self.recorded_config(error)?,
        };
        let config = self.config.get_or_init(|| config);
        if let (Some(used), Some(ignored)) = (&config.file, &config.ignored) {
            self.warn(&format!(
                "two configuration files are here: {} is used, {} is not; remove one, or name one with --config",
                used.display(),
                ignored.display()
            ));
        }
        if self.globals.verbose > 0 {
            match &config.file {
                Some(file) => self.note(&format!("configuration: {}", file.display())),
                None => self.note("configuration: built in, because no file was found"),
            }
            config.warnings.iter().for_each(|warning| self.warn(&warning.to_string()));
        }
        Ok(config)
    }

    /// The part of the configuration that running masters have recorded, for a command that controls them while their file cannot be
    /// used.
    fn recorded_config(&self, error: ConfigError) -> Result<Config, Failure> {
        let Some(file) = error.file() else { return Err(Failure::config(error)) };
        let masters = recorded_masters::masters_of(file);
        if masters.is_empty() {
            return Err(Failure::config(error));
        }
        match recorded_masters::configuration(file, &masters).filter(|_| self.controls_masters) {
            Some(config) => {
                self.warn(&format!(
                    "{}\nusing the store and run directory recorded by {}, which keeps serving with the previous configuration",
                    error.with_causes(),
                    recorded_masters::listed(&masters)
                ));
                Ok(config)
            }
            None => Err(Failure::config(error).hint(recorded_masters::remedy(&masters))),
        }
    }

    /// The configuration; prints its warnings to standard error.
    pub(crate) fn checked_config(&self) -> Result<&Config, Failure> {
        let config = self.config()?;
        if self.globals.verbose == 0 {
            config.warnings.iter().for_each(|warning| self.warn(&warning.to_string()));
        }
        Ok(config)
    }

    /// Runs a future on the runtime of this context. A store's connections belong to the runtime that opened it, so there
    /// is only one.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs only memory and an epoll descriptor")
        });
        runtime.block_on(future)
    }

    /// Starts the log of a command that runs jobs; see [`Log::start`].
    pub(crate) fn start_log(
        &self,
        format: LogFormat,
        usual: &str,
        file: Option<LogFileSettings>,
    ) -> Result<&Log, Failure> {
        let options = LogOptions {
            format,
            usual,
            verbose: self.globals.verbose,
            quiet: self.globals.quiet,
            colours: self.colours_for(io::stderr().is_terminal()),
        };
        let (log, failure) = match Log::start(&options, file) {
            Ok(log) => (log, None),
            // The failure itself is a message of the log.
            Err(failure) => (Log::start(&options, None)?, Some(failure)),
        };
        let log = self.log.get_or_init(|| log);
        failure.map_or(Ok(log), Err)
    }

    /// The log file of the configuration; `None` when there is none or the configuration is wrong, which the next use reports.
    pub(crate) fn log_file(&self) -> Option<LogFileSettings> {
        let config = Config::find(self.globals.config.as_deref()).ok()?;
        let LogFile { file, max_bytes, keep } = config.log?;
        Some(LogFileSettings { path: file, max_bytes, keep })
    }

    /// Writes what is left of the log, with a deadline. Later messages go to standard error directly.
    pub(crate) fn end_log(&self) {
        if let Some(log) = self.log.get() {
            log.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::demo_jobs::Noop;

    #[test]
    fn duplicate_job_names_are_refused_first() {
        let mut registry = Registry::default();
        registry.add_async::<Noop>();
        assert!(CommandContext::new(GlobalOptions::default(), registry.clone()).check_registry().is_ok());
        registry.add_async::<Noop>();
        let failure = CommandContext::new(GlobalOptions::default(), registry).check_registry().unwrap_err();
        assert!(failure.to_string().contains("two job types are registered as \"noop\""), "{failure}");
    }
}
