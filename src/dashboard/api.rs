//! `/api/v1`: what pages show, as JSON. `openapi.json` describes it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Dashboard;
use super::pages::{Asked, Range, activity_entries};
use super::picture::{ChannelPicture, FiringAlert, Picture};
use super::refusal::Refusal;
use super::rights::{Can, See};
use crate::activity::ActivityEntry;
use crate::snapshot::{Point, ScaledAt, Step};

/// The description of the API.
const DESCRIPTION: &str = include_str!("openapi.json");

/// `GET /api/v1/openapi.json`.
pub(super) async fn description() -> Response {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

/// `GET /api/v1/channels`.
pub(super) async fn channels(State(dashboard): State<Arc<Dashboard>>, _: Can<See>) -> Json<Value> {
    Json(list(&*dashboard.camera.picture().await))
}

/// All channels.
pub(super) fn list(picture: &Picture) -> Value {
    let channels: Vec<_> = picture.channels.iter().map(summary).collect();
    json!({ "as_of": at(picture), "channels": channels })
}

/// `GET /api/v1/channels/{channel}`.
pub(super) async fn channel(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let picture = dashboard.camera.picture().await;
    let channel = dashboard.found(&picture, &name)?;
    Ok(Json(details(&picture, channel, can.visitor.sees_payloads)))
}

/// A channel; errors of the store and of workers may hold text of jobs.
pub(super) fn details(picture: &Picture, channel: &ChannelPicture, with_errors: bool) -> Value {
    let mut body = summary(channel);
    body["as_of"] = at(picture).into();
    body["trends"] = json!(channel.trends);
    if with_errors {
        body["status"] = json!(channel.status);
        body["store_error"] = json!(channel.store_error);
    }
    body
}

/// `GET /api/v1/channels/{channel}/series`.
pub(super) async fn series(
    State(dashboard): State<Arc<Dashboard>>,
    _: Can<See>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let picture = dashboard.camera.picture().await;
    let channel = dashboard.found(&picture, &name)?;
    let range = match asked.parameter("range") {
        None => Range::Quarter,
        Some(text) => Range::parse(text)
            .ok_or_else(|| Refusal::BadRequest("range is one of 15m, 1h, 6h, 24h".to_owned()))?,
    };
    let (step, period) = range.ring();
    let (points, scaled) = dashboard.camera.history(&channel.name, step, period).await;
    let mut body = samples(&picture, step, &points, &scaled);
    body["range"] = range.as_str().into();
    Ok(Json(body))
}

/// Samples and changes of the number of workers.
pub(super) fn samples(picture: &Picture, step: Step, points: &[Point], scaled: &[ScaledAt]) -> Value {
    json!({
        "as_of": at(picture),
        "step_seconds": step.seconds(),
        "points": points,
        "scaled": scaled,
    })
}

/// `GET /api/v1/alerts`.
pub(super) async fn alerts(State(dashboard): State<Arc<Dashboard>>, can: Can<See>) -> Json<Value> {
    let picture = dashboard.camera.picture().await;
    let known = picture.channels.iter().filter_map(|channel| {
        let rules = dashboard.config.channels.get(&channel.name).map_or(0, |channel| channel.rules.len());
        let json = channel.alert_records.as_deref()?.json(rules);
        let mut json = json!(if can.visitor.sees_payloads { json } else { json.without_texts() });
        json["channel"] = channel.name.as_str().into();
        Some(json)
    });
    let channels: Vec<_> = known.collect();
    Json(json!({ "as_of": at(&picture), "firing": picture.firing(), "channels": channels }))
}

/// `GET /api/v1/activity`.
pub(super) async fn activity(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let picture = dashboard.camera.picture().await;
    let only = match asked.field("channel") {
        Some(name) => Some(dashboard.found(&picture, &name)?),
        None => None,
    };
    let shown = |text: String| can.visitor.sees_payloads.then_some(text);
    let entry = |entry: ActivityEntry| {
        json!({
            "at": entry.at.0,
            "who": shown(entry.who),
            "action": entry.action,
            "channel": entry.channel,
            "target": entry.target,
            "result": shown(entry.result),
        })
    };
    let entries: Vec<_> = activity_entries(&dashboard, &picture, only).into_iter().map(entry).collect();
    Ok(Json(json!({ "as_of": at(&picture), "entries": entries })))
}

fn at(picture: &Picture) -> u64 {
    picture.at.0
}

/// The values of a channel that all visitors may see.
fn summary(channel: &ChannelPicture) -> Value {
    let counts = channel.counts.as_ref();
    let seconds = |time: Duration| time.as_secs_f64();
    let workers = channel.workers();
    let alert =
        |alert: &FiringAlert| json!({ "rule": alert.rule, "severity": alert.severity, "since": alert.since });
    let alerts: Vec<_> = channel.alerts.iter().map(alert).collect();
    json!({
        "name": channel.name,
        "mode": channel.mode.as_str(),
        "state": channel.state,
        "served_here": channel.is_served,
        "counts": counts.map(|(counts, age)| json!({
            "waiting": counts.waiting,
            "delayed": counts.delayed,
            "reserved": counts.reserved,
            "failed": counts.failed,
            "done": counts.done,
            "paused": counts.paused,
            "age_seconds": seconds(*age),
        })),
        "alerts": alerts,
        "waiting_hour": channel.waiting_hour.iter().map(|(_, waiting)| waiting).collect::<Vec<_>>(),
        "front_waits_seconds": channel.front_waits().map(seconds),
        "workers": workers.map(|(busy, serving)| json!({ "busy": busy, "serving": serving, "max": channel.max_workers })),
        "recent": channel.recent,
    })
}
