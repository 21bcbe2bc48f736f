//! The actions of operators: each is a form that is posted, and a line in the log with the name of the operator.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use tracing::info;

use super::pages::{Form, Notice};
use super::refusal::Refusal;
use super::rights::{Can, Operate};
use super::{Dashboard, answered};
use crate::channel::{HeldCancel, UnheldCancel, cancel_unheld};
use crate::control::{ControlRequest, ControlResponse};
use crate::job::{JobId, MAX_DELAY};
use crate::store::{self, JobState};

/// `POST /channels/{name}/actions/{action}`.
pub(super) async fn of_channel(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, action)): Path<(String, String)>,
    form: Form,
) -> Result<Response, Refusal> {
    dashboard.found(&*dashboard.camera.picture().await, &name)?;
    let done = match action.as_str() {
        "pause" => {
            let time = pause_time(form.field("seconds"))?;
            answered(dashboard.store(&name)?.pause(time)).await?;
            Notice::Paused
        }
        "resume" => {
            // The master first, which works while the store is unavailable.
            let was_quiet = matches!(
                dashboard.camera.ask(&name, ControlRequest::Resume).await,
                Some(Ok(ControlResponse::Resumed { was_quiet: true }))
            );
            let was_paused = answered(dashboard.store(&name)?.resume()).await?;
            if was_quiet || was_paused { Notice::Resumed } else { Notice::Nothing }
        }
        "quiet" => match dashboard.camera.ask(&name, ControlRequest::Quiet).await {
            Some(Ok(_)) => Notice::Quiet,
            Some(Err(why)) => return Err(Refusal::Failed(why)),
            None => return Err(Refusal::NotServedHere),
        },
        _ => return Err(Refusal::NoSuchPage),
    };
    log(&can, &action, &name, None, done);
    Ok(dashboard.shown(&format!("/channels/{name}"), done))
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
    let done = match action.as_str() {
        "retry" => {
            let moved = answered(store::reload_failed_job(dashboard.store(&name)?, id)).await?;
            if moved { Notice::Retried } else { Notice::Nothing }
        }
        "remove" => {
            let removed = answered(store::remove_failed_job(dashboard.store(&name)?, id)).await?;
            if removed { Notice::Removed } else { Notice::Nothing }
        }
        "cancel" => cancel(&dashboard, &name, id).await?,
        _ => return Err(Refusal::NoSuchPage),
    };
    log(&can, &action, &name, Some(id), done);
    let after = match done {
        Notice::Removed => format!("/channels/{name}/jobs"),
        _ => format!("/channels/{name}/jobs/{id}"),
    };
    Ok(dashboard.shown(&after, done))
}

/// Cancels a job where it is: in its worker, or at rest in the store.
async fn cancel(dashboard: &Dashboard, channel: &str, id: JobId) -> Result<Notice, Refusal> {
    let job = answered(dashboard.store(channel)?.get(id)).await?;
    let job = job.ok_or(Refusal::NoSuchJob)?;
    if job.state == JobState::Failed {
        return Ok(Notice::Nothing);
    }
    if job.state == JobState::Reserved {
        return match dashboard.camera.ask(channel, ControlRequest::Cancel { id }).await {
            Some(Ok(ControlResponse::Cancel(HeldCancel::Cancelled { .. }))) => Ok(Notice::Cancelled),
            Some(Ok(ControlResponse::Cancel(HeldCancel::NotHeld))) | None => Err(Refusal::HeldElsewhere),
            Some(Ok(_)) => Ok(Notice::Nothing),
            Some(Err(why)) => Err(Refusal::Failed(why)),
        };
    }
    let cancelled = answered(cancel_unheld(dashboard.store(channel)?, id)).await?;
    Ok(match cancelled {
        UnheldCancel::Cancelled(_) => Notice::Cancelled,
        UnheldCancel::AlreadyFailed(_) | UnheldCancel::NotLeased => Notice::Nothing,
    })
}

fn log(can: &Can<Operate>, action: &str, channel: &str, job: Option<JobId>, done: Notice) {
    let who = can.visitor.name.as_deref().unwrap_or_default();
    let result = done.as_str();
    match job {
        Some(job) => info!(who, action, channel, %job, result, "dashboard action"),
        None => info!(who, action, channel, result, "dashboard action"),
    }
}

impl Dashboard {
    /// The way to the page that shows a result. A reload of that page repeats nothing.
    fn shown(&self, path: &str, done: Notice) -> Response {
        let address = format!("{}?done={}", self.frame.link(path), done.as_str());
        (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response()
    }
}
