//! `/`: all channels, those with trouble first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::Asked;
use super::charts::waiting_line;
use super::moments::ago;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, age, channel_path, count, per_second, seconds};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, See};
use crate::sanitize;

/// Most alerts in the list above a page.
const MAX_ALERTS: usize = 20;

/// `GET /`.
pub(in crate::engine::dashboard) async fn overview(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let words = asked.language.words();
    let table = html! { div data-part="channels" data-states { (table(&dashboard, &picture, words)) } };
    match asked.part.as_deref() {
        Some("channels") => return Ok(Html(table.into_string()).into_response()),
        Some("alerts") => {
            let alerts = alerts(&dashboard, &picture, &picture.channels, words);
            return Ok(Html(alerts.into_string()).into_response());
        }
        _ => {}
    }
    let content = html! {
        h1 class="hidden" { (words.overview) }
        (alerts(&dashboard, &picture, &picture.channels, words))
        (totals(&picture, words))
        (table)
        p class="note" { (words.per_channel_note) }
    };
    Ok(dashboard.render(&asked.page(words.overview, "/", Some("*"), content), &can.visitor))
}

/// The sum over all channels of a value that some may not have; `None` if none has it.
fn sum<T: std::iter::Sum<T>>(picture: &Picture, of: impl Fn(&ChannelPicture) -> Option<T>) -> Option<T> {
    let known: Vec<_> = picture.channels.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| known.into_iter().sum())
}

/// The figures of all channels together, by the key of their live updates.
pub(in crate::engine::dashboard) fn total_figures(picture: &Picture) -> [(&'static str, String); 6] {
    let of_store = |of: fn(&crate::store::JobCounts) -> u64| {
        sum(picture, |channel| channel.counts.as_ref().map(|(counts, _)| of(counts)))
    };
    let busy = sum(picture, |channel| channel.workers().map(|(busy, _)| busy as u64));
    let serving = sum(picture, |channel| channel.workers().map(|(_, serving)| serving as u64));
    let oldest = picture.channels.iter().filter_map(ChannelPicture::front_waits).max();
    [
        ("waiting", count(of_store(|counts| counts.waiting))),
        ("in", per_second(sum(picture, |channel| channel.recent.arrived_per_second))),
        ("out", per_second(sum(picture, |channel| channel.recent.settled_per_second))),
        ("failed", count(of_store(|counts| counts.failed))),
        ("workers", busy_of(busy, serving)),
        ("oldest", age(oldest)),
    ]
}

/// Busy and serving workers, or a dash for unknown ones.
fn busy_of(busy: Option<u64>, serving: Option<u64>) -> String {
    match (busy, serving) {
        (Some(_), Some(_)) => format!("{} / {}", count(busy), count(serving)),
        _ => count(None),
    }
}

fn totals(picture: &Picture, words: &Words) -> Markup {
    let names = [words.waiting, words.rate_in, words.rate_out, words.failed, words.workers, words.oldest];
    html! {
        dl class="figures" {
            @for ((key, value), name) in total_figures(picture).into_iter().zip(names) {
                div { dt { (name) } dd data-k={ "*." (key) } { (value) } }
            }
        }
    }
}

/// The figures of a channel in the table, by the key of their live updates.
pub(in crate::engine::dashboard) fn row_figures(channel: &ChannelPicture) -> [(&'static str, String); 8] {
    let counts = channel.counts.as_ref().map(|(counts, _)| counts);
    let (busy, serving) =
        channel.workers().map_or((None, None), |(busy, serving)| (Some(busy as u64), Some(serving as u64)));
    let recent = &channel.recent;
    [
        ("waiting", count(counts.map(|counts| counts.waiting))),
        ("oldest", age(channel.front_waits())),
        ("reserved", count(counts.map(|counts| counts.reserved))),
        ("workers", busy_of(busy, serving)),
        ("in", per_second(recent.arrived_per_second)),
        ("out", per_second(recent.settled_per_second)),
        ("run", seconds(recent.run_seconds.map(|times| f64::from(times.p95)))),
        ("failed", count(counts.map(|counts| counts.failed))),
    ]
}

fn table(dashboard: &Dashboard, picture: &Picture, words: &Words) -> Markup {
    let heads = [
        words.waiting,
        words.oldest,
        words.reserved,
        words.workers,
        words.rate_in,
        words.rate_out,
        words.run_time,
        words.failed,
    ];
    html! {
        table class="channels" {
            caption class="hidden" { (words.channels) }
            thead {
                tr {
                    th scope="col" { (words.channel) }
                    th scope="col" { (words.state) }
                    @for head in heads { th scope="col" class="number" { (head) } }
                    th scope="col" { (words.last_hour) }
                }
            }
            tbody {
                @for channel in picture.by_trouble() {
                    tr id={ "channel-" (channel.name) } {
                        th scope="row" {
                            a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) }
                        }
                        td data-label=(words.state) { (state(channel, words)) }
                        @for ((key, value), head) in row_figures(channel).into_iter().zip(heads) {
                            td class="number" data-label=(head) data-k={ (channel.name) "." (key) } { (value) }
                        }
                        td class="wide" data-label=(words.last_hour) { (waiting_line(channel, words).render(&words.chart)) }
                    }
                }
            }
        }
    }
}

/// The alerts of channels that fire; nothing without any.
pub(super) fn alerts<'a>(
    dashboard: &Dashboard,
    picture: &Picture,
    channels: impl IntoIterator<Item = &'a ChannelPicture>,
    words: &Words,
) -> Markup {
    let firing =
        channels.into_iter().flat_map(|channel| channel.alerts.iter().map(move |alert| (channel, alert)));
    let mut firing: Vec<_> = firing.collect();
    firing.sort_by_key(|(_, alert)| std::cmp::Reverse(alert.severity));
    html! {
        div data-part="alerts" data-every="5" {
            @if !firing.is_empty() {
                section class="alerts" aria-label=(words.alerts) {
                    h2 { a href=(dashboard.frame.link("/alerts")) { (words.firing) " " (firing.len()) } }
                    ul {
                        @for (channel, alert) in firing.iter().take(MAX_ALERTS) {
                            li {
                                a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) ": " (sanitize::line(&alert.rule)) }
                                " " (alert.severity) ", " (ago(picture, alert.since))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The state in a word, with its colour and its sign; why the store cannot be used is in the tooltip.
pub(super) fn state(channel: &ChannelPicture, words: &Words) -> Markup {
    use crate::dashboard::picture::ChannelState::{
        Degraded, Idle, NoMaster, Paused, Quiet, Stopping, StoreDown, Stuck, Works,
    };
    let (class, sign) = match channel.state {
        StoreDown | NoMaster | Stuck | Degraded => ("state bad", "⚠"),
        Stopping | Paused | Quiet => ("state held", "‖"),
        Works => ("state good", "✓"),
        Idle => ("state idle", "○"),
    };
    html! {
        span class=(class) {
            span aria-hidden="true" { (sign) }
            " " (words.state(channel.state))
        }
    }
}
