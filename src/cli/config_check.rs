//! `config:check`: prints the effective configuration, or every mistake in it.

use std::path::Path;

use clap::Args;

use super::{CommandContext, Exit, Failure};
use crate::access::{self, Access};
use crate::config::alerts::{Receiver, ReceiverKind};
use crate::config::command_check::Search;
use crate::config::{self, Channel, CommandLine, Config, Handler, command_check};
use crate::master::closed_to_workers;

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
    for (place, receiver) in receivers(config) {
        let ca_file = match &receiver.kind {
            ReceiverKind::Email { server, .. } => server.ca_file.as_ref(),
            kind => kind.target().and_then(|target| target.ca_file.as_ref()),
        };
        if let Some(file) = ca_file
            && let Err(error) = std::fs::File::open(file)
        {
            let error = access::explained(error, file, Access::Read);
            let file = file.display();
            missing.push(format!("\"{file}\" of {place}.ca_file cannot be read: {error}"));
        }
    }
    missing
}

/// A warning for each script that a configured command names but that does not exist.
fn missing_scripts(config: &Config) -> Vec<String> {
    let directory = config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        if let Some(command) = worker_program(channel)
            && let Some(file) = command_check::missing_script(command.argv(), directory)
        {
            let (file, name) = (file.display(), &channel.name);
            missing.push(format!("the script of channels.{name}.worker.command does not exist: {file}"));
        }
    }
    for (place, command) in receiver_programs(config) {
        if let Some(file) = command_check::missing_script(command.argv(), directory) {
            let file = file.display();
            missing.push(format!("the script of {place}.command does not exist: {file}"));
        }
    }
    missing
}

/// The configured programs that cannot be started.
fn missing_programs(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        let Some(program) = worker_program(channel).and_then(|command| command.argv().first()) else {
            continue;
        };
        let path = channel.worker.env.get("PATH").map(String::as_str);
        // Loading has made programs with a slash absolute.
        if let Err(why) = command_check::locate(program, Search { base: Path::new("/"), path }) {
            let name = &channel.name;
            missing.push(format!("the program of channels.{name}.worker.command cannot be started: {why}"));
        }
    }
    for (place, command) in receiver_programs(config) {
        let Some(program) = command.argv().first() else { continue };
        if let Err(why) = command_check::locate(program, Search { base: Path::new("/"), path: None }) {
            missing.push(format!("the program of {place}.command cannot be started: {why}"));
        }
    }
    missing
}

/// The receivers of alerts and of snapshots, each with its key.
fn receivers(config: &Config) -> impl Iterator<Item = (String, &Receiver)> {
    let declared = config.alerts.iter().flat_map(|alerts| alerts.receivers.values());
    let declared = declared.filter(|receiver| !receiver.is_handler);
    let declared = declared.map(|receiver| (format!("alerts.receivers.{}", receiver.name), receiver));
    let handlers = config.channels.values().flat_map(|channel| {
        let all = channel.snapshot.handlers.iter().enumerate();
        all.map(move |(index, handler)| {
            (format!("channels.{}.job_snapshot.handler[{index}]", channel.name), &handler.receiver)
        })
    });
    declared.chain(handlers)
}

/// The programs among the receivers, each with the key of its receiver.
fn receiver_programs(config: &Config) -> impl Iterator<Item = (String, &CommandLine)> {
    receivers(config).filter_map(|(place, receiver)| match &receiver.kind {
        ReceiverKind::Command { command, .. } => Some((place, command)),
        _ => None,
    })
}

fn worker_program(channel: &Channel) -> Option<&CommandLine> {
    match &channel.worker.handler {
        Handler::Wire { command } | Handler::Exec { command } => Some(command),
        _ => None,
    }
}
