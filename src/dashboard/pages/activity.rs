//! `/activity`: the last actions of operators and commands, scaling, reloads, masters that came and went, and the ends of workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use form_urlencoded::byte_serialize;
use maud::{Markup, html};

use super::Asked;
use super::moments::ago;
use crate::activity::ActivityEntry;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, channel_path, count};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, See, Visitor};
use crate::job::Timestamp;
use crate::sanitize;

/// Rows of a page.
const PAGE_ROWS: usize = 100;
/// The part of the page that its script refreshes.
const PART: &str = "activity";
/// The actor of decisions about the number of workers.
const AUTOSCALER: &str = "autoscaler";

/// `GET /activity`.
pub(in crate::engine::dashboard) async fn activity(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let words = asked.language.words();
    let only = match asked.field("channel") {
        Some(name) => Some(dashboard.found(&picture, &name)?),
        None => None,
    };
    let skip = asked.parameter("from").map_or(Ok(0), str::parse);
    let skip: usize = skip.map_err(|_| Refusal::BadRequest("from is a number of rows".to_owned()))?;
    let mut rows = entries(&dashboard, &picture, only);
    let more = rows.len() > skip.saturating_add(PAGE_ROWS);
    let rows: Vec<_> = rows.drain(..).skip(skip).take(PAGE_ROWS).collect();
    let path = |from: usize| address(only, from);
    let part = html! {
        div data-part=(PART) data-every="5" {
            (table(&dashboard, &picture, &rows, &can.visitor, words))
            (pager(&dashboard, more, skip, path, words))
            (ends(only.map_or(&picture.channels[..], std::slice::from_ref), words))
        }
    };
    if asked.part.as_deref() == Some(PART) {
        return Ok(Html(part.into_string()).into_response());
    }
    let content = html! {
        h1 { (words.activity.title) }
        (filter(&dashboard, &picture, only, words))
        (part)
        p class="note" { (words.activity.note) }
    };
    let page = asked.page(words.activity.title, path(skip), Some("*"), content);
    Ok(dashboard.render(&page, &can.visitor))
}

/// The path and query of a page of the list.
fn address(only: Option<&ChannelPicture>, from: usize) -> String {
    let mut query = Vec::new();
    query.extend(
        only.map(|channel| {
            format!("channel={}", byte_serialize(channel.name.as_bytes()).collect::<String>())
        }),
    );
    query.extend((from > 0).then(|| format!("from={from}")));
    if query.is_empty() { "/activity".to_owned() } else { format!("/activity?{}", query.join("&")) }
}

/// The actions and the decisions about the number of workers, the newest first.
pub(in crate::engine::dashboard) fn entries(
    dashboard: &Dashboard,
    picture: &Picture,
    only: Option<&ChannelPicture>,
) -> Vec<ActivityEntry> {
    let mut rows = dashboard.source.activity().entries();
    for channel in &picture.channels {
        let scaled = channel.status.iter().flat_map(|status| &status.pool.scaled);
        rows.extend(scaled.map(|change| ActivityEntry {
            at: Timestamp(picture.at.0.saturating_sub(change.ago_ms.saturating_mul(1_000))),
            who: AUTOSCALER.to_owned(),
            action: "scaled",
            channel: channel.name.clone(),
            target: format!("{} → {}", change.from, change.decision.workers),
            result: change.decision.to_string(),
        }));
    }
    // An event of the whole master is one of each channel.
    rows.retain(|row| only.is_none_or(|channel| row.channel.is_empty() || row.channel == channel.name));
    rows.sort_by_key(|row| std::cmp::Reverse(row.at));
    rows
}

/// The choice of a channel, for a browser without a script.
fn filter(dashboard: &Dashboard, picture: &Picture, only: Option<&ChannelPicture>, words: &Words) -> Markup {
    html! {
        form class="search" method="get" action=(dashboard.frame.link("/activity")) {
            label for="channel" { (words.channel) }
            select id="channel" name="channel" {
                option value="" { (words.activity.all_channels) }
                @for channel in &picture.channels {
                    option value=(channel.name) selected[only.is_some_and(|only| only.name == channel.name)] { (channel.name) }
                }
            }
            button type="submit" { (words.activity.show) }
        }
    }
}

fn table(
    dashboard: &Dashboard,
    picture: &Picture,
    rows: &[ActivityEntry],
    visitor: &Visitor,
    words: &Words,
) -> Markup {
    html! {
        section class="card" {
            @if rows.is_empty() {
                p class="empty" { (words.activity.nothing) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" class="number" { (words.activity.before) }
                            th scope="col" { (words.activity.who) }
                            th scope="col" { (words.activity.action) }
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.activity.target) }
                            th scope="col" { (words.activity.result) }
                        }
                    }
                    tbody {
                        @for row in rows {
                            tr {
                                td class="number" data-label=(words.activity.before) { (ago(picture, row.at)) }
                                td data-label=(words.activity.who) {
                                    // Names of people are for those who have shown their own.
                                    @if visitor.sees_payloads || row.who == AUTOSCALER { (sanitize::line(&row.who)) } @else { "–" }
                                }
                                td data-label=(words.activity.action) { (row.action) }
                                td data-label=(words.channel) {
                                    @if row.channel.is_empty() { "–" } @else {
                                        a href=(dashboard.frame.link(&channel_path(&row.channel))) { (row.channel) }
                                    }
                                }
                                td data-label=(words.activity.target) { (sanitize::line(&row.target)) }
                                td class="wide" data-label=(words.activity.result) {
                                    @if visitor.sees_payloads || row.who == AUTOSCALER { (sanitize::line(&row.result)) } @else { "–" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pager(
    dashboard: &Dashboard,
    more: bool,
    skip: usize,
    path: impl Fn(usize) -> String,
    words: &Words,
) -> Markup {
    html! {
        @if more || skip > 0 {
            nav class="ranges" aria-label=(words.pages) {
                @if skip > 0 { a href=(dashboard.frame.link(&path(0))) { (words.first_page) } }
                @if more { a rel="next" href=(dashboard.frame.link(&path(skip + PAGE_ROWS))) { (words.next_page) } }
            }
        }
    }
}

/// The ends of workers since the start of the master, grouped by channel and cause.
fn ends(channels: &[ChannelPicture], words: &Words) -> Markup {
    let grouped = channels.iter().filter_map(|channel| {
        let lifetimes = &channel.status.as_ref()?.pool.lifetimes;
        let mut causes: Vec<_> =
            lifetimes.ended.iter().map(|(cause, number)| (cause.clone(), *number)).collect();
        causes.extend(lifetimes.signals.iter().map(|(signal, number)| (signal.clone(), *number)));
        (!causes.is_empty()).then_some((&channel.name, causes))
    });
    let grouped: BTreeMap<_, _> = grouped.collect();
    html! {
        section class="card" {
            h2 { (words.activity.worker_ends) }
            @if grouped.is_empty() {
                p class="empty" { (words.activity.no_ends) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.activity.cause) }
                            th scope="col" class="number" { (words.workers) }
                        }
                    }
                    tbody {
                        @for (name, causes) in &grouped {
                            @for (cause, number) in causes {
                                tr {
                                    td data-label=(words.channel) { (name) }
                                    td data-label=(words.activity.cause) { (words.cause(cause)) }
                                    td class="number" data-label=(words.workers) { (count(Some(*number))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
