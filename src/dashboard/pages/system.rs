//! `/system`: the masters of all hosts, the stores, the limits and the configuration of the master behind the page.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use tokio::task::spawn_blocking;

use super::Asked;
use super::moments::ago;
use crate::channel::MasterSummary;
use crate::config::{Channel, Driver};
use crate::dashboard::parts::{Words, age, bytes, channel_path, count, lines, seconds};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::rights::{Can, Role, See};
use crate::dashboard::{Dashboard, OwnResources};
use crate::http::{Place, Usage, Used};
use crate::sanitize;

/// The part of the page that its script refreshes.
const PART: &str = "system";

/// A master with all that it has published.
struct Master {
    summary: MasterSummary,
    channels: Vec<String>,
    running: usize,
    memory: u64,
    /// The age of its last summary.
    seen: Option<Duration>,
}

/// `GET /system`.
pub(in crate::engine::dashboard) async fn system(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    place: Option<Extension<Arc<Place>>>,
    usage: Option<Extension<Usage>>,
    asked: Asked,
) -> Response {
    let picture = dashboard.camera.picture().await;
    let words = asked.language.words();
    let source = Arc::clone(&dashboard.source);
    let resources = spawn_blocking(move || source.resources()).await.unwrap_or_default();
    let sizes = sizes(&dashboard).await;
    let usage = usage.map(|Extension(usage)| usage).unwrap_or_default();
    let connections = place.map(|Extension(place)| place.connections()).unwrap_or_default();
    let used = [
        (words.system.connections, connections),
        (words.system.pages, usage.pages),
        (words.system.pushes, usage.pushes),
        (words.system.streams, dashboard.streams.used()),
    ];
    let part = html! {
        div data-part=(PART) data-every="5" {
            (own(&picture, resources, words))
            (masters(&picture, words))
            (stores(&dashboard, &picture, &sizes, words))
            (limits(&dashboard, &picture, words))
            (listener(&used, words))
        }
    };
    if asked.part.as_deref() == Some(PART) {
        return Html(part.into_string()).into_response();
    }
    let content = html! {
        h1 { (words.system.title) }
        (part)
        @if can.visitor.role >= Role::Operator { (configuration(&dashboard, words)) }
    };
    dashboard.render(&asked.page(words.system.title, "/system", Some("*"), content), &can.visitor)
}

/// The process of the master behind the page.
fn own(picture: &Picture, resources: OwnResources, words: &Words) -> Markup {
    let own = &picture.own;
    let memory = resources.memory.map_or_else(|| count(None), bytes);
    let descriptors = format!("{} / {}", count(resources.descriptors), count(resources.max_descriptors));
    html! {
        dl class="figures" {
            div { dt { (words.host) } dd { (sanitize::line(&own.host)) } }
            div { dt { (words.process) } dd { (own.pid) } }
            div { dt { (words.version) } dd { (own.program) } }
            div { dt { (words.system.runs_for) } dd { (ago(picture, own.started_at)) } }
            div { dt { (words.memory) } dd { (memory) } }
            div { dt { (words.system.descriptors) } dd { (descriptors) } }
        }
    }
}

/// The masters that are alive, each with its channels.
fn known_masters(picture: &Picture) -> Vec<Master> {
    let mut masters: BTreeMap<(String, String, i32), Master> = BTreeMap::new();
    for channel in &picture.channels {
        let alive = channel.masters.iter().flatten().filter(|view| view.lease_left.is_some());
        for published in alive.filter_map(|view| view.published.as_ref()) {
            let Some(summary) = published.summary.as_ref().and_then(MasterSummary::read) else { continue };
            let key = (summary.master.host.clone(), summary.master.boot.clone(), summary.master.pid);
            let (running, memory) = (summary.running, summary.memory);
            let master = masters.entry(key).or_insert_with(|| Master {
                summary,
                channels: Vec::new(),
                running: 0,
                memory: 0,
                seen: None,
            });
            master.channels.push(channel.name.clone());
            (master.running, master.memory) = (master.running + running, master.memory + memory);
            master.seen = master.seen.into_iter().chain([published.age]).min();
        }
    }
    masters.into_values().collect()
}

fn masters(picture: &Picture, words: &Words) -> Markup {
    let masters = known_masters(picture);
    html! {
        section class="card" {
            h2 { (words.masters) }
            @if masters.is_empty() {
                p class="empty" { (words.system.no_masters) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.host) }
                            th scope="col" { (words.process) }
                            th scope="col" { (words.version) }
                            th scope="col" class="number" { (words.system.runs_for) }
                            th scope="col" { (words.channels) }
                            th scope="col" class="number" { (words.running_now) }
                            th scope="col" class="number" { (words.system.workers_memory) }
                            th scope="col" class="number" { (words.seen) }
                        }
                    }
                    tbody {
                        @for master in &masters {
                            tr {
                                td data-label=(words.host) {
                                    (sanitize::line(&master.summary.master.host))
                                    @if picture.is_own(&master.summary) { " (" (words.this_master) ")" }
                                }
                                td data-label=(words.process) { (master.summary.master.pid) }
                                td data-label=(words.version) { (sanitize::line(&master.summary.master.program)) }
                                td class="number" data-label=(words.system.runs_for) { (ago(picture, master.summary.master.started_at)) }
                                td class="wide" data-label=(words.channels) { (master.channels.join(", ")) }
                                td class="number" data-label=(words.running_now) { (master.running) }
                                td class="number" data-label=(words.system.workers_memory) { (bytes(master.memory)) }
                                td class="number" data-label=(words.seen) { (age(master.seen)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The bytes of the store of each channel, where they are known: of a file with its log, or as the store counts them.
async fn sizes(dashboard: &Dashboard) -> BTreeMap<String, u64> {
    let file = |channel: &Channel| match &channel.driver {
        Driver::Sqlite { path, .. } => Some((channel.name.clone(), path.clone())),
        Driver::Redis(_) | Driver::Sync => None,
    };
    let files: Vec<_> = dashboard.config.channels.values().filter_map(file).collect();
    let read = move || {
        files
            .into_iter()
            .filter_map(|(name, path)| Some((name, file_size(&path)?)))
            .collect::<BTreeMap<_, _>>()
    };
    spawn_blocking(read).await.unwrap_or_default()
}

fn file_size(path: &Path) -> Option<u64> {
    let size = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.len());
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Some(size(path)? + size(Path::new(&log)).unwrap_or_default())
}

fn stores(dashboard: &Dashboard, picture: &Picture, sizes: &BTreeMap<String, u64>, words: &Words) -> Markup {
    let size = |channel: &ChannelPicture| {
        let counted = channel.counts.as_ref().and_then(|(counts, _)| counts.bytes);
        sizes.get(&channel.name).copied().or(counted)
    };
    let calls = |channel: &ChannelPicture| channel.recent.store_seconds;
    html! {
        section class="card" {
            h2 { (words.store) }
            table {
                thead {
                    tr {
                        th scope="col" { (words.channel) }
                        th scope="col" { (words.store) }
                        th scope="col" class="number" { (words.system.size) }
                        th scope="col" class="number" { (words.system.mean_call) }
                        th scope="col" class="number" { (words.system.slowest_call) }
                    }
                }
                tbody {
                    @for channel in &picture.channels {
                        tr {
                            td data-label=(words.channel) { (channel_link(dashboard, &channel.name)) }
                            td class="wide" data-label=(words.store) {
                                (sanitize::line(&channel.store))
                                @if channel.store_error.is_some() { " " span class="bad" { (words.store_away) } }
                            }
                            td class="number" data-label=(words.system.size) { (size(channel).map_or_else(|| count(None), bytes)) }
                            td class="number" data-label=(words.system.mean_call) { (seconds(calls(channel).map(|calls| f64::from(calls.mean)))) }
                            td class="number" data-label=(words.system.slowest_call) { (seconds(calls(channel).map(|calls| f64::from(calls.max)))) }
                        }
                    }
                }
            }
            p class="note" { (words.system.store_note) }
        }
    }
}

fn channel_link(dashboard: &Dashboard, name: &str) -> Markup {
    html! { a href=(dashboard.frame.link(&channel_path(name))) { (name) } }
}

/// The limits of the channels, as configured.
fn limits(dashboard: &Dashboard, picture: &Picture, words: &Words) -> Markup {
    let channels = picture.channels.iter().filter_map(|channel| dashboard.config.channels.get(&channel.name));
    let limited = |limit: Option<u64>, shown: fn(u64) -> String| limit.map_or_else(|| count(None), shown);
    html! {
        section class="card" {
            h2 { (words.system.limits) }
            table {
                thead {
                    tr {
                        th scope="col" { (words.channel) }
                        th scope="col" class="number" { (words.workers) }
                        th scope="col" class="number" { (words.attempts) }
                        th scope="col" class="number" { (words.system.max_waiting) }
                        th scope="col" class="number" { (words.system.max_bytes) }
                    }
                }
                tbody {
                    @for channel in channels {
                        @let limits = crate::store::PushLimit::of(channel).limits();
                        tr {
                            td data-label=(words.channel) { (channel_link(dashboard, &channel.name)) }
                            td class="number" data-label=(words.workers) { (channel.worker.plan.min) "–" (channel.worker.plan.max) }
                            td class="number" data-label=(words.attempts) { (channel.max_attempts) }
                            td class="number" data-label=(words.system.max_waiting) { (limited(limits.max_waiting, |jobs| count(Some(jobs)))) }
                            td class="number" data-label=(words.system.max_bytes) { (limited(limits.max_bytes, bytes)) }
                        }
                    }
                }
            }
        }
    }
}

fn listener(used: &[(&str, Used)], words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.system.listener) }
            dl class="facts" {
                @for (name, Used { taken, limit }) in used {
                    div { dt { (name) } dd { (taken) " / " (limit) } }
                }
            }
        }
    }
}

/// The effective configuration of the start, secrets hidden.
fn configuration(dashboard: &Dashboard, words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.system.configuration) }
            p class="note" {
                (words.system.configuration_note)
                @if let Some(file) = &dashboard.config.file { " " code { (sanitize::line(&file.display().to_string())) } }
            }
            details {
                summary { (words.activity.show) }
                pre tabindex="0" { (lines(&dashboard.config.to_toml())) }
            }
        }
    }
}
