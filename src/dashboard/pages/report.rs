//! `/report`: a summary of a period, made to be printed: jobs, times, the longest waits, alerts and changes of the number of workers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::Asked;
use super::charts::{Range, Samples};
use super::report_figures::{LongWait, ReportFigures, Typical};
use crate::alerts::ChannelAlerts;
use crate::config::alerts::Severity;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, age, clock_time, count, per_second, seconds, share};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, See};
use crate::job::Timestamp;
use crate::sanitize;

/// Most rows of the tables of waits and of alerts.
const MAX_ROWS: usize = 30;

/// A channel with its figures.
struct Row<'a> {
    channel: &'a ChannelPicture,
    figures: ReportFigures,
    /// Changes of the number of workers: up and down.
    scaled: (usize, usize),
}

/// `GET /report`.
pub(in crate::engine::dashboard) async fn report(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let words = asked.language.words();
    let range = asked.parameter("range").and_then(Range::parse).unwrap_or(Range::Day);
    let only = match asked.field("channel") {
        Some(name) => Some(dashboard.found(&picture, &name)?),
        None => None,
    };
    let (_, period) = range.ring();
    let begin = Timestamp(picture.at.0.saturating_sub(u64::try_from(period.as_micros()).unwrap_or(u64::MAX)));
    let channels = only.map_or(&picture.channels[..], std::slice::from_ref);
    let mut rows = Vec::new();
    for channel in channels.iter().filter(|channel| channel.is_served) {
        rows.push(row(&dashboard, channel, range).await);
    }
    let query = only.map_or_else(String::new, |channel| format!("&channel={}", channel.name));
    let content = html! {
        h1 { (words.report.title) @if let Some(channel) = only { ": " (channel.name) } }
        p { (clock_time(begin)) " – " (clock_time(picture.at)) " · " (words.host) " " (sanitize::line(&picture.own.host)) }
        nav class="ranges" aria-label=(words.range) {
            @for one in Range::ALL {
                a href={ (dashboard.frame.link("/report?range=")) (one.as_str()) (query) }
                    aria-current=[(one == range).then_some("true")] { (one.as_str()) }
            }
        }
        @if rows.is_empty() {
            p class="card" { (words.not_served) }
        } @else {
            (jobs(&rows, words))
            (times(&rows, words))
            (waits(&rows, words))
            (scaling(&rows, words))
        }
        (alerts(channels, begin, words))
        @if let Some(channel) = only.filter(|channel| channel.is_served) {
            (charts(&dashboard, &picture, channel, range, words).await)
        }
        p class="note" { (words.report.note) }
    };
    let path = format!("/report?range={}{query}", range.as_str());
    Ok(dashboard.render(&asked.page(words.report.title, path, None, content), &can.visitor))
}

async fn row<'a>(dashboard: &Dashboard, channel: &'a ChannelPicture, range: Range) -> Row<'a> {
    let (step, period) = range.chart_ring();
    let (points, scaled) = dashboard.camera.history(&channel.name, step, period).await;
    let ups = scaled.iter().filter(|change| change.decision.workers > change.from).count();
    Row { channel, figures: ReportFigures::of(&points), scaled: (ups, scaled.len() - ups) }
}

fn jobs(rows: &[Row<'_>], words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.report.jobs) }
            table {
                thead {
                    tr {
                        th scope="col" { (words.channel) }
                        th scope="col" class="number" { (words.pushed) }
                        th scope="col" class="number" { (words.report.settled) }
                        th scope="col" class="number" { (words.rate_in) }
                        th scope="col" class="number" { (words.rate_out) }
                        th scope="col" class="number" { (words.runs) }
                        th scope="col" class="number" { (words.report.failed_runs) }
                        th scope="col" class="number" { (words.failure_rate) }
                        th scope="col" class="number" { (words.report.most_waiting) }
                    }
                }
                tbody {
                    @for Row { channel, figures, .. } in rows {
                        tr {
                            th scope="row" { (channel.name) }
                            td class="number" data-label=(words.pushed) { (count(Some(figures.arrived))) }
                            td class="number" data-label=(words.report.settled) { (count(Some(figures.settled))) }
                            td class="number" data-label=(words.rate_in) { (per_second(figures.per_second(figures.arrived))) }
                            td class="number" data-label=(words.rate_out) { (per_second(figures.per_second(figures.settled))) }
                            td class="number" data-label=(words.runs) { (count(Some(figures.runs))) }
                            td class="number" data-label=(words.report.failed_runs) { (count(Some(figures.failed_runs))) }
                            td class="number" data-label=(words.failure_rate) { (share(figures.failing())) }
                            td class="number" data-label=(words.report.most_waiting) { (count(Some(figures.most_waiting))) }
                        }
                    }
                }
            }
        }
    }
}

fn times(rows: &[Row<'_>], words: &Words) -> Markup {
    let cells = |of: Option<Typical>| {
        let values =
            [of.map(|times| times.p50), of.map(|times| times.p95), of.map(|times| times.highest_p99)];
        values.map(seconds)
    };
    let heads = ["p50", "p95", "p99"];
    html! {
        section class="card" {
            h2 { (words.report.times) }
            table {
                thead {
                    tr {
                        th scope="col" { (words.channel) }
                        @for of in [words.report.wait, words.report.run] {
                            @for head in heads { th scope="col" class="number" { (of) " " (head) } }
                        }
                    }
                }
                tbody {
                    @for Row { channel, figures, .. } in rows {
                        tr {
                            th scope="row" { (channel.name) }
                            @for (of, times) in [(words.report.wait, figures.wait), (words.report.run, figures.run)] {
                                @for (head, cell) in heads.into_iter().zip(cells(times)) {
                                    td class="number" data-label={ (of) " " (head) } { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn waits(rows: &[Row<'_>], words: &Words) -> Markup {
    let all = rows.iter().flat_map(|row| row.figures.waits.iter().map(move |wait| (row.channel, wait)));
    let mut all: Vec<(&ChannelPicture, &LongWait)> = all.collect();
    all.sort_by(|(_, one), (_, other)| other.seconds.total_cmp(&one.seconds));
    html! {
        section class="card" {
            h2 { (words.report.longest_waits) }
            @if all.is_empty() {
                p class="empty" { (words.report.no_waits) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.time) }
                            th scope="col" class="number" { (words.oldest) }
                            th scope="col" class="number" { (words.waiting) }
                        }
                    }
                    tbody {
                        @for (channel, wait) in all.iter().take(MAX_ROWS) {
                            tr {
                                th scope="row" { (channel.name) }
                                td data-label=(words.time) { (clock_time(wait.at)) }
                                td class="number" data-label=(words.oldest) { (seconds(Some(wait.seconds))) }
                                td class="number" data-label=(words.waiting) { (count(Some(wait.waiting))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn scaling(rows: &[Row<'_>], words: &Words) -> Markup {
    let scaled: Vec<_> = rows.iter().filter(|row| row.scaled != (0, 0)).collect();
    html! {
        section class="card" {
            h2 { (words.scaling) }
            @if scaled.is_empty() {
                p class="empty" { (words.never_scaled) }
            } @else {
                dl class="facts" {
                    @for Row { channel, scaled: (ups, downs), .. } in scaled {
                        div { dt { (channel.name) } dd { "↑ " (ups) " ↓ " (downs) } }
                    }
                }
            }
        }
    }
}

/// An alert of the period; `to` is `None` for one that fires now.
struct AlertRow<'a> {
    channel: &'a str,
    rule: &'a str,
    severity: Severity,
    from: Timestamp,
    to: Option<Timestamp>,
    now: Timestamp,
}

/// The alerts of a channel that fired after `begin`.
fn alerts_of<'a>(channel: &'a str, alerts: &'a ChannelAlerts, begin: Timestamp) -> Vec<AlertRow<'a>> {
    let now = alerts.now;
    let firing = alerts.present().into_iter().filter(|alert| alert.is_firing).map(|alert| AlertRow {
        channel,
        rule: &alert.record.rule,
        severity: alert.record.severity,
        from: alert.since,
        to: None,
        now,
    });
    let ended = alerts.recent().into_iter().filter(|ended| ended.ended.at >= begin).map(|ended| AlertRow {
        channel,
        rule: &ended.rule,
        severity: ended.severity,
        from: ended.ended.since,
        to: Some(ended.ended.at),
        now,
    });
    firing.chain(ended).collect()
}

fn alerts(channels: &[ChannelPicture], begin: Timestamp, words: &Words) -> Markup {
    let known = channels
        .iter()
        .filter_map(|channel| Some((channel.name.as_str(), channel.alert_records.as_deref()?)));
    let mut rows: Vec<_> = known.flat_map(|(channel, alerts)| alerts_of(channel, alerts, begin)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.from));
    html! {
        section class="card" {
            h2 { (words.alerts) }
            @if rows.is_empty() {
                p class="empty" { (words.report.no_alerts) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.alert.rule) }
                            th scope="col" { (words.alert.severity) }
                            th scope="col" { (words.report.from) }
                            th scope="col" { (words.report.to) }
                            th scope="col" class="number" { (words.alert.lasted) }
                        }
                    }
                    tbody {
                        @for row in rows.iter().take(MAX_ROWS) {
                            tr {
                                th scope="row" { (row.channel) }
                                td data-label=(words.alert.rule) { (sanitize::line(row.rule)) }
                                td data-label=(words.alert.severity) { (row.severity) }
                                td data-label=(words.report.from) { (clock_time(row.from)) }
                                td data-label=(words.report.to) { (row.to.map_or_else(|| words.alert.fires.to_owned(), clock_time)) }
                                td class="number" data-label=(words.alert.lasted) { (age(Some(row.to.unwrap_or(row.now).since(row.from)))) }
                            }
                        }
                    }
                }
            }
        }
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
    let samples = Samples {
        range,
        now: picture.at,
        points: &points,
        fine: &[],
        scaled: &scaled,
        max_workers: channel.max_workers,
        started: picture.own.started_at,
        alerts: &channel.alerts,
    };
    html! {
        div class="charts" {
            @for chart in samples.charts(words) { section class="card" { (chart.render(&words.chart)) } }
        }
    }
}
