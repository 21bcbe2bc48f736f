//! Why a channel or a job waits, in the sentence of `queue:why`.

use super::picture::ChannelPicture;
use super::{Dashboard, answered};
use crate::channel::{ChannelDetails, HeldJobStatus};
use crate::control::{ControlRequest, ControlResponse};
use crate::job::JobId;
use crate::store::{JobState, JobView};
use crate::why::{self, Facts, Master, QueuePosition};

/// A sentence about a job, and the worker that runs it.
#[derive(Debug, Default)]
pub(super) struct JobExplanation {
    pub(super) sentence: Option<String>,
    pub(super) worker: Option<i32>,
}

/// The sentence about a channel; `None` for one that masters elsewhere serve, and while too little is known.
pub(super) async fn of_channel(dashboard: &Dashboard, channel: &ChannelPicture) -> Option<String> {
    let master = master(dashboard, channel, None).await?;
    let facts = facts(dashboard, channel, master, None)?;
    Some(why::explain_channel(&facts).text)
}

/// The sentence about a job.
pub(super) async fn of_job(dashboard: &Dashboard, channel: &ChannelPicture, job: &JobView) -> JobExplanation {
    let before = match (job.state, dashboard.store(&channel.name)) {
        (JobState::Waiting, Ok(store)) => answered(why::queue_position(store, job.id)).await.ok().flatten(),
        _ => None,
    };
    let master = match (job.state, master(dashboard, channel, Some(job.id)).await) {
        (_, Some(master)) => master,
        // A failed job has its reason in its record.
        (JobState::Failed, None) => Master::NotRunning,
        (_, None) => return JobExplanation::default(),
    };
    let worker = match &master {
        Master::Answered { details, .. } => worker_of(details),
        _ => None,
    };
    let facts = facts(dashboard, channel, master, before);
    JobExplanation { sentence: facts.map(|facts| why::explain_job(job, &facts).text), worker }
}

/// The process id of the worker that runs the job of these details.
fn worker_of(details: &ChannelDetails) -> Option<i32> {
    match details.job.as_ref()? {
        HeldJobStatus::Running(run) => run.pid,
        HeldJobStatus::Ready { .. } | HeldJobStatus::Settling => None,
    }
}

fn facts(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    master: Master,
    before: Option<QueuePosition>,
) -> Option<Facts> {
    let (counts, age) = channel.counts?;
    let declared = dashboard.config.channels.get(&channel.name)?;
    Some(Facts {
        channel: channel.name.clone(),
        now: counts.now.after(age),
        counts,
        master,
        max_attempts: declared.max_attempts,
        next_due: counts.next_due,
        before,
    })
}

/// The master behind the page as a fact. `None` for a channel that it does not serve and others do: these are not asked.
async fn master(dashboard: &Dashboard, channel: &ChannelPicture, id: Option<JobId>) -> Option<Master> {
    if !channel.is_served {
        let alive = channel.masters.iter().flatten().any(|master| master.lease_left.is_some());
        return (!alive).then_some(Master::NotRunning);
    }
    let silent = |error: String| Master::Silent { pid: None, error, is_denied: false, is_running: true };
    Some(match dashboard.camera.ask(&channel.name, ControlRequest::Look { id }).await? {
        Ok(ControlResponse::Look { pid, view }) => {
            Master::Answered { pid, details: view, other: None, differences: Vec::new() }
        }
        Ok(_) => return None,
        Err(why) => silent(why),
    })
}
