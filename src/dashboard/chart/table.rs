//! The values and events of a chart as tables, for screen readers and for copying.

use maud::{Markup, html};

use super::key::{LONGEST_NAME, band_word, mark_word};
use super::marks::LONGEST_TEXT;
use super::model::Chart;
use super::reduce::{Buckets, Column};
use super::unit::Unit;
use super::words::{ChartWords, clip, fill};

/// Events that the table has: the latest.
const MOST_EVENTS: usize = 30;
const DAY_SECONDS: u64 = 86_400;
const SECOND: u64 = 1_000_000;

/// The tables in an element that opens.
pub(crate) fn table(chart: &Chart, buckets: &Buckets, words: &ChartWords) -> Markup {
    let step = buckets.step_seconds;
    let adds_up = buckets.rows.columns.iter().any(|column| column.adds_up);
    let note = if adds_up { words.total } else { words.highest };
    let events = events(chart, words);
    let latest = &events[events.len().saturating_sub(MOST_EVENTS)..];
    html! {
        details class="chart-table" {
            summary { (words.show_table) }
            div class="chart-tables" tabindex="0" role="group" aria-label=(clip(&chart.title, LONGEST_NAME)) {
                table {
                    caption { (fill(note, &[("step", &Unit::Seconds.full(step as f64))])) }
                    thead {
                        tr {
                            th scope="col" { (words.time) }
                            @for series in &chart.series { th scope="col" { (clip(&series.name, LONGEST_NAME)) } }
                        }
                    }
                    tbody {
                        @for (row, at) in buckets.rows.times.iter().enumerate() {
                            tr {
                                th scope="row" { (time(chart, *at, step)) }
                                @for column in &buckets.rows.columns { td { (cell(column, row, chart.unit)) } }
                            }
                        }
                    }
                }
                @if !latest.is_empty() {
                    table {
                        caption {
                            (words.events)
                            @if latest.len() < events.len() { " (" (latest.len()) " / " (events.len()) ")" }
                        }
                        tbody {
                            @for event in latest {
                                tr {
                                    th scope="row" { (time(chart, event.at, 1)) }
                                    td { (event.kind) }
                                    td { (clip(event.text, LONGEST_TEXT)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Event<'a> {
    at: u64,
    kind: &'static str,
    text: &'a str,
}

/// Events of the range in the order of their times.
fn events<'a>(chart: &'a Chart, words: &ChartWords) -> Vec<Event<'a>> {
    let marks = chart.marks.iter().map(|mark| Event {
        at: mark.at,
        kind: mark_word(mark.kind, words),
        text: &mark.text,
    });
    let bands = chart.bands.iter().map(|band| Event {
        at: band.from,
        kind: band_word(band.kind, words),
        text: &band.text,
    });
    let dots = chart.dots.iter().map(|dot| Event { at: dot.at, kind: words.decision, text: &dot.reason });
    let in_range = |event: &Event<'_>| event.at <= chart.to;
    let mut events: Vec<_> =
        bands.chain(marks.chain(dots).filter(|event| event.at >= chart.from)).filter(in_range).collect();
    events.sort_by_key(|event| event.at);
    events
}

/// Time of day, with the date when the range has two of them.
fn time(chart: &Chart, at: u64, step: u64) -> String {
    let day = |at| chart.clock.floor(at, DAY_SECONDS) / SECOND;
    if day(chart.from) == day(chart.to) && day(at) == day(chart.to) {
        chart.clock.time(at, step)
    } else {
        chart.clock.date_time(at, step)
    }
}

fn cell(column: &Column, row: usize, unit: Unit) -> String {
    let text = |values: &[Option<f64>]| Some(unit.full(values.get(row).copied().flatten()?));
    let Some(upper) = text(&column.values) else {
        return "–".to_owned();
    };
    match column.lower.as_deref().and_then(text) {
        Some(lower) => format!("{lower} – {upper}"),
        None => upper,
    }
}
