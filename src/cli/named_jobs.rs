//! Failed jobs that a command line names by id: a command that misses some of them fails.

use std::collections::HashMap;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::job::JobId;
use crate::store::JobState;

/// Most ids that are searched in other channels for the hint.
const MAX_SEARCHED: usize = 10;

/// Runs `act` on the named jobs of each channel and prints the results. The JSON of one channel is an object, that of several an
/// array.
pub(super) fn in_channels(
    context: &CommandContext,
    channels: Vec<(&Channel, Vec<JobId>)>,
    mut act: impl FnMut(&Channel, &NamedJobs) -> Result<ChannelDone, Failure>,
) -> Result<(), Failure> {
    let jobs: HashMap<String, NamedJobs> =
        channels.iter().map(|(channel, ids)| (channel.name.clone(), NamedJobs::new(ids.clone()))).collect();
    let channels: Vec<_> = channels.into_iter().map(|(channel, _)| channel).collect();
    per_channel::these(context, &channels, |channel| act(channel, &jobs[&channel.name]))
}

/// The ids, each once.
pub(super) struct NamedJobs(Vec<JobId>);

impl NamedJobs {
    pub(super) fn new(mut ids: Vec<JobId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    pub(super) fn ids(&self) -> &[JobId] {
        &self.0
    }

    /// Fails when only `done` of the jobs were failed jobs of the channel. `doing` completes the phrase "could not ...".
    pub(super) fn check(
        &self,
        context: &CommandContext,
        channel: &Channel,
        doing: &str,
        done: u64,
    ) -> Result<(), Failure> {
        let asked = self.0.len() as u64;
        if done >= asked {
            return Ok(());
        }
        let name = &channel.name;
        let cause = match (asked, asked - done) {
            (1, _) => format!("it is not failed in channel \"{name}\""),
            (_, 1) => format!("1 of the {asked} named jobs is not failed in channel \"{name}\""),
            (_, missing) => {
                format!("{missing} of the {asked} named jobs are not failed in channel \"{name}\"")
            }
        };
        let elsewhere =
            self.0.iter().take(MAX_SEARCHED).find_map(|id| failed_elsewhere(context, channel, *id));
        let usual = || {
            "queue:failed lists the failed jobs, queue:show ID shows the state of a job, queue:cancel ID ends it".to_owned()
        };
        Err(Failure::new(Exit::Failed, doing).because(cause).hint(elsewhere.unwrap_or_else(usual)))
    }
}

/// The remedy for a job that this channel does not have, when another one has it.
fn failed_elsewhere(context: &CommandContext, channel: &Channel, id: JobId) -> Option<String> {
    let here = context.call_store(channel, "find the job", async |store| store.get(id).await).ok()?;
    if here.is_some_and(|job| job.state == JobState::Failed) {
        return None;
    }
    context.hint_of_channel(id, channel)
}
