//! `/channels/{name}`: state, charts, running jobs and workers of one channel.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::Asked;
use super::channel_actions::channel_actions;
use super::charts::{Range, Samples};
use super::jobs::job_path;
use super::moments::ago;
use super::notice::notice;
use super::overview::{alerts, state};
use super::worker::worker_path;
use crate::channel::MasterSummary;
use crate::dashboard::parts::{Words, age, bytes, channel_path, count, millis, per_second, seconds, share};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, See};
use crate::dashboard::{Dashboard, explanation};
use crate::pool::WorkerStatus;
use crate::sanitize;
use crate::snapshot::{ScaledAt, Step};

/// Most rows of the tables of jobs and workers.
const MAX_ROWS: usize = 100;
/// Most rows of the table of decisions.
const MAX_DECISIONS: usize = 20;

/// `GET /channels/{name}`.
pub(in crate::engine::dashboard) async fn channel(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let shown = dashboard.found(&picture, &name)?;
    let words = asked.language.words();
    let range = asked.parameter("range").and_then(Range::parse).unwrap_or(Range::Quarter);
    let sees_payloads = can.visitor.sees_payloads;
    let why = match asked.part.as_deref() {
        // The sentence may quote errors.
        None | Some("head") if sees_payloads => explanation::of_channel(&dashboard, shown).await,
        _ => None,
    };
    let part = match asked.part.as_deref() {
        Some("head") => Some(head(shown, sees_payloads, why.as_deref(), words)),
        Some("charts") => Some(charts(&dashboard, &picture, shown, range, words).await),
        Some("alerts") => Some(alerts(&dashboard, &picture, [shown], words)),
        Some("workers") => Some(workers(&dashboard, &picture, shown, words)),
        _ => None,
    };
    if let Some(part) = part {
        return Ok(Html(part.into_string()).into_response());
    }
    let path = channel_path(&shown.name);
    let content = html! {
        div data-part="head" data-every="5" data-states { (head(shown, sees_payloads, why.as_deref(), words)) }
        (notice(asked.notice, words))
        (channel_actions(&dashboard, shown, &can.visitor, words))
        (alerts(&dashboard, &picture, [shown], words))
        (figures(shown, words))
        @if shown.is_served {
            nav class="ranges" aria-label=(words.range) {
                @for one in Range::ALL {
                    a href={ (dashboard.frame.link(&path)) "?range=" (one.as_str()) }
                        aria-current=[(one == range).then_some("true")] { (one.as_str()) }
                }
            }
            div data-part="charts" data-every="5" { (charts(&dashboard, &picture, shown, range, words).await) }
            div data-part="workers" data-every="1" { (workers(&dashboard, &picture, shown, words)) }
        } @else {
            p class="note" { (words.not_served) }
            div data-part="workers" data-every="5" { (workers(&dashboard, &picture, shown, words)) }
        }
    };
    let shown_path = match asked.parameter("range") {
        Some(_) => format!("{path}?range={}", range.as_str()),
        None => path,
    };
    Ok(dashboard.render(&asked.page(&*shown.name, shown_path, Some(&shown.name), content), &can.visitor))
}

/// The name, the state and the place of a channel.
fn head(channel: &ChannelPicture, with_errors: bool, why: Option<&str>, words: &Words) -> Markup {
    html! {
        header class="about" {
            h1 { (channel.name) " " (state(channel, words)) }
            dl class="facts" {
                div { dt { (words.mode) } dd { (channel.mode.as_str()) } }
                div { dt { (words.store) } dd { (sanitize::line(&channel.store)) } }
            }
            @if let Some(why) = why {
                p class="note" lang="en" { (sanitize::line(why)) }
            } @else if let Some(why) = trouble(channel).filter(|_| with_errors) {
                p class="failure" { (sanitize::line(why)) }
            }
        }
    }
}

/// The error that keeps the channel from its work.
fn trouble(channel: &ChannelPicture) -> Option<&str> {
    let worker_error = channel.status.as_ref().and_then(|status| status.worker_error.as_deref());
    channel.store_error.as_deref().or(worker_error)
}

/// The figures of a channel, by the key of their live updates.
pub(in crate::engine::dashboard) fn channel_figures(
    channel: &ChannelPicture,
) -> [(&'static str, String); 12] {
    let counts = channel.counts.as_ref().map(|(counts, _)| counts);
    let of_store = |of: fn(&crate::store::JobCounts) -> u64| count(counts.map(of));
    let recent = &channel.recent;
    let workers = channel.workers();
    let memory = channel.status.as_ref().map(crate::channel::ChannelStatus::workers_memory);
    [
        ("waiting", of_store(|counts| counts.waiting)),
        ("oldest", age(channel.front_waits())),
        ("delayed", of_store(|counts| counts.delayed)),
        ("reserved", of_store(|counts| counts.reserved)),
        ("failed", of_store(|counts| counts.failed)),
        ("done", of_store(|counts| counts.done)),
        ("in", per_second(recent.arrived_per_second)),
        ("out", per_second(recent.settled_per_second)),
        ("wait", seconds(recent.wait_seconds.map(|times| f64::from(times.p95)))),
        ("run", seconds(recent.run_seconds.map(|times| f64::from(times.p95)))),
        ("failing", share(recent.failure_rate)),
        (
            "workers",
            match (workers, memory) {
                (Some((busy, serving)), Some(memory)) => format!("{busy} / {serving} · {}", bytes(memory)),
                _ => count(None),
            },
        ),
    ]
}

/// The note about counts that are not of now; empty for fresh ones.
pub(in crate::engine::dashboard) fn age_note(channel: &ChannelPicture, words: &Words) -> String {
    channel.stale_for().map_or_else(String::new, |stale| format!("{} {}", words.as_of, age(Some(stale))))
}

fn figures(channel: &ChannelPicture, words: &Words) -> Markup {
    let names = [
        words.waiting,
        words.oldest,
        words.delayed,
        words.reserved,
        words.failed,
        words.done,
        words.rate_in,
        words.rate_out,
        words.wait_time,
        words.run_time,
        words.failure_rate,
        words.workers,
    ];
    html! {
        dl class="figures" {
            @for ((key, value), name) in channel_figures(channel).into_iter().zip(names) {
                div { dt { (name) } dd data-k={ (channel.name) "." (key) } { (value) } }
            }
        }
        p class="failure" data-k={ (channel.name) ".age" } { (age_note(channel, words)) }
    }
}

async fn charts(
    dashboard: &Dashboard,
    picture: &Picture,
    channel: &ChannelPicture,
    range: Range,
    words: &Words,
) -> Markup {
    let (step, period) = range.chart_ring();
    let (points, scaled) = dashboard.camera.history(&channel.name, step, period).await;
    let (detailed, _) = range.ring();
    let fine = match detailed {
        Step::Second => dashboard.camera.history(&channel.name, detailed, period).await.0,
        _ => Vec::new(),
    };
    let samples = Samples {
        range,
        now: picture.at,
        points: &points,
        fine: &fine,
        scaled: &scaled,
        max_workers: channel.max_workers,
        started: picture.own.started_at,
        alerts: &channel.alerts,
    };
    html! {
        div class="charts" {
            @for chart in samples.charts(words) {
                section class="card" { (chart.render(&words.chart)) }
            }
        }
        (decisions(&scaled, picture, words))
    }
}

fn decisions(scaled: &[ScaledAt], picture: &Picture, words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.scaling) }
            @if scaled.is_empty() {
                p class="empty" { (words.never_scaled) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.time) }
                            th scope="col" class="number" { (words.from_to) }
                            th scope="col" { (words.reason) }
                        }
                    }
                    tbody {
                        @for change in scaled.iter().rev().take(MAX_DECISIONS) {
                            tr {
                                td data-label=(words.time) { (ago(picture, change.at)) }
                                td class="number" data-label=(words.from_to) { (change.from) " → " (change.decision.workers) }
                                td class="wide" data-label=(words.reason) { (change.decision.to_string()) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The running jobs and the workers of this master, and the masters on all machines.
fn workers(dashboard: &Dashboard, picture: &Picture, channel: &ChannelPicture, words: &Words) -> Markup {
    let rows = channel.status.as_ref().map_or(&[][..], |status| &status.pool.rows);
    html! {
        @if channel.is_served {
            div class="pair" {
                (running(dashboard, channel, rows, words))
                (worker_table(dashboard, channel, rows, words))
            }
        }
        (masters(picture, channel, words))
        @if channel.counts.as_ref().is_some_and(|(counts, _)| counts.total() == 0) {
            section class="card" {
                p { (words.no_jobs_yet) }
                // A line that is longer than a phone is wide scrolls, by keyboard, too.
                pre tabindex="0" { "aint-queue queue:push sleep --data '{\"ms\": 100}' -t " (channel.name) }
                p { (words.try_push) }
            }
        }
    }
}

fn running(dashboard: &Dashboard, channel: &ChannelPicture, rows: &[WorkerStatus], words: &Words) -> Markup {
    let mut running: Vec<_> = rows.iter().filter_map(|row| Some((row, row.job.as_ref()?))).collect();
    running.sort_by_key(|(_, job)| std::cmp::Reverse(job.age_ms));
    html! {
        section class="card" {
            h2 { (words.running_now) }
            @if running.is_empty() {
                p class="empty" { (words.nothing_runs) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.job) }
                            th scope="col" { "id" }
                            th scope="col" class="number" { (words.for_time) }
                            th scope="col" { (words.process) }
                            th scope="col" { (words.progress) }
                        }
                    }
                    tbody {
                        @for (row, job) in running.iter().take(MAX_ROWS) {
                            tr {
                                td data-label=(words.job) { (sanitize::line(&job.name)) }
                                td data-label="id" { a href=(dashboard.frame.link(&job_path(&channel.name, job.id))) { (job.id) } }
                                td class="number" data-label=(words.for_time) { (millis(job.age_ms)) }
                                td data-label=(words.process) { (process(dashboard, channel, row)) }
                                td data-label=(words.progress) {
                                    @match job.progress {
                                        Some(progress) => meter min="0" max="100" value=(progress) aria-label=(words.progress) { (progress) " %" }
                                        None => "–",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The process id of a worker, and the way to its page.
fn process(dashboard: &Dashboard, channel: &ChannelPicture, worker: &WorkerStatus) -> Markup {
    html! {
        @match worker.pid {
            Some(pid) => a href=(dashboard.frame.link(&worker_path(&channel.name, pid))) { (pid) },
            None => "–",
        }
    }
}

fn worker_table(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    rows: &[WorkerStatus],
    words: &Words,
) -> Markup {
    html! {
        @if !rows.is_empty() {
            section class="card" {
                h2 { (words.workers) }
                table {
                    thead {
                        tr {
                            th scope="col" { (words.process) }
                            th scope="col" { (words.state) }
                            th scope="col" class="number" { (words.done_jobs) }
                            th scope="col" class="number" { (words.memory) }
                            th scope="col" class="number" { (words.age) }
                            th scope="col" { (words.reason) }
                        }
                    }
                    tbody {
                        @for row in rows.iter().take(MAX_ROWS) {
                            tr {
                                td data-label=(words.process) { (process(dashboard, channel, row)) }
                                td data-label=(words.state) { (words.activity_of(row.state)) }
                                td class="number" data-label=(words.done_jobs) { (row.done) }
                                td class="number" data-label=(words.memory) { (row.memory.map_or_else(|| "–".to_owned(), bytes)) }
                                td class="number" data-label=(words.age) { (millis(row.age_ms)) }
                                td class="wide" data-label=(words.reason) {
                                    (row.why)
                                    @if let Some(outgoing) = &row.outgoing { " → " (outgoing) }
                                }
                            }
                        }
                    }
                }
                @if rows.len() > MAX_ROWS { p class="note" { "+ " (rows.len() - MAX_ROWS) } }
            }
        }
    }
}

/// The masters of a channel on all machines, as each published itself.
fn masters(picture: &Picture, channel: &ChannelPicture, words: &Words) -> Markup {
    let views = channel.masters.as_deref().unwrap_or_default();
    let known = views.iter().filter(|view| view.lease_left.is_some()).map(|view| {
        let published = view.published.as_ref();
        let summary =
            published.and_then(|published| published.summary.as_ref()).and_then(MasterSummary::read);
        (summary, published.map(|published| published.age))
    });
    let known: Vec<_> = known.collect();
    html! {
        @if !known.is_empty() {
            section class="card" {
                h2 { (words.masters) }
                table {
                    thead {
                        tr {
                            th scope="col" { (words.host) }
                            th scope="col" { (words.process) }
                            th scope="col" { (words.version) }
                            th scope="col" class="number" { (words.workers) }
                            th scope="col" class="number" { (words.memory) }
                            th scope="col" class="number" { (words.rate_out) }
                            th scope="col" class="number" { (words.seen) }
                        }
                    }
                    tbody {
                        @for (summary, seen) in &known {
                            tr {
                                @if let Some(summary) = summary {
                                    td data-label=(words.host) {
                                        (sanitize::line(&summary.master.host))
                                        @if picture.is_own(summary) { " (" (words.this_master) ")" }
                                    }
                                    td data-label=(words.process) { (summary.master.pid) }
                                    td data-label=(words.version) { (sanitize::line(&summary.master.program)) }
                                    td class="number" data-label=(words.workers) { (summary.workers.busy) " / " (summary.workers.serving) }
                                    td class="number" data-label=(words.memory) { (bytes(summary.memory)) }
                                    td class="number" data-label=(words.rate_out) { (per_second(summary.runs.per_second)) }
                                } @else {
                                    td data-label=(words.host) { "–" }
                                    @for _ in 0..5 { td class="number" { "–" } }
                                }
                                td class="number" data-label=(words.seen) { (age(*seen)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
