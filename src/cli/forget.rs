//! `queue:forget`: removes failed jobs by id.

use clap::Args;
use serde_json::json;

use super::named_jobs::{self, NamedJobs};
use super::per_channel::ChannelDone;
use super::{CommandContext, Failure, render};
use crate::config::Channel;
use crate::job::JobId;
use crate::store::{self, JobFilter};

/// Remove failed jobs by id
#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Ids of failed jobs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<JobId>,
    /// Only print the number of jobs that would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Forget {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = context.channels_of(NamedJobs::new(self.ids).ids())?;
        let dry_run = self.dry_run;
        named_jobs::in_channels(context, channels, |channel, jobs| remove(context, channel, jobs, dry_run))
    }
}

/// Removes the named failed jobs of a channel, or counts them.
pub(super) fn remove(
    context: &CommandContext,
    channel: &Channel,
    jobs: &NamedJobs,
    dry_run: bool,
) -> Result<ChannelDone, Failure> {
    context.check_store(channel, "remove the failed jobs")?;
    let filter = JobFilter { ids: jobs.ids().to_vec(), ..JobFilter::default() };
    let removed = context.call_store(channel, "remove the failed jobs", async |store| {
        if dry_run {
            store::count_failed(store, &filter).await
        } else {
            store::remove_failed(store, &filter).await
        }
    })?;
    let json = json!({ "channel": channel.name, "removed": removed, "dry_run": dry_run });
    let doing = if jobs.ids().len() == 1 { "remove the named job" } else { "remove all named jobs" };
    let failure = jobs.check(context, channel, doing, removed).err();
    let text = removed_text(&channel.name, removed, dry_run);
    Ok(ChannelDone { failure, ..ChannelDone::new(channel, text, json) })
}

/// The result of removing failed jobs, as a sentence.
pub(super) fn removed_text(channel: &str, removed: u64, dry_run: bool) -> String {
    let jobs = match removed {
        0 => "no failed job".to_owned(),
        n => render::jobs(n).replacen("job", "failed job", 1),
    };
    if dry_run {
        format!("Dry run: would remove {jobs} from channel \"{channel}\".")
    } else {
        format!("Removed {jobs} from channel \"{channel}\".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_counts_the_jobs() {
        assert_eq!(removed_text("x", 0, false), "Removed no failed job from channel \"x\".");
        assert_eq!(removed_text("x", 1, false), "Removed 1 failed job from channel \"x\".");
        assert_eq!(removed_text("x", 2, true), "Dry run: would remove 2 failed jobs from channel \"x\".");
    }
}
