//! Values that a shell completes: channels of the configuration, ids of jobs in the store, jobs of this program.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::CommandContext;
use super::global_options::GlobalOptions;
use super::sanitize;
use crate::config::{Config, Driver};
use crate::job::Registry;
use crate::store::JobState;

/// Variable that makes the program complete a command line instead of running it; its value is the name of the shell.
pub(super) const VARIABLE: &str = "AINT_QUEUE_COMPLETE";

/// Most ids offered of one state.
const MAX_IDS: usize = 50;
/// Longest time for a look into the store: a shell waits for the completion.
const MAX_TIME: Duration = Duration::from_secs(2);

const LIVE: [JobState; 3] = [JobState::Reserved, JobState::Waiting, JobState::Delayed];
const FAILED: [JobState; 1] = [JobState::Failed];
const ANY: [JobState; 4] = [JobState::Reserved, JobState::Failed, JobState::Waiting, JobState::Delayed];

/// The command line with the sources of values.
pub(super) fn with_values(line: Command, registry: &Registry) -> Command {
    let jobs: Vec<String> = registry.names().map(str::to_owned).collect();
    let names = move || jobs.iter().map(CompletionCandidate::new).collect();
    line.mut_arg("channels", |arg| arg.add(ArgValueCandidates::new(channels)))
        .mut_subcommand("queue:push", |command| {
            command.mut_arg("job", |arg| arg.add(ArgValueCandidates::new(names)))
        })
        .mut_subcommand("queue:show", |command| with_ids(command, "id", &ANY))
        .mut_subcommand("queue:why", |command| with_ids(command, "id", &ANY))
        .mut_subcommand("queue:run", |command| with_ids(command, "id", &ANY))
        .mut_subcommand("queue:cancel", |command| with_ids(command, "ids", &LIVE))
        .mut_subcommand("queue:forget", |command| with_ids(command, "ids", &FAILED))
        .mut_subcommand("queue:reload-failed", |command| {
            with_ids(with_ids(command, "jobs", &FAILED), "ids", &FAILED)
        })
}

fn with_ids(command: Command, arg: &str, states: &'static [JobState]) -> Command {
    command.mut_arg(arg, |arg: Arg| arg.add(ArgValueCandidates::new(move || ids(states))))
}

fn channels() -> Vec<CompletionCandidate> {
    let Ok(config) = Config::find(typed_options().config.as_deref()) else { return Vec::new() };
    config.channels.keys().map(CompletionCandidate::new).collect()
}

/// The ids of the jobs in these states in the channel of the command line; none when the store does not respond in time.
fn ids(states: &[JobState]) -> Vec<CompletionCandidate> {
    let context = CommandContext::new(typed_options(), Registry::default());
    let Ok(channel) = context.channel() else { return Vec::new() };
    if channel.driver == Driver::Sync {
        return Vec::new();
    }
    let mut found = Vec::new();
    let look = async {
        let store = crate::store::open(&channel.driver, &channel.name).await?;
        for state in states {
            for job in store.list(*state, None, MAX_IDS).await?.jobs {
                let about = format!("{} {}", state.as_str(), sanitize::truncated(&job.meta.job, 40));
                found.push(CompletionCandidate::new(job.id.to_string()).help(Some(about.into())));
            }
        }
        Ok::<(), crate::store::StoreError>(())
    };
    // Without a store there is nothing to complete, and a shell has no place for the error.
    let _ = context.block_on(async { tokio::time::timeout(MAX_TIME, look).await });
    found
}

/// The options of the command line to complete that choose configuration and channel. The words follow a `--`.
fn typed_options() -> GlobalOptions {
    options_in(std::env::args_os().skip_while(|word| word != "--").skip(1))
}

fn options_in(words: impl IntoIterator<Item = OsString>) -> GlobalOptions {
    let mut options = GlobalOptions::default();
    let mut words = words.into_iter();
    let with_equals = |word: &OsStr, option: &str| {
        word.to_str().and_then(|word| word.strip_prefix(option)).map(str::to_owned)
    };
    while let Some(word) = words.next() {
        if word == "-t" || word == "--channel" {
            options.channels.extend(words.next().and_then(|name| name.into_string().ok()));
        } else if word == "--config" {
            options.config = words.next().map(PathBuf::from);
        } else if let Some(name) = with_equals(&word, "--channel=") {
            options.channels.push(name);
        } else if let Some(file) = with_equals(&word, "--config=") {
            options.config = Some(file.into());
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_and_config_are_read_from_the_typed_words() {
        let read = |words: &str| {
            let options = options_in(words.split(' ').map(OsString::from));
            (options.channels, options.config)
        };
        let file = Some(PathBuf::from("a.toml"));
        assert_eq!(
            read("aint-queue queue:show -t mail --config a.toml"),
            (vec!["mail".to_owned()], file.clone())
        );
        assert_eq!(read("x --channel=mail --config=a.toml 17"), (vec!["mail".to_owned()], file));
        assert_eq!(read("x queue:show -t"), (vec![], None));
    }
}
