//! A whole chart: heading, key, drawing and tables.

use maud::{Markup, html};

use super::axes;
use super::draw;
use super::key::{LONGEST_NAME, class, key};
use super::marks;
use super::model::{Chart, SeriesKind};
use super::path::tenths;
use super::plot::{BOTTOM, HEIGHT, LEFT, Plot, RIGHT, TOP, WIDTH};
use super::points;
use super::reduce::{Buckets, Rows};
use super::scale::Scale;
use super::table::table;
use super::words::{ChartWords, clip, fill};

/// How much of the values is drawn and listed.
struct Detail {
    /// Points of all series together, and of each one.
    points: usize,
    points_of_series: usize,
    /// Values of the table or of the bars.
    cells: usize,
}

/// Details from fine to coarse: a chart has the finest one that fits into [`LARGEST_FIGURE`].
const DETAILS: [Detail; 5] = [
    Detail { points: 900, points_of_series: 300, cells: 360 },
    Detail { points: 600, points_of_series: 240, cells: 300 },
    Detail { points: 400, points_of_series: 160, cells: 200 },
    Detail { points: 240, points_of_series: 100, cells: 120 },
    Detail { points: 120, points_of_series: 60, cells: 60 },
];
const LARGEST_FIGURE: usize = 20 * 1024;
const FEWEST_POINTS: usize = 30;
/// Rows of the table, or bars.
const MOST_ROWS: usize = 60;
const FEWEST_ROWS: usize = 10;
/// Characters of a title or a question.
const LONGEST_TITLE: usize = 120;

impl Chart {
    /// The chart as a figure of at most 20 KB.
    pub(crate) fn render(&self, words: &ChartWords) -> Markup {
        let rows = Rows::of(self);
        let [finest, coarser @ ..] = &DETAILS;
        let mut figure = self.figure(&rows, finest, words);
        for detail in coarser {
            if figure.0.len() <= LARGEST_FIGURE {
                break;
            }
            figure = self.figure(&rows, detail, words);
        }
        figure
    }

    fn figure(&self, rows: &Rows, detail: &Detail, words: &ChartWords) -> Markup {
        let edges: usize = rows.columns.iter().map(|column| column.edges().count()).sum();
        let row_limit = (detail.cells / edges.max(1)).clamp(FEWEST_ROWS, MOST_ROWS);
        let buckets = rows.buckets(self.clock, self.from, self.to, row_limit as u64);
        let has_bars = self.series.iter().any(|series| series.kind == SeriesKind::Bar);
        let highest = if has_bars { draw::highest_stack(&buckets) } else { rows.highest() };
        let scale = Scale::new(self.unit, marks::highest(self, highest), self.log && !has_bars);
        let plot = Plot::new(self.from, self.to, scale);
        let point_limit = (detail.points / edges.max(1)).clamp(FEWEST_POINTS, detail.points_of_series);
        let reduced = rows.reduced(point_limit);
        let json = if has_bars {
            points::json(self, &plot, &buckets.rows, Some(buckets.step_seconds))
        } else {
            points::json(self, &plot, &reduced, None)
        };
        let title = clip(&self.title, LONGEST_TITLE);
        let question = clip(&self.question, LONGEST_TITLE);
        html! {
            figure class="chart-figure" {
                figcaption { b { (title) } " " span class="chart-question" { (question) } }
                (key(self, rows, words))
                svg class="chart" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (title) ": " (question) } data-points=(json) {
                    desc { (self.summary(rows, words)) }
                    (marks::bands(&plot, &self.bands, self.to))
                    (axes::values(&plot, self.unit))
                    (axes::times(&plot, &self.clock.ticks(self.from, self.to)))
                    @if has_bars { (self.bars(&plot, &buckets)) } @else { (self.lines(&plot, &reduced)) }
                    (marks::limits(&plot, &self.limits, self.unit))
                    (marks::marks(&plot, &self.marks))
                    (marks::dots(&plot, &self.dots))
                    @if rows.is_empty() {
                        text class="chart-empty" x=(tenths((LEFT + RIGHT) / 2)) y=(tenths((TOP + BOTTOM) / 2)) { (words.no_data) }
                    }
                }
                (table(self, &buckets, words))
            }
        }
    }

    /// Shapes of all series but bars: areas and ranges first, so that they cover no line.
    fn lines(&self, plot: &Plot, rows: &Rows) -> Markup {
        let times = &rows.times;
        html! {
            @for (series, column) in self.series.iter().zip(&rows.columns) {
                @match (&series.kind, &column.lower) {
                    (SeriesKind::Area, _) => path class={ "chart-area " (series.tone.class()) } d=(draw::area(plot, times, &column.values)) {},
                    (_, Some(lower)) => path class={ "chart-range " (series.tone.class()) } d=(draw::range(plot, times, &column.values, lower)) {},
                    _ => "",
                }
            }
            @if let Some(excess) = &self.excess {
                @if let (Some(over), Some(under)) = (rows.columns.get(excess.over), rows.columns.get(excess.under)) {
                    path class="chart-excess" d=(draw::excess(plot, times, &over.values, &under.values)) {}
                }
            }
            @for (series, column) in self.series.iter().zip(&rows.columns) {
                @match series.kind {
                    SeriesKind::Range { .. } | SeriesKind::Bar => "",
                    SeriesKind::Step => path class={ (class(series)) " " (series.tone.class()) } d=(draw::steps(plot, times, &column.values)) {},
                    SeriesKind::Line | SeriesKind::Thin | SeriesKind::Area => {
                        path class={ (class(series)) " " (series.tone.class()) } d=(draw::line(plot, times, &column.values)) {}
                    }
                }
            }
        }
    }

    fn bars(&self, plot: &Plot, buckets: &Buckets) -> Markup {
        html! {
            @for (series, bars) in self.series.iter().zip(draw::bars(plot, buckets)) {
                path class={ "chart-bar " (series.tone.class()) } d=(bars) {}
            }
        }
    }

    /// Describes each series in a sentence: lowest, highest and newest value, or the total of bars.
    fn summary(&self, rows: &Rows, words: &ChartWords) -> String {
        if rows.is_empty() {
            return words.no_data.to_owned();
        }
        let sentences = self.series.iter().zip(&rows.columns).filter_map(|(series, column)| {
            let known = || column.values.iter().flatten().copied();
            let name = clip(&series.name, LONGEST_NAME);
            if column.adds_up {
                return Some(fill(
                    words.bar_summary,
                    &[("name", &name), ("total", &self.unit.full(known().reduce(|a, b| a + b)?))],
                ));
            }
            let (min, max) =
                (self.unit.full(known().reduce(f64::min)?), self.unit.full(known().reduce(f64::max)?));
            let last = column.values.last().copied().flatten();
            let last = last.map_or_else(|| "–".to_owned(), |last| self.unit.full(last));
            Some(fill(words.summary, &[("name", &name), ("min", &min), ("max", &max), ("last", &last)]))
        });
        sentences.collect::<Vec<_>>().join(words.separator)
    }
}
