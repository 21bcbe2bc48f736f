//! Collects the facts for `queue:why` from the store and the master.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::channel::ChannelDetails;
use crate::cli::control::{self, MasterState};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::job::{JobId, Timestamp};
use crate::store::{JobState, JobView, Store, StoreError};
use crate::why::{Facts, Master, OtherStore, queue_position};

/// Most lookups of a job that keeps changing state.
const MAX_LOOKUPS: u32 = 5;

/// The facts about a channel and, with an `id`, about one of its jobs: `None` when the store has no such job.
pub(super) async fn look_up(
    channel: &Channel,
    store: &dyn Store,
    id: Option<JobId>,
) -> Result<(Facts, Option<JobView>), StoreError> {
    let mut job = job_view(store, id).await?;
    let mut lookups = 1;
    loop {
        let before = match &job {
            Some(job) if job.state == JobState::Waiting => queue_position(store, job.id).await?,
            _ => None,
        };
        let mut master = ask(channel, id);
        master.compare(channel, store.identity());
        let counts = store.status().await?;
        // The details of the master match the record of the job only if the job has not changed state in between.
        let again = job_view(store, id).await?;
        let changed = version(job.as_ref()) != version(again.as_ref());
        job = again;
        if changed && lookups < MAX_LOOKUPS {
            lookups += 1;
            continue;
        }
        let next_due = match id {
            None if counts.delayed > 0 => {
                store.list(JobState::Delayed, None, 1).await?.jobs.first().map(|job| job.at)
            }
            _ => None,
        };
        let (name, max_attempts) = (channel.name.clone(), channel.max_attempts);
        let master = known(master);
        let facts = Facts { channel: name, now: now(), counts, master, max_attempts, next_due, before };
        return Ok((facts, job));
    }
}

/// The master's view of the channel and of a job.
pub(super) fn ask(channel: &Channel, id: Option<JobId>) -> MasterState<(i32, Box<ChannelDetails>)> {
    control::query(
        channel,
        ControlRequest::Look { id },
        |_| {},
        |response| match response {
            ControlResponse::Look { pid, view } => Some((pid, view)),
            _ => None,
        },
    )
}

async fn job_view(store: &dyn Store, id: Option<JobId>) -> Result<Option<JobView>, StoreError> {
    match id {
        Some(id) => store.get(id).await,
        None => Ok(None),
    }
}

/// The part of a record that differs after every change of state.
fn version(job: Option<&JobView>) -> Option<(JobState, Timestamp, u32)> {
    job.map(|job| (job.state, job.at, job.meta.attempts))
}

/// The state of the master as a fact.
fn known(master: MasterState<(i32, Box<ChannelDetails>)>) -> Master {
    let other = |other: &crate::cli::other_store::OtherStore| OtherStore {
        clause: other.clause(),
        remedy: other.remedy(),
    };
    match &master {
        MasterState::NotRunning => Master::NotRunning,
        MasterState::Elsewhere(found) => Master::Elsewhere(other(found)),
        MasterState::Hidden(_) | MasterState::NotResponding { .. } => Master::Silent {
            pid: master.pid(),
            error: master.error().unwrap_or_default(),
            is_denied: master.is_denied(),
            is_running: master.is_running(),
        },
        MasterState::Responding { answer: (pid, details), place, .. } => Master::Answered {
            pid: *pid,
            details: details.clone(),
            other: place.other.as_ref().map(other),
            differences: place.differences(),
        },
    }
}

/// The clock of this machine, as an approximation of that of the store.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(0).after(since)
}
