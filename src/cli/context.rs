//! What every command shares: options, configuration, the runtime, the terminal.

use std::cell::OnceCell;
use std::future::Future;
use std::io::{self, BufRead, IsTerminal, Write};

use tokio::runtime::Runtime;

use super::{Exit, Failure, Globals, sanitize};
use crate::config::{Channel, Config, Driver};
use crate::job::Registry;
use crate::queue::{OpenError, Queue};

/// One run of the command line.
pub(crate) struct CommandContext {
    globals: Globals,
    registry: Registry,
    config: OnceCell<Config>,
    runtime: OnceCell<Runtime>,
    colours: bool,
}

impl CommandContext {
    pub(crate) fn new(globals: Globals, registry: Registry) -> Self {
        let mut context =
            Self { globals, registry, config: OnceCell::new(), runtime: OnceCell::new(), colours: false };
        context.colours = context.colours_for(io::stdout().is_terminal());
        context
    }

    /// The jobs of this binary.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Refuses to go on with jobs that cannot be told apart.
    pub(crate) fn check_registry(&self) -> Result<(), Failure> {
        let wrong = |error| Failure::new(Exit::Failed, "register the jobs of this program").because(error);
        self.registry.check().map_err(|error| wrong(error.to_string()))
    }

    pub(crate) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// Whether the answer is for a program.
    pub(crate) fn json(&self) -> bool {
        self.globals.json
    }

    pub(crate) fn quiet(&self) -> bool {
        self.globals.quiet
    }

    /// Whether the output may hold colours.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// Whether a stream that is or is no terminal may get colours.
    pub(crate) fn colours_for(&self, terminal: bool) -> bool {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        colours(self.globals.ansi, self.globals.no_ansi, no_color, terminal)
    }

    /// The configuration, loaded at the first call. Its warnings are for those who check it and start something by it;
    /// others, who may ask every second, see them with `-v`.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::find(self.globals.config.as_deref()).map_err(Failure::config)?;
        let config = self.config.get_or_init(|| config);
        if self.globals.verbose > 0 {
            self.warn_of(config);
        }
        Ok(config)
    }

    /// The configuration and, on standard error, what is allowed in it and likely not meant.
    pub(crate) fn checked_config(&self) -> Result<&Config, Failure> {
        let config = self.config()?;
        if self.globals.verbose == 0 {
            self.warn_of(config);
        }
        Ok(config)
    }

    fn warn_of(&self, config: &Config) {
        for warning in &config.warnings {
            self.warn(&warning.to_string());
        }
    }

    /// The one channel this command is about.
    pub(crate) fn channel(&self) -> Result<&Channel, Failure> {
        let name = match self.globals.channels.as_slice() {
            [] => "default",
            [name] => name,
            several => {
                return Err(Failure::new(Exit::Usage, "choose the channel")
                    .because(format!("{} channels are named, this command takes one", several.len()))
                    .hint("give --channel once"));
            }
        };
        Ok(self.config()?.channel(name)?)
    }

    /// The channels this command is about: all, those that are named, or `default`.
    pub(crate) fn channels(&self, all: bool) -> Result<Vec<&Channel>, Failure> {
        let config = self.config()?;
        if all {
            // Those of the sync driver have nothing to serve and nothing to show.
            let kept = config.channels.values().filter(|channel| channel.driver != Driver::Sync);
            let kept: Vec<_> = kept.collect();
            if kept.is_empty() {
                return Err(Failure::new(Exit::Usage, "find a channel")
                    .because("every declared channel has the driver \"sync\", which keeps nothing"));
            }
            return Ok(kept);
        }
        let chosen = self.named(self.globals.channels.iter().map(String::as_str))?;
        Ok(if chosen.is_empty() { vec![config.channel("default")?] } else { chosen })
    }

    /// The channels with these names, each once.
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

    /// Opens a channel for pushing; one of the sync driver runs the jobs of this binary.
    pub(crate) fn queue(&self, channel: &Channel) -> Result<Queue, Failure> {
        let opened = self.block_on(crate::in_process::queue(&self.registry, self.config()?, &channel.name));
        let doing = format!("open channel \"{}\"", channel.name);
        opened.map_err(|error| match error {
            OpenError::Undeclared(error) => error.into(),
            OpenError::Store(error) => Failure::store(doing, error),
            error => Failure::new(Exit::Failed, doing).because(error),
        })
    }

    /// Opens a channel's store.
    pub(crate) fn store(
        &self,
        channel: &Channel,
    ) -> Result<std::sync::Arc<dyn crate::store::Store>, Failure> {
        let doing = format!("open channel \"{}\"", channel.name);
        if channel.driver == Driver::Sync {
            return Err(Failure::new(Exit::Usage, doing).because(
                "its driver is \"sync\", which keeps nothing: queue:push runs the job and tells its end",
            ));
        }
        let opened = self.block_on(crate::store::open(&channel.driver, &channel.name));
        opened.map_err(|error| Failure::store(doing, error))
    }

    /// Refuses a command that serves channels when there is nothing to serve.
    pub(crate) fn check_served(channel: &Channel, doing: &str) -> Result<(), Failure> {
        if channel.driver != Driver::Sync {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, doing).because(format!(
            "there is nothing to listen to on channel \"{}\": its driver is \"sync\", which runs jobs where they are pushed",
            channel.name
        )))
    }

    /// Runs a future on the one runtime of this run: a store keeps its connections on the runtime that opened it.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs only memory and an epoll descriptor")
        });
        runtime.block_on(future)
    }

    /// Prints to standard output, unless quiet.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        if self.globals.quiet { Ok(()) } else { write_out(text) }
    }

    /// Prints JSON to standard output, also when quiet: who asks for it wants it.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        write_out(&format!("{}\n", sanitize::json(value)))
    }

    /// Says on standard error what is worth knowing and no failure, unless quiet.
    pub(crate) fn note(&self, message: &str) {
        self.say("note", message);
    }

    /// Warns on standard error, unless quiet.
    pub(crate) fn warn(&self, message: &str) {
        self.say("warning", message);
    }

    /// Reports the failure that ends the command.
    pub(crate) fn report(&self, failure: &Failure) {
        if !failure.is_silent() {
            let label = if self.colours { "\x1b[1;31merror\x1b[0m" } else { "error" };
            complain(&format!("{label}: {}", sanitize::lines(&failure.to_string())));
        }
    }

    /// Asks on the terminal, where "no" is a failure. Without a terminal, or when told not to ask, only `--yes` is a yes.
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
                .because("it cannot be undone, and there is nobody to ask")
                .hint("add --yes to do it without being asked"));
        }
        let question = question()?;
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{question} [y/N] ")
            .and_then(|()| io::stderr().flush())
            .and_then(|()| io::stdin().lock().read_line(&mut answer));
        asked.map_err(|error| Failure::new(Exit::Failed, "ask").because(error))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, doing).because("the answer was no")),
        }
    }

    fn say(&self, label: &str, message: &str) {
        if !self.globals.quiet {
            complain(&format!("{label}: {}", sanitize::lines(message)));
        }
    }
}

/// Whether to use colours: the options win over the environment, the environment over the terminal.
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

/// Writes a line to standard error. Nobody can be told when that does not work.
fn complain(line: &str) {
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
        assert!(CommandContext::new(Globals::default(), registry.clone()).check_registry().is_ok());
        registry.add_async::<Noop>();
        let failure = CommandContext::new(Globals::default(), registry).check_registry().unwrap_err();
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
