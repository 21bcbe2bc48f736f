//! A small line beside a number.

use maud::{Markup, html};

use super::path::PathWriter;
use super::reduce::select;
use super::scale::Scale;
use super::unit::Unit;
use super::words::{ChartWords, clip, fill};

/// A sparkline: one series without axes.
#[derive(Debug, Clone)]
pub(crate) struct Spark {
    /// Name of the values: "waiting".
    pub(crate) name: String,
    /// Name of the range: "last hour".
    pub(crate) range: String,
    /// Unit of the values.
    pub(crate) unit: Unit,
    /// Values at equal distances. `None` is a gap.
    pub(crate) values: Vec<Option<f64>>,
}

const MOST_POINTS: usize = 60;
/// Size of the drawing in tenths, and the space for the width of the line.
const WIDTH: i32 = 1_000;
const HEIGHT: i32 = 240;
const SPACE: i32 = 20;

impl Spark {
    /// The line, with a dot at the newest value and all of its meaning in the label.
    pub(crate) fn render(&self, words: &ChartWords) -> Markup {
        let values: Vec<_> = self.values.iter().map(|value| Unit::drawable(*value)).collect();
        let highest = values.iter().flatten().copied().fold(0.0, f64::max);
        let scale = Scale { top: if highest > 0.0 { highest } else { 1.0 }, log: false, ticks: Vec::new() };
        let place = |row: usize, value: f64| {
            let last = values.len().saturating_sub(1).max(1);
            let x = SPACE + (row as f64 / last as f64 * f64::from(WIDTH - 2 * SPACE)) as i32;
            (x, HEIGHT - SPACE - (scale.height(value) * f64::from(HEIGHT - 2 * SPACE)) as i32)
        };
        let (mut line, mut newest) = (PathWriter::default(), PathWriter::default());
        let mut is_open = false;
        for row in select(&[&values], values.len(), MOST_POINTS) {
            match values[row].map(|value| place(row, value)) {
                Some(point) if is_open => line.line_to(point),
                Some(point) => {
                    line.move_to(point);
                    line.across_to(point.0);
                }
                None => {}
            }
            is_open = values[row].is_some();
        }
        if let Some(Some(value)) = values.last() {
            let point = place(values.len() - 1, *value);
            newest.move_to(point);
            newest.across_to(point.0);
        }
        html! {
            svg class="spark s1" viewBox={ "0 0 " (WIDTH / 10) " " (HEIGHT / 10) } role="img" aria-label=(self.label(&values, words)) {
                path class="chart-line" d=(line.finish()) {}
                path class="chart-newest" d=(newest.finish()) {}
            }
        }
    }

    fn label(&self, values: &[Option<f64>], words: &ChartWords) -> String {
        let known = || values.iter().flatten().copied();
        let (name, range) = (clip(&self.name, 60), clip(&self.range, 60));
        let (Some(min), Some(max)) = (known().reduce(f64::min), known().reduce(f64::max)) else {
            return fill(words.spark_empty, &[("name", &name), ("range", &range)]);
        };
        let last =
            values.last().copied().flatten().map_or_else(|| "–".to_owned(), |last| self.unit.full(last));
        let (min, max) = (self.unit.full(min), self.unit.full(max));
        fill(
            words.spark,
            &[("name", &name), ("range", &range), ("min", &min), ("max", &max), ("last", &last)],
        )
    }
}
