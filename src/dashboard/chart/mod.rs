//! Charts as SVG, made on the server: one chart answers one question of the page.
//!
//! A chart has one time axis for all its series, so a reduced chart, its table and the points of the crosshair use the same rows.
//! No style attributes and no ids are written: `chart.css` has all colours, and a chart may appear several times on a page.

mod axes;
mod clock;
mod draw;
mod key;
mod marks;
mod model;
mod path;
mod plot;
mod points;
mod reduce;
mod render;
mod scale;
mod spark;
mod table;
mod unit;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use clock::Clock;
pub(crate) use model::{Band, BandKind, Chart, Dot, Excess, Limit, Mark, MarkKind, Series, SeriesKind, Tone};
pub(crate) use spark::Spark;
pub(crate) use unit::Unit;
pub(crate) use words::ChartWords;

/// The style sheet of charts, a part of the page's own.
pub(crate) const CHART_CSS: &str = include_str!("chart.css");
