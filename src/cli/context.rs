//! State shared by all commands: global options, configuration, async runtime, terminal.

use std::cell::OnceCell;
use std::future::Future;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::failure::{Exit, Failure};
use super::global_options::GlobalOptions;
use super::log::{Log, LogFormat, LogOptions};
use super::other_store::OtherStore;
use super::program::Program;
use super::sanitize;
use crate::config::{Channel, Config, Driver, Handler, LogFile};
use crate::dangling_link::DanglingLink;
use crate::demo_jobs;
use crate::job::{JobId, Registry, Timestamp};
use crate::logging::LogFileSettings;
use crate::master;
use crate::queue::{OpenError, Queue};
use crate::store::model::Model;
use crate::store::{Store, StoreError};
use crate::trust;

/// Columns of a terminal that does not tell its size.
const USUAL_COLUMNS: usize = 80;
/// Rows of a terminal whose size is not known.
const USUAL_ROWS: usize = 24;

/// Context of one run of the command line.
pub(crate) struct CommandContext {
    globals: GlobalOptions,
    registry: Registry,
    program: Program,
    config: OnceCell<Config>,
    runtime: OnceCell<Runtime>,
    colours: bool,
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
            log: OnceCell::new(),
        };
        context.colours = context.colours_for(io::stdout().is_terminal());
        context
    }

    /// The same context in a program of another name.
    pub(super) fn of_program(self, program: Program) -> Self {
        Self { program, ..self }
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

    /// Whether standard output may contain colours.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// Whether a stream may contain colours; `terminal` says whether it is a terminal.
    pub(crate) fn colours_for(&self, terminal: bool) -> bool {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        colours(self.globals.ansi, self.globals.no_ansi, no_color, terminal)
    }

    /// The configuration, loaded at the first call. Prints its warnings only with `-v`; commands that check the
    /// configuration or start a master use [`CommandContext::checked_config`].
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::find(self.globals.config.as_deref()).map_err(Failure::config)?;
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

    /// The configuration; prints its warnings to standard error.
    pub(crate) fn checked_config(&self) -> Result<&Config, Failure> {
        let config = self.config()?;
        if self.globals.verbose == 0 {
            config.warnings.iter().for_each(|warning| self.warn(&warning.to_string()));
        }
        Ok(config)
    }

    /// The channel of a command that takes exactly one.
    pub(crate) fn channel(&self) -> Result<&Channel, Failure> {
        let name = match self.globals.channels.as_slice() {
            [] => return self.usual_channel("name one with --channel"),
            [name] => name,
            several => {
                return Err(Failure::new(Exit::Usage, "choose the channel")
                    .because(format!("{} channels are named, but this command takes one", several.len()))
                    .hint("give --channel once"));
            }
        };
        Ok(self.config()?.channel(name)?)
    }

    /// The channel of a command that names none: the only declared one, else `default`.
    fn usual_channel(&self, hint: &str) -> Result<&Channel, Failure> {
        let channels = &self.config()?.channels;
        let only = channels.values().next().filter(|_| channels.len() == 1);
        if let Some(channel) = only.or_else(|| channels.get("default")) {
            return Ok(channel);
        }
        let names: Vec<_> = channels.keys().map(String::as_str).collect();
        Err(Failure::new(Exit::Usage, "choose the channel")
            .because(format!("none is named, and the configuration declares several: {}", names.join(", ")))
            .hint(hint))
    }

    /// The channels of a command that takes several: all declared ones, the named ones, or the usual one.
    pub(crate) fn channels(&self, all: bool) -> Result<Vec<&Channel>, Failure> {
        self.channels_by(all, Some("--all"))
    }

    /// As [`CommandContext::channels`], for a command whose option for all channels has another name, or that has none.
    pub(crate) fn channels_by(&self, all: bool, option: Option<&str>) -> Result<Vec<&Channel>, Failure> {
        let config = self.config()?;
        if all {
            // Channels of the sync driver have no stored jobs and no master.
            let kept: Vec<_> =
                config.channels.values().filter(|channel| channel.driver != Driver::Sync).collect();
            if kept.is_empty() {
                return Err(Failure::new(Exit::Usage, "find a channel")
                    .because("every declared channel uses the driver \"sync\", which stores no jobs"));
            }
            return Ok(kept);
        }
        let chosen = self.named(self.globals.channels.iter().map(String::as_str))?;
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let hint = match option {
            Some(option) => format!("name channels with --channel, or take all with {option}"),
            None => "name channels with --channel".to_owned(),
        };
        Ok(vec![self.usual_channel(&hint)?])
    }

    /// The channels with these names, without duplicates.
    pub(crate) fn named<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<&Channel>, Failure> {
        let mut chosen: Vec<&Channel> = Vec::new();
        for name in names {
            let channel = self.config()?.channel(name)?;
            if !chosen.iter().any(|known| known.name == channel.name) {
                chosen.push(channel);
            }
        }
        Ok(chosen)
    }

    /// Whether the command line names a channel.
    pub(crate) fn names_channel(&self) -> bool {
        !self.globals.channels.is_empty()
    }

    /// The declared channels other than `searched` that have the job; a store that cannot be read is skipped.
    pub(crate) fn other_channels_with(&self, id: JobId, searched: &Channel) -> Vec<&Channel> {
        let Ok(config) = self.config() else { return Vec::new() };
        let others = config.channels.values().filter(|channel| channel.name != searched.name);
        let has_job = |channel: &&Channel| {
            channel.driver != Driver::Sync
                && self
                    .call_store(channel, "find the job", async |store| store.get(id).await)
                    .is_ok_and(|job| job.is_some())
        };
        others.filter(has_job).collect()
    }

    /// The remedy for a command that did not find a job in its channel, when another one has the job.
    pub(crate) fn hint_of_channel(&self, id: JobId, searched: &Channel) -> Option<String> {
        let others = self.other_channels_with(id, searched);
        let options: Vec<_> = others.iter().map(|channel| format!("--channel {}", channel.name)).collect();
        let (first, more) = options.split_first()?;
        let more: String = more.iter().map(|option| format!(" or {option}")).collect();
        Some(format!("another channel has job {id}: use {first}{more}"))
    }

    /// The channel in which a command about one job looks: the one that it names, else the only one that has the job. `searched` is
    /// the usual channel, which does not have it.
    pub(crate) fn channel_with<'a>(&'a self, id: JobId, searched: &'a Channel) -> &'a Channel {
        if self.names_channel() {
            return searched;
        }
        match self.other_channels_with(id, searched).as_slice() {
            [only] => only,
            _ => searched,
        }
    }

    /// Columns of the terminal that standard output is; `None` for a pipe or a file, in which nothing is cut.
    pub(crate) fn columns(&self) -> Option<usize> {
        let terminal = io::stdout().is_terminal();
        let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let measured =
            || terminal_size::terminal_size().map_or(USUAL_COLUMNS, |(width, _)| usize::from(width.0));
        terminal.then(|| set.unwrap_or_else(measured))
    }

    /// Rows of the terminal that standard output is.
    pub(crate) fn rows() -> usize {
        terminal_size::terminal_size().map_or(USUAL_ROWS, |(_, height)| usize::from(height.0))
    }

    /// Opens a channel for pushing; with the sync driver, pushes run the jobs of this binary.
    pub(crate) fn queue(&self, channel: &Channel) -> Result<Queue, Failure> {
        let mut registry = self.registry.clone();
        if self.program.has_demo_jobs && !channel.worker.demo_jobs {
            demo_jobs::switch_off(&mut registry);
        }
        let opened = self.block_on(crate::in_process::queue(&registry, self.config()?, &channel.name));
        let doing = format!("open channel \"{}\"", channel.name);
        opened.map_err(|error| match error {
            OpenError::Undeclared(error) => error.into(),
            OpenError::Store(error) => Failure::store(doing, error),
            error => Failure::new(Exit::Failed, doing).because(error),
        })
    }

    /// As [`CommandContext::queue`], for the commands that push. Without a configuration the store depends on the current directory:
    /// a note tells that a new one was created, which no master of another directory serves.
    pub(crate) fn queue_for_push(&self, channel: &Channel) -> Result<Queue, Failure> {
        let is_new = self.config()?.file.is_none() && Self::is_store_missing(channel);
        let queue = self.queue(channel)?;
        if let (true, Driver::Sqlite { path, .. }) = (is_new, &channel.driver) {
            self.note(&format!(
                "created the store \"{}\", because no configuration file was found",
                path.display()
            ));
        }
        Ok(queue)
    }

    /// Opens a channel's store.
    pub(crate) fn store(&self, channel: &Channel) -> Result<Arc<dyn Store>, Failure> {
        let doing = format!("open channel \"{}\"", channel.name);
        if channel.driver == Driver::Sync {
            return Err(Failure::new(Exit::Usage, doing).because(
                "its driver \"sync\" stores no jobs: queue:push runs a job at once and prints the result",
            ));
        }
        let opened = self.block_on(crate::store::open(&channel.driver, &channel.name));
        opened.map_err(|error| Failure::store(doing, error))
    }

    /// Whether a channel has no store yet, because nothing was pushed: its SQLite file does not exist.
    pub(crate) fn is_store_missing(channel: &Channel) -> bool {
        let Driver::Sqlite { path, .. } = &channel.driver else { return false };
        match std::fs::metadata(path) {
            Ok(found) => found.is_file() && found.len() == 0,
            // A link without a target is a mistake, which opening the store reports.
            Err(error) => error.kind() == io::ErrorKind::NotFound && DanglingLink::find(path).is_none(),
        }
    }

    /// Opens a channel's store for a command that adds nothing: a missing store is an empty one, and stays missing.
    pub(crate) fn existing_store(&self, channel: &Channel) -> Result<Arc<dyn Store>, Failure> {
        if Self::is_store_missing(channel) {
            Ok(Arc::new(Model::at(Timestamp(0))))
        } else {
            self.store(channel)
        }
    }

    /// Calls the store of a channel once, for a command that adds nothing. `doing` completes the phrase "could not ...".
    pub(crate) fn call_store<T>(
        &self,
        channel: &Channel,
        doing: impl Into<String>,
        call: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, Failure> {
        let store = self.existing_store(channel)?;
        self.block_on(call(&*store)).map_err(|error| Failure::store(doing, error))
    }

    /// Checks before a change of a channel's jobs that the master on this machine serves the same store: jobs in another one
    /// would wait for ever. `doing` completes the phrase "could not ...".
    pub(crate) fn check_store(&self, channel: &Channel, doing: &str) -> Result<(), Failure> {
        match OtherStore::of(channel, &master::presence(channel)) {
            Some(other) if other.refuses_changes() => Err(other.failure(doing)),
            other => {
                self.warn_of_other_store(other.as_ref());
                Ok(())
            }
        }
    }

    /// Warns before a look at a channel's jobs when the master on this machine serves another store.
    pub(crate) fn note_store(&self, channel: &Channel) {
        self.warn_of_other_store(OtherStore::of(channel, &master::presence(channel)).as_ref());
    }

    fn warn_of_other_store(&self, other: Option<&OtherStore>) {
        if let Some(other) = other {
            self.warn(&format!("{}: {}", other.clause(), other.remedy()));
        }
    }

    /// Fails for a channel of the sync driver, which has no jobs for a master to run.
    pub(crate) fn check_served(channel: &Channel, doing: &str) -> Result<(), Failure> {
        if channel.driver != Driver::Sync {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, doing).because(format!(
            "channel \"{}\" has no stored jobs: its driver \"sync\" runs jobs at the push",
            channel.name
        )))
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

    /// Warns when a job has no handler in this binary although the channel runs jobs of the master's binary. A warning only,
    /// because the master may be another binary than the producer.
    pub(crate) fn warn_of_missing_handler(&self, channel: &Channel, name: &str) {
        let names: Vec<_> = self.registry.names().collect();
        if names.contains(&name) || names.is_empty() || channel.worker.handler != Handler::Registered {
            return;
        }
        self.warn(&format!(
            "this program has no handler for \"{}\" (registered: {}); the job fails as unknown_job unless another program \
             with a handler serves the channel",
            sanitize::line(name),
            names.join(", ")
        ));
    }

    /// Whether this program has jobs that the channel may run. The demo jobs of the `aint-queue` binary count where they are on.
    fn has_handlers(&self, channel: &Channel) -> bool {
        let has_demo_jobs_only = self.program.has_demo_jobs;
        self.registry.names().next().is_some() && (!has_demo_jobs_only || channel.worker.demo_jobs)
    }

    /// Warns of a channel that this program is to serve and whose jobs nothing runs.
    pub(crate) fn warn_of_no_handlers(&self, channel: &Channel) {
        if channel.worker.handler == Handler::Registered && !self.has_handlers(channel) {
            self.warn(&format!(
                "channel \"{}\" has nothing to run jobs with, and each job will fail: set worker.command or worker.url, or \
                 worker.demo_jobs = true for a trial",
                channel.name
            ));
        }
    }

    /// Prints to standard output, except with `--quiet`.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        if self.globals.quiet { Ok(()) } else { write_out(text) }
    }

    /// Prints JSON to standard output, even with `--quiet`.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        write_out(&format!("{}\n", sanitize::json(value)))
    }

    /// Prints a result that is JSON or text already; with `--quiet` only JSON.
    pub(crate) fn print_result(&self, shown: &str) -> Result<(), Failure> {
        if self.json() { write_out(shown) } else { self.print(shown) }
    }

    /// Prints a result, as JSON or as text.
    pub(crate) fn show(&self, json: &impl serde::Serialize, text: &str) -> Result<(), Failure> {
        if self.json() { self.print_json(json) } else { self.print(text) }
    }

    /// Reports all failures but the last, which becomes the result of the command.
    pub(crate) fn finish(&self, mut failures: Vec<Failure>) -> Result<(), Failure> {
        let Some(last) = failures.pop() else { return Ok(()) };
        failures.iter().for_each(|failure| self.report(failure));
        Err(last)
    }

    /// Prints a note to standard error, except with `--quiet`.
    pub(crate) fn note(&self, message: &str) {
        self.print_labelled("note", message);
    }

    /// Prints a warning to standard error, except with `--quiet`.
    pub(crate) fn warn(&self, message: &str) {
        self.print_labelled("warning", message);
    }

    /// Prints a failure to standard error.
    pub(crate) fn report(&self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if let Some(log) = self.log.get() {
            return log.message("error", &failure.message(), failure.remedy());
        }
        let label = if self.colours { "\x1b[1;31merror\x1b[0m" } else { "error" };
        print_error(&format!("{label}: {}", sanitize::lines(&failure.to_string())));
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

    /// Asks for confirmation on the terminal; "no" is a failure. Without a terminal, or with `--no-interaction`, only `--yes`
    /// confirms.
    pub(crate) fn confirm(
        &self,
        doing: &str,
        question: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.globals.yes {
            return Ok(());
        }
        if self.globals.no_interaction || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::new(Exit::Usage, doing)
                .because("it cannot be undone and needs a confirmation")
                .hint("add --yes to confirm"));
        }
        let question = question()?;
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{question} [y/N] ")
            .and_then(|()| io::stderr().flush())
            .and_then(|()| io::stdin().lock().read_line(&mut answer));
        asked.map_err(|error| Failure::new(Exit::Failed, "ask for confirmation").because(error))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, doing).because("the answer was no")),
        }
    }

    fn print_labelled(&self, label: &str, message: &str) {
        if self.globals.quiet {
            return;
        }
        match self.log.get() {
            Some(log) => log.message(label, message, None),
            None => print_error(&format!("{label}: {}", sanitize::lines(message))),
        }
    }
}

/// Whether to use colours. Options take precedence over the environment, and the environment over the terminal.
fn colours(ansi: bool, no_ansi: bool, no_color: bool, terminal: bool) -> bool {
    match (ansi, no_ansi) {
        (_, true) => false,
        (true, false) => true,
        (false, false) => terminal && !no_color,
    }
}

fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent()),
        written => written.map_err(|e| Failure::new(Exit::Failed, "write to standard output").because(e)),
    }
}

/// Writes a line to standard error. A write error has no remedy, because there is no other place to report it.
fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
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

    #[test]
    fn color_option_precedes_environment_and_terminal() {
        assert!(colours(true, false, true, false));
        assert!(!colours(false, true, false, true));
        assert!(colours(false, false, false, true));
        assert!(!colours(false, false, true, true));
        assert!(!colours(false, false, false, false));
    }
}
