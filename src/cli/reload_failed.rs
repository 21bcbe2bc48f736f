//! `queue:reload-failed`: moves failed jobs to waiting with a new set of attempts.

use clap::Args;
use serde_json::json;

use super::{CommandContext, Exit, Failure, render};
use crate::job::JobId;
use crate::store::{self, JobFilter};

/// Retry failed jobs with a new set of attempts
#[derive(Debug, Args)]
pub(crate) struct ReloadFailed {
    /// Only this job; may be repeated [default: all failed jobs]
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<JobId>,
    /// Only jobs with this name
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
}

impl ReloadFailed {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        context.check_store(channel, "reload the failed jobs")?;
        let mut ids = self.ids;
        ids.sort_unstable();
        ids.dedup();
        let asked = ids.len() as u64;
        let filter = JobFilter { ids, job: self.job, ..JobFilter::default() };
        let moved = context.call_store(channel, "reload the failed jobs", async |store| {
            store::reload_failed(store, &filter).await
        })?;
        context
            .show(&json!({ "channel": channel.name, "reloaded": moved }), &render(&channel.name, moved))?;
        if moved < asked {
            let missing = asked - moved;
            return Err(Failure::new(Exit::Failed, "reload all named jobs")
                .because(format!(
                    "{missing} of the {asked} named jobs are not failed in channel \"{}\"",
                    channel.name
                ))
                .hint("queue:failed lists the failed jobs, queue:show ID shows the state of a job"));
        }
        Ok(())
    }
}

fn render(channel: &str, moved: u64) -> String {
    match moved {
        0 => format!("No failed job of channel \"{channel}\" was reloaded.\n"),
        n => format!("Reloaded {} of channel \"{channel}\".\n", render::jobs(n)),
    }
}
