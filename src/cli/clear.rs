//! `queue:clear`: removes jobs.

use clap::Args;
use serde_json::json;

use super::{CommandContext, Failure, render};
use crate::store::{Clear as States, Cleared, JobCounts};

/// Remove jobs: by default waiting and delayed ones
#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// Only failed jobs
    #[arg(long)]
    failed: bool,
    /// Only reserved jobs; their runs are cancelled
    #[arg(long)]
    reserved: bool,
    /// Waiting, delayed and failed jobs; with --reserved, all jobs
    #[arg(long)]
    all: bool,
}

impl Clear {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        let doing = format!("clear channel \"{}\"", channel.name);
        let which = self.states();
        context.check_store(channel, &doing)?;
        context.confirm(&doing, || {
            let before = context.call_store(channel, &doing, async |store| store.status().await)?;
            Ok(question(&channel.name, which, &before))
        })?;
        let cleared = context.call_store(channel, &doing, async |store| store.clear(which).await)?;
        let text = render(&channel.name, which, &cleared);
        context.show(&json!({ "channel": channel.name, "cleared": cleared }), &text)
    }

    fn states(&self) -> States {
        let some = self.failed || self.reserved;
        let open = self.all || !some;
        States { waiting: open, delayed: open, failed: self.failed || self.all, reserved: self.reserved }
    }
}

fn question(channel: &str, which: States, counts: &JobCounts) -> String {
    let counts = Cleared {
        waiting: counts.waiting,
        delayed: counts.delayed,
        failed: counts.failed,
        reserved: counts.reserved,
    };
    format!("Permanently remove {} from channel \"{channel}\"?", listed(which, &counts))
}

fn render(channel: &str, which: States, cleared: &Cleared) -> String {
    format!("Removed {} from channel \"{channel}\".\n", listed(which, cleared))
}

/// Counts of the selected states, zeros included: "2 waiting, 0 delayed and 1 failed jobs".
fn listed(which: States, counts: &Cleared) -> String {
    let states = [
        (which.waiting, counts.waiting, "waiting"),
        (which.delayed, counts.delayed, "delayed"),
        (which.failed, counts.failed, "failed"),
        (which.reserved, counts.reserved, "reserved"),
    ];
    let meant: Vec<_> = states.iter().filter(|(meant, ..)| *meant).collect();
    let words: Vec<_> = meant.iter().map(|(_, count, state)| format!("{count} {state}")).collect();
    let noun = if let [(_, 1, _)] = meant.as_slice() { "job" } else { "jobs" };
    format!("{} {noun}", render::listed(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(failed: bool, reserved: bool, all: bool) -> (bool, bool, bool, bool) {
        let States { waiting, delayed, failed, reserved } = Clear { failed, reserved, all }.states();
        (waiting, delayed, failed, reserved)
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
        let all = Clear { failed: false, reserved: false, all: true }.states();
        let expected = "Permanently remove 2 waiting, 0 delayed and 1 failed jobs from channel \"x\"?";
        assert_eq!(question("x", all, &counts), expected);
        let failed = Clear { failed: true, reserved: false, all: false }.states();
        let cleared = Cleared { failed: 1, ..Cleared::default() };
        assert_eq!(render("x", failed, &cleared), "Removed 1 failed job from channel \"x\".\n");
    }
}
