//! The key of a chart: a swatch, a name and the newest value per series, then the events that appear.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::marks::{band_class, hatch_between, mark_class, sign};
use super::model::{BandKind, Chart, MarkKind, Series, SeriesKind};
use super::reduce::{Column, Rows};
use super::unit::Unit;
use super::words::{ChartWords, clip};

/// Characters of a name.
pub(crate) const LONGEST_NAME: usize = 60;

/// The list of series and events.
pub(crate) fn key(chart: &Chart, rows: &Rows, words: &ChartWords) -> Markup {
    let marks: BTreeSet<MarkKind> = chart.marks.iter().map(|mark| mark.kind).collect();
    let bands: BTreeSet<BandKind> = chart.bands.iter().map(|band| band.kind).collect();
    html! {
        ul class="chart-key" {
            @for (series, column) in chart.series.iter().zip(&rows.columns) {
                li class=(series.tone.class()) {
                    (swatch(html! { path class=(class(series)) d=(shape(series)) {} }))
                    (clip(&series.name, LONGEST_NAME))
                    @if let Some(value) = newest(column, chart.unit) { " " b { (value) } }
                }
            }
            @if let Some(excess) = &chart.excess {
                li { (swatch(html! { path class="chart-excess" d="M0 1h16v8h-16z" {} })) (clip(&excess.name, LONGEST_NAME)) }
            }
            @for kind in marks {
                li class=(mark_class(kind)) {
                    // The sign lies between the heights 3 and 14.
                    svg class="chart-swatch is-sign" viewBox="2 3 12 11" aria-hidden="true" { path class="chart-sign" d={ "M8 " (sign(kind)) } {} }
                    (mark_word(kind, words))
                }
            }
            @if !chart.dots.is_empty() {
                li { (swatch(html! { circle class="chart-dot" cx="8" cy="5" r="3.5" {} })) (words.decision) }
            }
            @for kind in bands {
                li class=(band_class(kind)) {
                    (swatch(html! {
                        path class="chart-fill" d="M0 0h16v10h-16z" {}
                        path class="chart-hatch" d=(hatch_between(0, 160, 0, 100, kind)) {}
                    }))
                    (band_word(kind, words))
                }
            }
        }
    }
}

/// The word of a kind of mark.
pub(crate) fn mark_word(kind: MarkKind, words: &ChartWords) -> &'static str {
    match kind {
        MarkKind::Restart => words.restart,
        MarkKind::Alert => words.alert,
    }
}

/// The word of a kind of band.
pub(crate) fn band_word(kind: BandKind, words: &ChartWords) -> &'static str {
    match kind {
        BandKind::Pause => words.pause,
        BandKind::StoreDown => words.store_down,
    }
}

/// Class of the main shape of a series.
pub(crate) fn class(series: &Series) -> &'static str {
    match series.kind {
        SeriesKind::Line | SeriesKind::Area | SeriesKind::Step => "chart-line",
        SeriesKind::Thin => "chart-line is-thin",
        SeriesKind::Range { .. } => "chart-range",
        SeriesKind::Bar => "chart-bar",
    }
}

fn shape(series: &Series) -> &'static str {
    match series.kind {
        SeriesKind::Line | SeriesKind::Area | SeriesKind::Thin => "M0 5h16",
        SeriesKind::Step => "M0 8h8v-6h8",
        SeriesKind::Range { .. } | SeriesKind::Bar => "M0 1h16v8h-16z",
    }
}

fn swatch(shape: Markup) -> Markup {
    html! { svg class="chart-swatch" viewBox="0 0 16 10" aria-hidden="true" { (shape) } }
}

/// The newest value of a line, both edges of a range, or the total of bars.
fn newest(column: &Column, unit: Unit) -> Option<String> {
    if column.adds_up {
        return Some(unit.full(column.values.iter().flatten().copied().reduce(|a, b| a + b)?));
    }
    let newest = |values: &[Option<f64>]| Some(unit.full((*values.last()?)?));
    let upper = newest(&column.values)?;
    match column.lower.as_deref().and_then(newest) {
        Some(lower) => Some(format!("{lower} – {upper}")),
        None => Some(upper),
    }
}
