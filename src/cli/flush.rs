//! `queue:flush`: removes failed jobs that match its options.

use clap::Args;
use serde_json::json;

use super::forget::removed_text;
use super::job_options::FailedJobOptions;
use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, render};
use crate::config::Channel;
use crate::store::{self, JobFilter};

/// Remove failed jobs: all, or those that options select
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
    #[command(flatten)]
    options: FailedJobOptions,
    /// Only print the number of jobs that would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Flush {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let (filter, dry_run) = (self.options.filter(Vec::new()), self.dry_run);
        let count = |channel: &Channel| {
            context.check_store(channel, "count the failed jobs")?;
            context.call_store(channel, "count the failed jobs", async |store| {
                store::count_failed(store, &filter).await
            })
        };
        if !dry_run {
            context.confirm("remove failed jobs", || question(&context.channels(self.all)?, count))?;
        }
        per_channel::one_or_several(context, self.all, |channel| {
            let removed = if dry_run { count(channel)? } else { remove(context, channel, &filter)? };
            let text = removed_text(&channel.name, removed, dry_run);
            Ok(ChannelDone::new(channel, text, json!({ "removed": removed, "dry_run": dry_run })))
        })
    }
}

fn remove(context: &CommandContext, channel: &Channel, filter: &JobFilter) -> Result<u64, Failure> {
    context.check_store(channel, "remove the failed jobs")?;
    context.call_store(channel, "remove the failed jobs", async |store| {
        store::remove_failed(store, filter).await
    })
}

fn question(
    channels: &[&Channel],
    count: impl Fn(&Channel) -> Result<u64, Failure>,
) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for channel in channels {
        let jobs = render::jobs(count(channel)?).replacen("job", "failed job", 1);
        parts.push(format!("{jobs} from channel \"{}\"", channel.name));
    }
    Ok(format!("Permanently remove {}?", render::listed(&parts)))
}
