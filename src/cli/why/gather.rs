//! Asks the store and the master, and asks again when the job moved in between.

use std::time::{SystemTime, UNIX_EPOCH};

use super::facts::{Facts, JobFacts, MasterFacts, QueuePosition};
use crate::config::Channel;
use crate::job::{JobId, Timestamp};
use crate::master::{self, ControlRequest, ControlResponse};
use crate::store::{JobState, JobView, MAX_BATCH, Store, StoreError};

/// So often a job is looked at that is somewhere else each time.
const MAX_LOOKUPS: u32 = 5;

/// What is known of a channel, and of a job in it: `None` when the store has no such job.
pub(super) async fn gather(
    channel: &Channel,
    store: &dyn Store,
    id: Option<JobId>,
) -> Result<(Facts, Option<JobFacts>), StoreError> {
    let mut seen = look(store, id).await?;
    let mut looks = 1;
    loop {
        let before = match &seen {
            Some(job) if job.state == JobState::Waiting => before(store, job.id).await?,
            _ => None,
        };
        let master = ask(channel, id);
        let counts = store.status().await?;
        let again = look(store, id).await?;
        // What the master said belongs to where the job is only if it has not moved meanwhile.
        let moved = place(seen.as_ref()) != place(again.as_ref());
        seen = again;
        if moved && looks < MAX_LOOKUPS {
            looks += 1;
            continue;
        }
        let next_due = match id {
            None if counts.delayed > 0 => {
                store.list(JobState::Delayed, None, 1).await?.jobs.first().map(|job| job.at)
            }
            _ => None,
        };
        let (name, max_attempts) = (channel.name.clone(), channel.max_attempts);
        let facts = Facts { channel: name, now: now(), counts, master, max_attempts, next_due };
        let job = seen.map(|JobView { id, state, at, meta, .. }| JobFacts { id, state, at, meta, before });
        return Ok((facts, job));
    }
}

async fn look(store: &dyn Store, id: Option<JobId>) -> Result<Option<JobView>, StoreError> {
    match id {
        Some(id) => store.get(id).await,
        None => Ok(None),
    }
}

fn place(job: Option<&JobView>) -> Option<(JobState, Timestamp, u32)> {
    job.map(|job| (job.state, job.at, job.meta.attempts))
}

/// How many jobs are leased before this one, as far as one page tells.
async fn before(store: &dyn Store, id: JobId) -> Result<Option<QueuePosition>, StoreError> {
    let page = store.list(JobState::Waiting, None, MAX_BATCH).await?;
    let place = page.jobs.iter().position(|job| job.id == id);
    Ok(match (place, page.next) {
        (Some(place), _) => Some(QueuePosition::Exact(place as u64)),
        (None, Some(_)) => Some(QueuePosition::AtLeast(page.jobs.len() as u64)),
        // It has moved.
        (None, None) => None,
    })
}

fn ask(channel: &Channel, id: Option<JobId>) -> MasterFacts {
    let presence = master::presence(channel);
    if !presence.running {
        return MasterFacts::None;
    }
    match master::send_request(&master::socket_path(channel), ControlRequest::Look { id }, |_| {}) {
        Ok(ControlResponse::Look { pid, view }) => MasterFacts::Answers { pid, view },
        Ok(_) => MasterFacts::Silent { pid: presence.pid, why: "it said something else".to_owned() },
        // It has ended between our look and our question.
        Err(_) if !master::presence(channel).running => MasterFacts::None,
        Err(error) => MasterFacts::Silent { pid: presence.pid, why: error.to_string() },
    }
}

/// This machine's clock, which is about that of the store.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(0).after(since)
}
