//! `config:check`: prints the effective configuration, or every mistake in it.

use std::path::Path;

use clap::Args;

use super::{CommandContext, Exit, Failure};
use crate::access::{self, Access};
use crate::config::alerts::{Receiver, ReceiverKind};
use crate::config::command_check::Search;
use crate::config::{self, Channel, CommandLine, Config, Handler, SnapshotHandler, command_check};
use crate::master::closed_to_workers;

/// The key of the program that runs the jobs of a channel.
const WORKER_COMMAND: &str = "worker.command";

/// Print the effective configuration, or every mistake
///
/// Secrets are hidden.
#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// Print the table of all keys instead, with type, default, range and meaning
    #[arg(long)]
    keys: bool,
}

impl ConfigCheck {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        if self.keys {
            return context.print_verbatim(&config::key_table());
        }
        let config = context.checked_config()?;
        if context.json() {
            context.print_json(&config.to_json())?;
        } else {
            context.print_verbatim(&render(config))?;
        }
        // Loading checks the file alone. Programs and files of this machine are checked only here and by queue:listen.
        missing_files(config)
            .iter()
            .chain(&missing_scripts(config))
            .chain(&closed_to_workers(config))
            .for_each(|warning| context.warn(warning));
        let missing = missing_programs(config);
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Exit::Config, "find the programs of the configuration on this machine")
            .because(missing.join("; "))
            .hint("install or correct them; a producer on another machine needs none of them"))
    }
}

fn render(config: &Config) -> String {
    let from = match &config.file {
        Some(file) => format!("# {}\n\n", file.display()),
        None => "# built-in configuration: no configuration file was found\n\n".to_owned(),
    };
    from + &config.to_toml()
}

/// A warning for each configured file that cannot be read.
fn missing_files(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        if let Handler::Webhook(settings) = &channel.worker.handler
            && let Some(file) = &settings.ca_file
            && let Err(error) = std::fs::File::open(file)
        {
            let error = access::explained(error, file, Access::Read);
            let (file, name) = (file.display(), &channel.name);
            missing.push(format!("\"{file}\" of channels.{name}.worker.ca_file cannot be read: {error}"));
        }
    }
    for receiver in receivers(config) {
        let ca_file = match &receiver.kind {
            ReceiverKind::Email { server, .. } => server.ca_file.as_ref(),
            kind => kind.target().and_then(|target| target.ca_file.as_ref()),
        };
        if let Some(file) = ca_file
            && let Err(error) = std::fs::File::open(file)
        {
            let error = access::explained(error, file, Access::Read);
            let (file, name) = (file.display(), &receiver.name);
            missing.push(format!("\"{file}\" of alerts.receivers.{name}.ca_file cannot be read: {error}"));
        }
    }
    missing
}

/// A warning for each script that a configured command names but that does not exist.
fn missing_scripts(config: &Config) -> Vec<String> {
    let directory = config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        for (key, command) in programs(channel) {
            if let Some(file) = command_check::missing_script(command.argv(), directory) {
                let (file, name) = (file.display(), &channel.name);
                missing.push(format!("the script of channels.{name}.{key} does not exist: {file}"));
            }
        }
    }
    for (name, command) in alert_programs(config) {
        if let Some(file) = command_check::missing_script(command.argv(), directory) {
            let file = file.display();
            missing.push(format!("the script of alerts.receivers.{name}.command does not exist: {file}"));
        }
    }
    missing
}

/// The configured programs that cannot be started.
fn missing_programs(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        for (key, command) in programs(channel) {
            let Some(name) = command.argv().first() else { continue };
            // Snapshot programs do not get worker.env.
            let env = Some(&channel.worker.env).filter(|_| key == WORKER_COMMAND);
            let path = env.and_then(|env| env.get("PATH")).map(String::as_str);
            // Loading has made programs with a slash absolute.
            if let Err(why) = command_check::locate(name, Search { base: Path::new("/"), path }) {
                missing
                    .push(format!("the program of channels.{}.{key} cannot be started: {why}", channel.name));
            }
        }
    }
    for (name, command) in alert_programs(config) {
        let Some(program) = command.argv().first() else { continue };
        if let Err(why) = command_check::locate(program, Search { base: Path::new("/"), path: None }) {
            missing.push(format!("the program of alerts.receivers.{name}.command cannot be started: {why}"));
        }
    }
    missing
}

fn receivers(config: &Config) -> impl Iterator<Item = &Receiver> {
    config.alerts.iter().flat_map(|alerts| alerts.receivers.values())
}

/// The programs of receivers of alerts, with the names of the receivers.
fn alert_programs(config: &Config) -> impl Iterator<Item = (&str, &CommandLine)> {
    receivers(config).filter_map(|receiver| match &receiver.kind {
        ReceiverKind::Command { command, .. } => Some((receiver.name.as_str(), command)),
        _ => None,
    })
}

fn programs(channel: &Channel) -> Vec<(&'static str, &CommandLine)> {
    let mut programs: Vec<(&str, &CommandLine)> = Vec::new();
    if let Handler::Wire { command } | Handler::Exec { command } = &channel.worker.handler {
        programs.push((WORKER_COMMAND, command));
    }
    for handler in &channel.snapshot.handlers {
        if let SnapshotHandler::Command { command, .. } = handler {
            programs.push(("job_snapshot.handler", command));
        }
    }
    programs
}
