//! `queue:reload-failed`: moves failed jobs to waiting with a new set of attempts.

use clap::Args;
use serde_json::json;

use super::job_options::FailedJobOptions;
use super::named_jobs::{self, NamedJobs};
use super::per_channel::ChannelDone;
use super::{CommandContext, Exit, Failure, render};
use crate::config::Channel;
use crate::job::JobId;
use crate::store::{self, JobFilter};

/// Retry failed jobs with a new set of attempts
#[derive(Debug, Args)]
pub(crate) struct ReloadFailed {
    /// Ids of the jobs, or the word "all"
    #[arg(value_name = "ID|all", value_parser = selection)]
    jobs: Vec<Selection>,
    /// Id of a job; may be repeated
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<JobId>,
    #[command(flatten)]
    options: FailedJobOptions,
    /// Only print the number of jobs that would be reloaded
    #[arg(long)]
    dry_run: bool,
}

/// A word that selects failed jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection {
    All,
    One(JobId),
}

fn selection(text: &str) -> Result<Selection, String> {
    match text {
        "all" => Ok(Selection::All),
        id => id.parse().map(Selection::One).map_err(|_| "write the id of a job, or all".to_owned()),
    }
}

impl ReloadFailed {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let mut ids = self.ids;
        let is_all = self.jobs.contains(&Selection::All);
        ids.extend(self.jobs.iter().filter_map(|job| match job {
            Selection::One(id) => Some(*id),
            Selection::All => None,
        }));
        let doing = "choose the failed jobs to reload";
        // An empty list from a script is no order to reload all of them.
        if !is_all && ids.is_empty() && !self.options.selects() {
            return Err(Failure::new(Exit::Usage, doing)
                .because("no job is named")
                .hint("name ids, options such as --job NAME, or the word all: queue:reload-failed all"));
        }
        if is_all && !ids.is_empty() {
            return Err(Failure::new(Exit::Usage, doing)
                .because("both ids and all are named")
                .hint("name one of them"));
        }
        let ids = NamedJobs::new(ids);
        let channels = match ids.ids() {
            [] => vec![(context.channel()?, Vec::new())],
            ids => context.channels_of(ids)?,
        };
        let (options, dry_run) = (self.options, self.dry_run);
        named_jobs::in_channels(context, channels, |channel, jobs| {
            let filter = options.clone().filter(jobs.ids().to_vec());
            reload(context, channel, jobs, &filter, dry_run)
        })
    }
}

/// Reloads the failed jobs of a channel that the filter selects, or counts them.
pub(super) fn reload(
    context: &CommandContext,
    channel: &Channel,
    jobs: &NamedJobs,
    filter: &JobFilter,
    dry_run: bool,
) -> Result<ChannelDone, Failure> {
    context.check_store(channel, "reload the failed jobs")?;
    let moved = context.call_store(channel, "reload the failed jobs", async |store| {
        if dry_run {
            store::count_failed(store, filter).await
        } else {
            store::reload_failed(store, filter).await
        }
    })?;
    let json = json!({ "channel": channel.name, "reloaded": moved, "dry_run": dry_run });
    let doing = if jobs.ids().len() == 1 { "reload the named job" } else { "reload all named jobs" };
    let failure = jobs.check(context, channel, doing, moved).err();
    Ok(ChannelDone { failure, ..ChannelDone::new(channel, render(&channel.name, moved, dry_run), json) })
}

fn render(channel: &str, moved: u64, dry_run: bool) -> String {
    match moved {
        n if dry_run => format!("Dry run: would reload {} of channel \"{channel}\".", render::jobs(n)),
        0 => format!("No failed job of channel \"{channel}\" was reloaded."),
        n => format!("Reloaded {} of channel \"{channel}\".", render::jobs(n)),
    }
}
