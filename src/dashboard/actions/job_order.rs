//! Actions on a job.

use async_trait::async_trait;

use super::Order;
use crate::channel::{HeldCancel, HeldJobStatus, UnheldCancel, cancel_unheld, run_now};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::pages::{Notice, NoticeKind};
use crate::dashboard::process_trees::{Receipt, before_kill, receipt};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::{Dashboard, stored};
use crate::job::JobId;
use crate::store::{self, JobState};

/// An action on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobOrder {
    id: JobId,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Retry,
    Remove,
    Cancel,
    /// The worker is killed with all its processes, without asking the job first.
    Kill,
    RunNow,
}

impl JobOrder {
    pub(super) fn parse(action: &str, id: JobId) -> Result<Self, Refusal> {
        let action = match action {
            "retry" => Action::Retry,
            "remove" => Action::Remove,
            "cancel" => Action::Cancel,
            "kill" => Action::Kill,
            "run-now" => Action::RunNow,
            _ => return Err(Refusal::NoSuchPage),
        };
        Ok(Self { id, action })
    }
}

#[async_trait]
impl Order for JobOrder {
    fn word(&self) -> &'static str {
        match self.action {
            Action::Retry => "retry",
            Action::Remove => "remove",
            Action::Cancel => "cancel",
            Action::Kill => "kill",
            Action::RunNow => "run-now",
        }
    }

    fn target(&self) -> String {
        self.id.to_string()
    }

    async fn carry_out(self, dashboard: &Dashboard, channel: &str) -> Result<Notice, Refusal> {
        let (store, id) = (dashboard.store(channel)?, self.id);
        let is_done = match self.action {
            Action::Retry => stored(store::reload_failed_job(store, id)).await?,
            Action::Remove => stored(store::remove_failed_job(store, id)).await?,
            Action::RunNow => stored(run_now(store, id)).await?,
            Action::Cancel => return cancel(dashboard, channel, id).await,
            Action::Kill => return kill(dashboard, channel, id).await,
        };
        let kind = match self.action {
            _ if !is_done => NoticeKind::Nothing,
            Action::Retry => NoticeKind::Retried,
            Action::RunNow => NoticeKind::RunsNow,
            Action::Remove | Action::Cancel | Action::Kill => NoticeKind::Removed,
        };
        Ok(kind.into())
    }
}

/// Cancels a job where it is: in its worker, or at rest in the store.
async fn cancel(dashboard: &Dashboard, channel: &str, id: JobId) -> Result<Notice, Refusal> {
    let job = stored(dashboard.store(channel)?.get(id)).await?;
    let job = job.ok_or(Refusal::NoSuchJob)?;
    if job.state == JobState::Failed {
        return Ok(NoticeKind::Nothing.into());
    }
    if job.state == JobState::Reserved {
        return held(dashboard, channel, id, ControlRequest::Cancel { id }, NoticeKind::Cancelled.into())
            .await;
    }
    let cancelled = stored(cancel_unheld(dashboard.store(channel)?, id)).await?;
    let kind = match cancelled {
        UnheldCancel::Cancelled(_) => NoticeKind::Cancelled,
        UnheldCancel::AlreadyFailed(_) | UnheldCancel::NotLeased => NoticeKind::Nothing,
    };
    Ok(kind.into())
}

/// Kills the worker of a running job with all its processes, and counts them.
async fn kill(dashboard: &Dashboard, channel: &str, id: JobId) -> Result<Notice, Refusal> {
    let look = dashboard.camera.ask(channel, ControlRequest::Look { id: Some(id) }).await;
    let pid = match look {
        Some(Ok(ControlResponse::Look { view, .. })) => match view.job {
            Some(HeldJobStatus::Running(run)) => run.pid,
            _ => None,
        },
        _ => None,
    };
    let before = before_kill(pid).await;
    let killed = NoticeKind::Killed.into();
    let done = held(dashboard, channel, id, ControlRequest::Kill { id }, killed).await?;
    if !done.is(NoticeKind::Killed) {
        return Ok(done);
    }
    let Receipt { ended, left } = receipt(before).await;
    Ok(Notice::of(NoticeKind::Killed, [ended as u64, left as u64]))
}

/// Ends a job that the master behind the page holds, by a request.
async fn held(
    dashboard: &Dashboard,
    channel: &str,
    id: JobId,
    request: ControlRequest,
    ended: Notice,
) -> Result<Notice, Refusal> {
    match dashboard.camera.ask(channel, request).await {
        Some(Ok(ControlResponse::Cancel(HeldCancel::Cancelled { .. }))) => Ok(ended),
        // The job may have ended meanwhile.
        Some(Ok(ControlResponse::Cancel(HeldCancel::NotHeld))) | None => {
            let job = stored(dashboard.store(channel)?.get(id)).await?;
            let is_held = job.is_some_and(|job| job.state == JobState::Reserved);
            if is_held { Err(Refusal::HeldElsewhere) } else { Ok(NoticeKind::Nothing.into()) }
        }
        Some(Ok(_)) => Ok(NoticeKind::Nothing.into()),
        Some(Err(why)) => Err(Refusal::Failed(why)),
    }
}
