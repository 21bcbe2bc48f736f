//! The actions of operators: each is a form that is posted, a line in the log with the name of the operator, and an entry of the
//! activity.
//!
//! `channel_order`, `job_order`, `worker_order` and `receiver_test` know their actions and what each does; this module carries them out.

mod channel_order;
mod job_order;
mod receiver_test;
mod worker_order;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;
use tracing::info;

use super::Dashboard;
use super::pages::{Asked, Form, Notice, NoticeKind};
use super::parts::channel_path;
use super::refusal::Refusal;
use super::rights::{Can, Operate};
use crate::job::JobId;
use channel_order::ChannelOrder;
use job_order::JobOrder;
use receiver_test::ReceiverTest;
use worker_order::WorkerOrder;

/// Seconds for which a browser keeps the result of an action for the page that shows it.
const NOTICE_SECONDS: u64 = 60;

/// An action with its target.
#[async_trait]
trait Order: Send + 'static {
    /// The word of the action in addresses and in the log.
    fn word(&self) -> &'static str;

    /// The target within the channel, for the log; empty for the channel itself.
    fn target(&self) -> String;

    /// Longest time for which a page waits for the action, which continues without it then.
    fn wait(&self) -> Duration {
        Duration::from_secs(3)
    }

    /// Carries out the action in a channel.
    async fn carry_out(self, dashboard: &Dashboard, channel: &str) -> Result<Notice, Refusal>;
}

/// `POST /channels/{name}/actions/{action}`.
pub(super) async fn of_channel(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, action)): Path<(String, String)>,
    asked: Asked,
    form: Form,
) -> Result<Response, Refusal> {
    let channel = dashboard.found(&*dashboard.camera.picture().await, &name)?.name.clone();
    let order = ChannelOrder::parse(&action, &form, &channel)?;
    let path = if order.is_of_alerts() { "/alerts".to_owned() } else { channel_path(&channel) };
    let done = carried_out(&dashboard, &can, order, &channel).await?;
    Ok(dashboard.done(&path, done, &asked))
}

/// `POST /channels/{name}/jobs/{id}/{action}`.
pub(super) async fn of_job(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, id, action)): Path<(String, String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let channel = dashboard.found(&*dashboard.camera.picture().await, &name)?.name.clone();
    let id: JobId = id.parse().map_err(|_| Refusal::NoSuchJob)?;
    let order = JobOrder::parse(&action, id)?;
    let done = carried_out(&dashboard, &can, order, &channel).await?;
    let path = match done.is(NoticeKind::Removed) {
        true => format!("{}/jobs", channel_path(&channel)),
        false => format!("{}/jobs/{id}", channel_path(&channel)),
    };
    Ok(dashboard.done(&path, done, &asked))
}

/// `POST /channels/{name}/workers/{pid}/{action}`.
pub(super) async fn of_worker(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    Path((name, pid, action)): Path<(String, String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let channel = dashboard.found(&*dashboard.camera.picture().await, &name)?.name.clone();
    let pid: i32 = pid.parse().map_err(|_| Refusal::NoSuchWorker)?;
    let order = WorkerOrder::parse(&action, pid)?;
    let done = carried_out(&dashboard, &can, order, &channel).await?;
    Ok(dashboard.done(&channel_path(&channel), done, &asked))
}

/// `POST /alerts/test`.
pub(super) async fn test_receiver(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<Operate>,
    asked: Asked,
    form: Form,
) -> Result<Response, Refusal> {
    let receiver = form.field("receiver").to_owned();
    let done = carried_out(&dashboard, &can, ReceiverTest(receiver), "").await?;
    Ok(dashboard.done("/alerts", done, &asked))
}

/// Carries out an order in a task of its own: a client that leaves, or waits no longer, interrupts no action, and each is in the log
/// with its result.
async fn carried_out(
    dashboard: &Arc<Dashboard>,
    can: &Can<Operate>,
    order: impl Order,
    channel: &str,
) -> Result<Notice, Refusal> {
    let who = can.visitor.name.clone().unwrap_or_default();
    let (dashboard, channel, wait) = (Arc::clone(dashboard), channel.to_owned(), order.wait());
    let acting = tokio::spawn(async move {
        let (action, subject) = (order.word(), order.target());
        let done = order.carry_out(&dashboard, &channel).await;
        let result = done.as_ref().map_or_else(|refusal| refusal.code().to_owned(), |notice| notice.text());
        info!(%who, action, channel, subject, result, "dashboard action");
        dashboard.source.activity().add(&who, action, &channel, &subject, &result);
        done
    });
    match timeout(wait, acting).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(Refusal::Failed("the action was interrupted".to_owned())),
        Err(_) => Ok(NoticeKind::UnderWay.into()),
    }
}

impl Dashboard {
    /// The way to the page that shows a result; a program gets the result itself. A reload of that page repeats nothing.
    fn done(&self, path: &str, done: Notice, asked: &Asked) -> Response {
        if !asked.wants_html {
            let sentence = done.sentence(asked.language.words());
            return Json(json!({ "result": done.word(), "sentence": sentence })).into_response();
        }
        let cookie = self.frame.notice_cookie(&done.text(), NOTICE_SECONDS);
        (StatusCode::SEE_OTHER, [(LOCATION, self.frame.link(path))], [(SET_COOKIE, cookie)]).into_response()
    }
}
