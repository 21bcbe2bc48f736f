//! The three charts of the chosen channel: up to the last 15 minutes, the newest at the right.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};

use super::Palette;
use crate::cli::status::recent::rate;
use crate::cli::top::reading::{Chosen, Reading};
use crate::cli::top::state::State;
use crate::pool::grouped;
use crate::snapshot::Point;

/// The longest and the shortest time that the charts cover, in seconds.
const LONGEST: f64 = 900.0;
const SHORTEST: f64 = 120.0;

/// A line of a chart.
struct Series {
    colour: Color,
    points: Vec<(f64, f64)>,
}

impl Series {
    fn new(reading: &Reading, chosen: &Chosen, colour: Color, value: impl Fn(&Point) -> Option<f64>) -> Self {
        let at = |point: &Point| -reading.at.since(point.at).as_secs_f64();
        let points = chosen.points.iter().filter_map(|point| Some((at(point), value(point)?)));
        Self { colour, points: points.filter(|(at, _)| *at >= -LONGEST).collect() }
    }

    fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }

    /// The age of the oldest value.
    fn age(&self) -> f64 {
        self.points.iter().map(|(at, _)| -at).fold(0.0, f64::max)
    }

    fn most(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }
}

/// Draws the charts into three equal parts of an area.
pub(super) fn draw(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette) {
    let nothing = (Reading::default(), Chosen::default());
    let reading = state.reading.as_ref().unwrap_or(&nothing.0);
    let chosen = reading.chosen.as_ref().filter(|chosen| chosen.channel.name == state.channel);
    let chosen = chosen.unwrap_or(&nothing.1);
    let series = |colour, value: fn(&Point) -> Option<f64>| Series::new(reading, chosen, colour, value);
    let per_second = |jobs: u64, seconds: f32| (seconds > 0.0).then(|| jobs as f64 / f64::from(seconds));
    let [left, middle, right] = Layout::horizontal([Constraint::Fill(1); 3]).areas(area);

    let waiting = series(Color::Cyan, |point| point.store.map(|store| store.waiting as f64));
    let now = chosen.channel.counts.map_or_else(|| "–".to_owned(), |counts| grouped(counts.waiting));
    chart(&format!(" waiting {now} "), &[waiting], left, buffer, palette);

    let flow = |jobs: fn(&crate::snapshot::Flow) -> u64, colour| {
        Series::new(reading, chosen, colour, |point| {
            point.flow.and_then(|flow| per_second(jobs(&flow), flow.seconds))
        })
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), rate);
    let recent = &chosen.channel.recent;
    let title =
        format!(" in {} out {} /s ", shown(recent.arrived_per_second), shown(recent.settled_per_second));
    let flows = [flow(|flow| flow.arrived, Color::Yellow), flow(|flow| flow.settled, Color::Green)];
    chart(&title, &flows, middle, buffer, palette);

    let wanted = series(Color::Yellow, |point| Some(f64::from(point.workers.wanted)));
    let busy = series(Color::Green, |point| Some(f64::from(point.workers.busy)));
    let title = match (chosen.channel.workers, wanted.last()) {
        (Some(workers), Some(wanted)) => {
            format!(" busy {} of {}, wanted {wanted:.0} ", workers.busy, workers.serving)
        }
        (Some(workers), None) => format!(" busy {} of {} ", workers.busy, workers.serving),
        (None, _) => " no workers here ".to_owned(),
    };
    chart(&title, &[wanted, busy], right, buffer, palette);
}

fn chart(title: &str, series: &[Series], area: Rect, buffer: &mut Buffer, palette: Palette) {
    let most = series.iter().map(Series::most).fold(1.0, f64::max);
    let period = series.iter().map(Series::age).fold(SHORTEST, f64::max);
    let dataset = |series: &'_ Series| {
        let style = if palette.colours { Style::new().fg(series.colour) } else { Style::new() };
        (style, series.points.clone())
    };
    let data: Vec<_> = series.iter().map(dataset).collect();
    let datasets = data
        .iter()
        .map(|(style, points)| {
            Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(*style).data(points)
        })
        .collect();
    Chart::new(datasets)
        .block(Block::bordered().title(title.to_owned()))
        .x_axis(Axis::default().bounds([-period, 0.0]))
        .y_axis(Axis::default().bounds([0.0, most]))
        .legend_position(None)
        .render(area, buffer);
}
