//! `queue:clear`: removes jobs.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, render};
use crate::config::Channel;
use crate::store::{Clear as States, Cleared, JobCounts};

/// Remove jobs: by default waiting and delayed ones
#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// States to remove [default: waiting,delayed]; the runs of reserved jobs are cancelled
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', conflicts_with_all = ["failed", "reserved", "all"],
          value_parser = PossibleValuesParser::new(["waiting", "delayed", "reserved", "failed", "any"]))]
    states: Vec<String>,
    /// Only failed jobs, as --state failed
    #[arg(long)]
    failed: bool,
    /// Only reserved jobs, as --state reserved
    #[arg(long)]
    reserved: bool,
    /// All declared channels (or give --channel more than once)
    #[arg(long, conflicts_with_all = ["channels", "all"])]
    all_channels: bool,
    /// Only print the numbers of jobs that would be removed
    #[arg(long)]
    dry_run: bool,
    /// The former spelling of --state waiting,delayed,failed; with --reserved, of --state any
    #[arg(long, hide = true)]
    all: bool,
}

impl Clear {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        if self.all {
            let states = if self.reserved { "any" } else { "waiting,delayed,failed" };
            context.warn(&format!(
                "--all of queue:clear means states, of every other command channels: write --state {states}; for all channels, \
                 --all-channels"
            ));
        }
        let channels = context.channels_by(self.all_channels, Some("--all-channels"))?;
        let which = self.states();
        for channel in &channels {
            context.check_store(channel, &doing(channel))?;
        }
        let (first, more) = channels.split_first().expect("a command has a channel");
        if self.dry_run {
            return per_channel::one_or_several(context, self.all_channels, |channel| {
                let counts =
                    context.call_store(channel, doing(channel), async |store| store.status().await)?;
                let found = present(which, &counts);
                let text = format!(
                    "Dry run: would remove {} from channel \"{}\".",
                    listed(which, &found),
                    channel.name
                );
                Ok(ChannelDone::new(channel, text, json!({ "cleared": found, "dry_run": true })))
            });
        }
        context.confirm(&doing(first), || {
            let mut questions = Vec::new();
            for channel in &channels {
                let before =
                    context.call_store(channel, doing(channel), async |store| store.status().await)?;
                questions.push(question(&channel.name, which, &before));
            }
            Ok(questions.join("\n"))
        })?;
        let clear = |channel: &Channel| {
            context.call_store(channel, doing(channel), async |store| store.clear(which).await)
        };
        if more.is_empty() && !self.all_channels {
            let cleared = clear(first)?;
            let text = render(&first.name, which, &cleared);
            return context.show(&json!({ "channel": first.name, "cleared": cleared }), &format!("{text}\n"));
        }
        per_channel::sequentially(context, &channels, |channel| {
            let cleared = clear(channel)?;
            let text = render(&channel.name, which, &cleared);
            Ok(ChannelDone::new(channel, text, json!({ "cleared": cleared })))
        })
    }

    fn states(&self) -> States {
        if !self.states.is_empty() {
            let has = |state: &str| self.states.iter().any(|named| named == state || named == "any");
            return States {
                waiting: has("waiting"),
                delayed: has("delayed"),
                failed: has("failed"),
                reserved: has("reserved"),
            };
        }
        let some = self.failed || self.reserved;
        let open = self.all || !some;
        States { waiting: open, delayed: open, failed: self.failed || self.all, reserved: self.reserved }
    }
}

fn doing(channel: &Channel) -> String {
    format!("clear channel \"{}\"", channel.name)
}

fn question(channel: &str, which: States, counts: &JobCounts) -> String {
    format!("Permanently remove {} from channel \"{channel}\"?", listed(which, &present(which, counts)))
}

/// The number of jobs in the selected states.
fn present(which: States, counts: &JobCounts) -> Cleared {
    let count = |selected: bool, count: u64| if selected { count } else { 0 };
    Cleared {
        waiting: count(which.waiting, counts.waiting),
        delayed: count(which.delayed, counts.delayed),
        failed: count(which.failed, counts.failed),
        reserved: count(which.reserved, counts.reserved),
    }
}

fn render(channel: &str, which: States, cleared: &Cleared) -> String {
    format!("Removed {} from channel \"{channel}\".", listed(which, cleared))
}

/// The jobs in the selected states: "2 waiting and 1 failed jobs", "no waiting or delayed jobs".
fn listed(which: States, counts: &Cleared) -> String {
    let states = [
        (which.waiting, counts.waiting, "waiting"),
        (which.delayed, counts.delayed, "delayed"),
        (which.failed, counts.failed, "failed"),
        (which.reserved, counts.reserved, "reserved"),
    ];
    let meant = states.iter().filter(|(meant, ..)| *meant);
    let present: Vec<_> = meant.clone().filter(|(_, count, _)| *count > 0).collect();
    let words: Vec<_> = present.iter().map(|(_, count, state)| format!("{count} {state}")).collect();
    match present.as_slice() {
        [] => {
            let states: Vec<_> = meant.map(|(.., state)| (*state).to_owned()).collect();
            format!("no {} jobs", render::listed(&states).replacen(" and ", " or ", 1))
        }
        [(_, 1, _)] => format!("{} job", words[0]),
        _ => format!("{} jobs", render::listed(&words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(failed: bool, reserved: bool, all: bool) -> Clear {
        Clear { states: Vec::new(), failed, reserved, all_channels: false, dry_run: false, all }
    }

    fn in_order(States { waiting, delayed, failed, reserved }: States) -> (bool, bool, bool, bool) {
        (waiting, delayed, failed, reserved)
    }

    fn states(failed: bool, reserved: bool, all: bool) -> (bool, bool, bool, bool) {
        in_order(command(failed, reserved, all).states())
    }

    #[test]
    fn named_states_are_cleared() {
        let named = |states: &[&str]| {
            let states = states.iter().map(|state| (*state).to_owned()).collect();
            in_order(Clear { states, ..command(false, false, false) }.states())
        };
        assert_eq!(named(&["waiting"]), (true, false, false, false));
        assert_eq!(named(&["failed", "delayed"]), (false, true, true, false));
        assert_eq!(named(&["any"]), (true, true, true, true));
    }

    #[test]
    fn failed_and_reserved_jobs_need_an_option() {
        assert_eq!(states(false, false, false), (true, true, false, false));
        assert_eq!(states(true, false, false), (false, false, true, false));
        assert_eq!(states(false, true, false), (false, false, false, true));
        assert_eq!(states(true, true, false), (false, false, true, true));
        assert_eq!(states(false, false, true), (true, true, true, false));
        assert_eq!(states(false, true, true), (true, true, true, true));
    }

    #[test]
    fn prompt_names_the_states_to_clear() {
        let counts = JobCounts { waiting: 2, delayed: 0, failed: 1, ..JobCounts::default() };
        let all = command(false, false, true).states();
        let expected = "Permanently remove 2 waiting and 1 failed jobs from channel \"x\"?";
        assert_eq!(question("x", all, &counts), expected);
        let failed = command(true, false, false).states();
        let cleared = Cleared { failed: 1, ..Cleared::default() };
        assert_eq!(render("x", failed, &cleared), "Removed 1 failed job from channel \"x\".");
        assert_eq!(render("x", all, &cleared), "Removed 1 failed job from channel \"x\".");
        let nothing = render("x", all, &Cleared::default());
        assert_eq!(nothing, "Removed no waiting, delayed or failed jobs from channel \"x\".");
    }
}
