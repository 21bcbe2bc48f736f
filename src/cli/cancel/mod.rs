//! `queue:cancel`: cancels jobs in any state and prints the result for each.

mod job_cancel;
mod render;

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Semaphore;

use super::{CommandContext, Failure};
use crate::channel::ChannelStatus;
use crate::config::Channel;
use crate::job::JobId;
use crate::store::{Store, StoreError};
use job_cancel::{CancelResult, JobCancel};

/// Most jobs cancelled at once, so that the control socket keeps connections free for other clients.
const MAX_CONCURRENT_CANCELS: usize = 8;

/// Cancel jobs, running or not; cancelled jobs are failed
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Ids of the jobs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<JobId>,
}

impl Cancel {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let mut ids = self.ids;
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        let mut results = Vec::with_capacity(ids.len());
        for (channel, ids) in context.channels_of(&ids)? {
            context.check_store(channel, "cancel jobs")?;
            let store = context.existing_store(channel)?;
            // Cancel all jobs concurrently: a job that ignores the request takes long and must not delay the others.
            let ended = context.block_on(all(channel, &store, &ids, context.quiet()));
            results.extend(ids.into_iter().zip(ended).map(|(id, ended)| (channel, id, ended)));
        }
        if context.json() {
            let told = results.iter();
            let told: Vec<_> =
                told.filter_map(|(_, id, result)| Some(render::json(*id, result.as_ref().ok()?))).collect();
            context.print_json(&told)?;
        }
        let mut failures = Vec::new();
        for (channel, id, result) in results {
            match result {
                Ok(result) => match render::cancelled(id, &result) {
                    Some(text) if !context.json() => context.print(&text)?,
                    Some(_) => {}
                    None => {
                        let failure = render::failure(id, &result, &channel.name);
                        let is_unknown = matches!(result, CancelResult::Unknown);
                        let elsewhere = is_unknown.then(|| context.hint_of_channel(id, channel)).flatten();
                        failures.push(match elsewhere {
                            Some(hint) => failure.hint(hint),
                            None => failure,
                        });
                    }
                },
                Err(error) => failures.push(Failure::store(format!("cancel job {id}"), error)),
            }
        }
        context.finish(failures)
    }
}

async fn all(
    channel: &Channel,
    store: &Arc<dyn Store>,
    ids: &[JobId],
    quiet: bool,
) -> Vec<Result<CancelResult, StoreError>> {
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT_CANCELS));
    let begun: Vec<_> = ids
        .iter()
        .map(|id| {
            let (id, places) = (*id, Arc::clone(&places));
            let one = JobCancel { id, channel: channel.clone(), store: Arc::clone(store) };
            tokio::spawn(async move {
                let _place = places.acquire().await.expect("the semaphore is never closed");
                let slow_notice = move |report: &ChannelStatus| {
                    if !quiet {
                        // A write error has no remedy.
                        let _ = writeln!(std::io::stderr(), "note: {}", render::slow_notice(id, report));
                    }
                };
                one.cancel(slow_notice).await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(begun.len());
    for task in begun {
        results.push(task.await.expect("a cancel does not panic"));
    }
    results
}
