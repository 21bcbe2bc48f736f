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
            let ended = cancel(context, channel, &ids)?;
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
                Ok(result) => match described(context, channel, id, &result) {
                    Ok(text) if !context.json() => context.print(&text)?,
                    Ok(_) => {}
                    Err(failure) => failures.push(failure),
                },
                Err(error) => failures.push(Failure::store(format!("cancel job {id}"), error)),
            }
        }
        context.finish(failures)
    }
}

/// Cancels one job. Returns the result in words.
#[cfg(feature = "top")]
pub(super) fn cancel_one(context: &CommandContext, channel: &Channel, id: JobId) -> Result<String, Failure> {
    let results = cancel(context, channel, &[id])?.into_iter();
    let result = results.map(|result| match result {
        Ok(result) => described(context, channel, id, &result),
        Err(error) => Err(Failure::store(format!("cancel job {id}"), error)),
    });
    result.collect()
}

/// Cancels jobs of a channel, all at once: a job that ignores the request takes long and must not delay the others.
fn cancel(
    context: &CommandContext,
    channel: &Channel,
    ids: &[JobId],
) -> Result<Vec<Result<CancelResult, StoreError>>, Failure> {
    context.check_store(channel, "cancel jobs")?;
    let store = context.existing_store(channel)?;
    Ok(context.block_on(all(channel, &store, ids, context.quiet())))
}

/// The result in words, or the failure of a job that was not cancelled.
fn described(
    context: &CommandContext,
    channel: &Channel,
    id: JobId,
    result: &CancelResult,
) -> Result<String, Failure> {
    if let Some(text) = render::cancelled(id, result) {
        return Ok(text);
    }
    let failure = render::failure(id, result, &channel.name);
    let is_unknown = matches!(result, CancelResult::Unknown);
    Err(match is_unknown.then(|| context.hint_of_channel(id, channel)).flatten() {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
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
