//! `GET /events`: the figures of open pages, once a second, as server-sent events.
//!
//! All streams of a second share one picture. A slow reader misses seconds, and never makes others wait. The stream ends with
//! `event: bye` when the master stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::Stream;

use super::Dashboard;
use super::pages::{Asked, age_note, channel_figures, row_figures, total_figures};
use super::parts::{Words, firing_text};
use super::picture::{ChannelPicture, Picture};
use super::refusal::Refusal;
use super::rights::{Can, See};
use crate::http::Stopping;

/// Time between two events.
const TICK: Duration = Duration::from_secs(1);
/// Time between two comments of a stream without events; proxies close silent connections after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time after which a browser connects again.
const RETRY: Duration = Duration::from_secs(2);

/// The stream of a page.
pub(super) async fn stream(
    State(dashboard): State<Arc<Dashboard>>,
    _: Can<See>,
    asked: Asked,
    stopping: Option<Extension<Stopping>>,
) -> Result<Response, Refusal> {
    let permit = dashboard.streams.take(tokio::time::Instant::now()).map_err(|_| Refusal::TooManyStreams)?;
    let about = asked.parameter("channel").unwrap_or("*").to_owned();
    if about != "*" {
        dashboard.found(&*dashboard.camera.picture().await, &about)?;
    }
    let language = asked.language;
    let (events, on_event) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let _permit = permit;
        let ticking = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last = 0;
            loop {
                ticks.tick().await;
                let picture = dashboard.camera.picture().await;
                if picture.number == last {
                    continue;
                }
                last = picture.number;
                let words = language.words();
                let data = dashboard
                    .ticks
                    .text(picture.number, &about, language, || tick(&picture, &about, words).to_string());
                let event = Event::default().event("tick").id(last.to_string()).retry(RETRY).data(&*data);
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        };
        match stopping {
            None => ticking.await,
            Some(Extension(mut stopping)) => tokio::select! {
                () = ticking => {}
                () = stopping.wait() => {
                    let _ = events.send(Ok(Event::default().event("bye").data("{}"))).await;
                }
            },
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let mut response = Sse::new(received(on_event)).keep_alive(keep_alive).into_response();
    // nginx would keep events until its buffer is full.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), "no".parse().expect("plain text"));
    Ok(response)
}

fn received(
    on_event: tokio::sync::mpsc::Receiver<Result<Event, Infallible>>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    tokio_stream::wrappers::ReceiverStream::new(on_event)
}

/// The figures of a page: for each key the text, and the states of the channels.
fn tick(picture: &Picture, about: &str, words: &Words) -> Value {
    let mut figures = Map::new();
    let mut states = Map::new();
    add(&mut figures, "*", [("firing", firing_text(picture.firing()))]);
    match picture.channel(about) {
        Some(channel) => {
            add(&mut figures, about, channel_figures(channel));
            add(&mut figures, about, [("age", age_note(channel, words))]);
            state(&mut states, channel, words);
        }
        None => {
            add(&mut figures, "*", total_figures(picture));
            for channel in &picture.channels {
                add(&mut figures, &channel.name, row_figures(channel));
                state(&mut states, channel, words);
            }
        }
    }
    json!({ "at": picture.at.0 / 1000, "figures": figures, "states": states })
}

fn add<const N: usize>(figures: &mut Map<String, Value>, owner: &str, of: [(&str, String); N]) {
    figures.extend(of.into_iter().map(|(key, value)| (format!("{owner}.{key}"), value.into())));
}

fn state(states: &mut Map<String, Value>, channel: &ChannelPicture, words: &Words) {
    states.insert(channel.name.clone(), words.state(channel.state).into());
}
