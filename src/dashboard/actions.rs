//! The actions of operators: each is a form that is posted, and a line in the log with the name of the operator.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tracing::info;

use super::Dashboard;
use super::pages::{Form, Notice};
use super::refusal::Refusal;
use super::rights::{Can, Operate};
use crate::channel::{HeldCancel, UnheldCancel, cancel_unheld};
use crate::control::{ControlRequest, ControlResponse};
use crate::job::{JobId, MAX_DELAY, error_chain};
use crate::store::{self, JobState, StoreError};

/// Longest time for which a page waits for its action.
const WAIT: Duration = Duration::from_secs(3);

/// `POST /channels/{name}/actions/{action}`.
pub(super) async fn of_channel(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, action)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Refusal> {
    dashboard.found(&*dashboard.camera.picture().await, &name)?;
    let order = match action.as_str() {
        "pause" => Order::Pause(pause_time(form.field("seconds"))?),
        "resume" => Order::Resume,
        "quiet" => Order::Quiet,
        _ => return Err(Refusal::NoSuchPage),
    };
    let path = format!("/channels/{name}");
    let done = carried_out(&dashboard, &can, order, &name).await?;
    Ok(dashboard.shown(&path, done))
}

/// The duration of a pause; `None` until the channel is resumed.
fn pause_time(seconds: &str) -> Result<Option<Duration>, Refusal> {
    if seconds.is_empty() {
        return Ok(None);
    }
    let time = seconds.parse().ok().map(Duration::from_secs);
    let time = time.filter(|time| !time.is_zero() && *time <= MAX_DELAY);
    time.map(Some)
        .ok_or_else(|| Refusal::BadRequest("seconds is a whole number, at most ten years".to_owned()))
}

/// `POST /channels/{name}/jobs/{id}/{action}`.
pub(super) async fn of_job(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, id, action)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    dashboard.found(&*dashboard.camera.picture().await, &name)?;
    let id: JobId = id.parse().map_err(|_| Refusal::NoSuchJob)?;
    let order = match action.as_str() {
        "retry" => Order::Retry(id),
        "remove" => Order::Remove(id),
        "cancel" => Order::Cancel(id),
        _ => return Err(Refusal::NoSuchPage),
    };
    let done = carried_out(&dashboard, &can, order, &name).await?;
    let after = match done {
        Notice::Removed => format!("/channels/{name}/jobs"),
        _ => format!("/channels/{name}/jobs/{id}"),
    };
    Ok(dashboard.shown(&after, done))
}

/// An action with its target within a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// For a time, or until the channel is resumed.
    Pause(Option<Duration>),
    Resume,
    Quiet,
    Retry(JobId),
    Remove(JobId),
    Cancel(JobId),
}

impl Order {
    /// The word of the action in addresses and in the log.
    fn as_str(self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Resume => "resume",
            Self::Quiet => "quiet",
            Self::Retry(_) => "retry",
            Self::Remove(_) => "remove",
            Self::Cancel(_) => "cancel",
        }
    }

    fn job(self) -> Option<JobId> {
        match self {
            Self::Pause(_) | Self::Resume | Self::Quiet => None,
            Self::Retry(id) | Self::Remove(id) | Self::Cancel(id) => Some(id),
        }
    }
}

/// Carries out an order in a task of its own: a client that leaves, or waits no longer, interrupts no action, and each is in the log
/// with its result. An order that takes longer than [`WAIT`] continues without the page.
async fn carried_out(
    dashboard: &Arc<Dashboard>,
    can: &Can<Operate>,
    order: Order,
    channel: &str,
) -> Result<Notice, Refusal> {
    let who = can.visitor.name.clone().unwrap_or_default();
    let (dashboard, channel) = (Arc::clone(dashboard), channel.to_owned());
    let acting = tokio::spawn(async move {
        let done = order.carry_out(&dashboard, &channel).await;
        let result = done.as_ref().map_or_else(|refusal| refusal.code(), |notice| notice.as_str());
        let (action, job) = (order.as_str(), order.job().map(|id| id.to_string()).unwrap_or_default());
        info!(%who, action, channel, job, result, "dashboard action");
        done
    });
    match timeout(WAIT, acting).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(Refusal::Failed("the action was interrupted".to_owned())),
        Err(_) => Ok(Notice::UnderWay),
    }
}

impl Order {
    async fn carry_out(self, dashboard: &Dashboard, channel: &str) -> Result<Notice, Refusal> {
        let store = dashboard.store(channel)?;
        Ok(match self {
            Self::Pause(time) => {
                stored(store.pause(time)).await?;
                Notice::Paused
            }
            Self::Resume => {
                // The master first, which works while the store is unavailable.
                let was_quiet = matches!(
                    dashboard.camera.ask(channel, ControlRequest::Resume).await,
                    Some(Ok(ControlResponse::Resumed { was_quiet: true }))
                );
                let was_paused = stored(store.resume()).await?;
                if was_quiet || was_paused { Notice::Resumed } else { Notice::Nothing }
            }
            Self::Quiet => match dashboard.camera.ask(channel, ControlRequest::Quiet).await {
                Some(Ok(_)) => Notice::Quiet,
                Some(Err(why)) => return Err(Refusal::Failed(why)),
                None => return Err(Refusal::NotServedHere),
            },
            Self::Retry(id) if stored(store::reload_failed_job(store, id)).await? => Notice::Retried,
            Self::Remove(id) if stored(store::remove_failed_job(store, id)).await? => Notice::Removed,
            Self::Retry(_) | Self::Remove(_) => Notice::Nothing,
            Self::Cancel(id) => cancel(dashboard, channel, id).await?,
        })
    }
}

/// The answer of a store to an action, however long it takes: an action that is dropped in the middle may be half done.
async fn stored<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Refusal> {
    call.await.map_err(|error| Refusal::StoreDown(error_chain(&error)))
}

/// Cancels a job where it is: in its worker, or at rest in the store.
async fn cancel(dashboard: &Dashboard, channel: &str, id: JobId) -> Result<Notice, Refusal> {
    let job = stored(dashboard.store(channel)?.get(id)).await?;
    let job = job.ok_or(Refusal::NoSuchJob)?;
    if job.state == JobState::Failed {
        return Ok(Notice::Nothing);
    }
    if job.state == JobState::Reserved {
        return match dashboard.camera.ask(channel, ControlRequest::Cancel { id }).await {
            Some(Ok(ControlResponse::Cancel(HeldCancel::Cancelled { .. }))) => Ok(Notice::Cancelled),
            // The job may have ended meanwhile.
            Some(Ok(ControlResponse::Cancel(HeldCancel::NotHeld))) | None => {
                let job = stored(dashboard.store(channel)?.get(id)).await?;
                let is_held = job.is_some_and(|job| job.state == JobState::Reserved);
                if is_held { Err(Refusal::HeldElsewhere) } else { Ok(Notice::Nothing) }
            }
            Some(Ok(_)) => Ok(Notice::Nothing),
            Some(Err(why)) => Err(Refusal::Failed(why)),
        };
    }
    let cancelled = stored(cancel_unheld(dashboard.store(channel)?, id)).await?;
    Ok(match cancelled {
        UnheldCancel::Cancelled(_) => Notice::Cancelled,
        UnheldCancel::AlreadyFailed(_) | UnheldCancel::NotLeased => Notice::Nothing,
    })
}

impl Dashboard {
    /// The way to the page that shows a result. A reload of that page repeats nothing.
    fn shown(&self, path: &str, done: Notice) -> Response {
        let address = format!("{}?done={}", self.frame.link(path), done.as_str());
        (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response()
    }
}
