//! `config:check`: the configuration that holds, or everything that is wrong with it.

use clap::Args;

use super::{CommandContext, Failure};
use crate::config::{self, Channel, Config, Handler, SnapshotHandler, command_check};

/// Print the effective configuration with secrets hidden, or every mistake in it
#[derive(Debug, Args)]
pub(crate) struct ConfigCheck {
    /// Print every key there is instead, with type, default, range and meaning
    #[arg(long)]
    keys: bool,
}

impl ConfigCheck {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        if self.keys {
            return context.print(&config::key_table());
        }
        let config = context.checked_config()?;
        // Loading warns of what the file says; what the machine says is looked at only here and by queue:listen.
        for warning in missing_programs(config).into_iter().chain(missing_files(config)) {
            context.warn(&warning);
        }
        if context.json() { context.print_json(&config.to_json()) } else { context.print(&render(config)) }
    }
}

fn render(config: &Config) -> String {
    let from = match &config.file {
        Some(file) => format!("# {}\n\n", file.display()),
        None => "# built in: no configuration file was found\n\n".to_owned(),
    };
    from + &config.to_toml()
}

/// A line for every configured file that is needed and cannot be read now.
fn missing_files(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        if let Handler::Webhook(settings) = &channel.worker.handler
            && let Some(file) = &settings.ca_file
            && let Err(error) = std::fs::File::open(file)
        {
            let (file, name) = (file.display(), &channel.name);
            missing.push(format!("\"{file}\" of channels.{name}.worker.ca_file cannot be read: {error}"));
        }
    }
    missing
}

/// A line for every configured program that could not be started now.
fn missing_programs(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for channel in config.channels.values() {
        for (key, command) in programs(channel) {
            let Some(name) = command.first() else { continue };
            // A program with a slash is absolute since the configuration was loaded.
            if let Err(why) = command_check::locate(name, std::path::Path::new("/")) {
                missing
                    .push(format!("the program of channels.{}.{key} cannot be started: {why}", channel.name));
            }
        }
    }
    missing
}

fn programs(channel: &Channel) -> Vec<(&'static str, &[String])> {
    let mut programs: Vec<(&str, &[String])> = Vec::new();
    if let Handler::Wire { command } | Handler::Exec { command } = &channel.worker.handler {
        programs.push(("worker.command", command));
    }
    for handler in &channel.snapshot.handlers {
        if let SnapshotHandler::Command { command, .. } = handler {
            programs.push(("job_snapshot.handler", command));
        }
    }
    programs
}
