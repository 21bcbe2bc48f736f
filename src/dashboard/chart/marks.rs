//! Events in a chart: vertical marks, points with a reason, bands and limits.

use maud::{Markup, html};

use super::model::{Band, BandKind, Chart, Dot, Limit, Mark, MarkKind};
use super::path::{PathWriter, tenths};
use super::plot::{BOTTOM, LEFT, Plot, RIGHT, TOP};
use super::unit::Unit;
use super::words::clip;

/// Events closer than this are drawn as a single one.
const CLOSE: i32 = 100;
/// Events of a kind that are drawn: the latest.
const MOST_EVENTS: usize = 40;
/// Texts that a joined event shows.
const TEXTS_OF_JOINED: usize = 3;
/// Characters of a text of an event.
pub(crate) const LONGEST_TEXT: usize = 160;
/// Bands that are drawn: the latest.
const MOST_BANDS: usize = 20;
/// Limits that are drawn.
const MOST_LIMITS: usize = 4;
/// Distance between the lines of a hatch.
const HATCH: i32 = 75;
/// Distance of the text of a limit from its line.
const LIMIT_SPACE: i32 = 25;
/// Height of a text, for the place of limits near the top.
const TEXT_HEIGHT: i32 = 110;
/// A limit farther above the values is named at the top and does not flatten the chart.
const FAR_LIMIT: f64 = 4.0;

/// Events of the same kind at about the same place.
struct Joined {
    x: i32,
    y: i32,
    texts: Vec<String>,
    more: usize,
}

impl Joined {
    /// Joins the texts, a line each, and adds the number of those left out.
    fn title(&self) -> String {
        let more = (self.more > 0).then(|| format!("+{}", self.more));
        self.texts.iter().cloned().chain(more).collect::<Vec<_>>().join("\n")
    }
}

/// The value up to which the scale reaches for the limits and points of a chart.
pub(crate) fn highest(chart: &Chart, highest_value: f64) -> f64 {
    let limits = chart.limits.iter().filter_map(|limit| Unit::drawable(Some(limit.value)));
    let near = limits.filter(|limit| highest_value == 0.0 || *limit <= highest_value * FAR_LIMIT);
    let dots = chart.dots.iter().filter(|dot| (chart.from..=chart.to).contains(&dot.at));
    near.chain(dots.filter_map(|dot| Unit::drawable(Some(dot.value)))).fold(highest_value, f64::max)
}

/// Spans of time, drawn below everything else.
pub(crate) fn bands(plot: &Plot, bands: &[Band], end: u64) -> Markup {
    let shown = |band: &&Band| {
        let to = band.to.unwrap_or(end);
        band.from <= to
            && plot.x(band.from) < plot.x(to) + 10
            && (plot.has(band.from) || plot.has(to) || (band.from < end && plot.x(to) == RIGHT))
    };
    let shown: Vec<_> = bands.iter().filter(shown).collect();
    html! {
        @for band in shown.iter().skip(shown.len().saturating_sub(MOST_BANDS)) {
            @let (left, right) = (plot.x(band.from), plot.x(band.to.unwrap_or(end)));
            // A short outage is still seen.
            @let right = right.max(left + 10);
            g class={ "chart-band " (band_class(band.kind)) } {
                title { (clip(&band.text, LONGEST_TEXT)) }
                path class="chart-fill" d=(rectangle(left, right)) {}
                path class="chart-hatch" d=(hatch(left, right, band.kind)) {}
            }
        }
    }
}

/// Vertical lines with a sign above the plot.
pub(crate) fn marks(plot: &Plot, marks: &[Mark]) -> Markup {
    html! {
        @for kind in [MarkKind::Restart, MarkKind::Alert] {
            @let events = marks.iter().filter(|mark| mark.kind == kind && plot.has(mark.at));
            @for joined in join(events.map(|mark| (plot.x(mark.at), BOTTOM, mark.text.as_str()))) {
                g class={ "chart-mark " (mark_class(kind)) } {
                    title { (joined.title()) }
                    path class="chart-stem" d={ "M" (tenths(joined.x)) " " (tenths(TOP - 10)) "V" (tenths(BOTTOM)) } {}
                    path class="chart-sign" d={ "M" (tenths(joined.x)) " " (sign(kind)) } {}
                }
            }
        }
    }
}

/// Points with a reason.
pub(crate) fn dots(plot: &Plot, dots: &[Dot]) -> Markup {
    let events = dots.iter().filter(|dot| plot.has(dot.at)).filter_map(|dot| {
        let value = Unit::drawable(Some(dot.value))?;
        Some((plot.x(dot.at), plot.y(value), dot.reason.as_str()))
    });
    html! {
        @for joined in join(events) {
            circle class="chart-dot" cx=(tenths(joined.x)) cy=(tenths(joined.y)) r="3" {
                title { (joined.title()) }
            }
        }
    }
}

/// Horizontal dashed lines with their names at the right.
pub(crate) fn limits(plot: &Plot, limits: &[Limit], unit: Unit) -> Markup {
    html! {
        @for limit in limits.iter().take(MOST_LIMITS) {
            @if let Some(value) = Unit::drawable(Some(limit.value)) {
                @let is_above = value > plot.scale().top;
                @let y = plot.y(value);
                @let below = y < TOP + TEXT_HEIGHT;
                @if !is_above {
                    path class="chart-limit" d={ "M" (tenths(LEFT)) " " (tenths(y)) "H" (tenths(RIGHT)) } {}
                }
                text class="chart-limit-name" x=(tenths(RIGHT - LIMIT_SPACE)) y=(tenths(if below { y + TEXT_HEIGHT - LIMIT_SPACE } else { y - LIMIT_SPACE })) {
                    @if is_above { "↑ " }
                    (clip(&limit.name, 30)) " " (unit.short(value))
                }
            }
        }
    }
}

/// Class of a kind of mark.
pub(crate) fn mark_class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Restart => "is-restart",
        MarkKind::Alert => "is-alert",
    }
}

/// Class of a kind of band.
pub(crate) fn band_class(kind: BandKind) -> &'static str {
    match kind {
        BandKind::Pause => "is-pause",
        BandKind::StoreDown => "is-store-down",
    }
}

/// The sign of a mark: its heights after the `x` of the path, and the rest.
pub(crate) fn sign(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Restart => "3l5 5.5-5 5.5-5-5.5z",
        MarkKind::Alert => "13l5-9h-10z",
    }
}

/// Lines through a band from the left edge to the right one: slanted for a pause, upright and closer for an outage.
pub(crate) fn hatch_between(left: i32, right: i32, top: i32, bottom: i32, kind: BandKind) -> String {
    let mut path = PathWriter::default();
    let (height, step) = match kind {
        BandKind::Pause => (bottom - top, HATCH),
        BandKind::StoreDown => (0, HATCH * 2 / 3),
    };
    // Lines begin at the same places in every band, so that two bands side by side fit together.
    let mut begin = (left - height).next_multiple_of_step(step);
    while begin < right {
        let (from, to) = (begin.max(left), (begin + height).min(right));
        match kind {
            BandKind::Pause if from < to => {
                path.move_to((from, bottom - (from - begin)));
                path.line_to((to, bottom - (to - begin)));
            }
            BandKind::StoreDown => {
                path.move_to((begin, bottom));
                path.up_to(top);
            }
            BandKind::Pause => {}
        }
        begin += step;
    }
    path.finish()
}

/// Rounding of negative numbers up to a step.
trait NextStep {
    fn next_multiple_of_step(self, step: Self) -> Self;
}

impl NextStep for i32 {
    fn next_multiple_of_step(self, step: Self) -> Self {
        self + (-self).rem_euclid(step)
    }
}

fn hatch(left: i32, right: i32, kind: BandKind) -> String {
    hatch_between(left, right, TOP, BOTTOM, kind)
}

fn rectangle(left: i32, right: i32) -> String {
    let mut path = PathWriter::default();
    path.move_to((left, TOP));
    path.across_to(right);
    path.up_to(BOTTOM);
    path.across_to(left);
    path.close();
    path.finish()
}

/// Joins events that would cover each other, and leaves out the oldest of too many.
fn join<'a>(events: impl Iterator<Item = (i32, i32, &'a str)>) -> Vec<Joined> {
    let mut events: Vec<_> = events.collect();
    events.sort_by_key(|(x, ..)| *x);
    let mut joined: Vec<Joined> = Vec::new();
    for (x, y, text) in events {
        match joined.last_mut() {
            Some(last) if (x - last.x).abs() < CLOSE && (y - last.y).abs() < CLOSE => {
                if last.texts.len() < TEXTS_OF_JOINED {
                    last.texts.push(clip(text, LONGEST_TEXT));
                } else {
                    last.more += 1;
                }
            }
            _ => joined.push(Joined { x, y, texts: vec![clip(text, LONGEST_TEXT)], more: 0 }),
        }
    }
    joined.drain(..joined.len().saturating_sub(MOST_EVENTS));
    joined
}

#[cfg(test)]
mod tests {
    use super::{BandKind, hatch_between, join};

    #[test]
    fn events_at_one_place_are_joined() {
        let joined = join([(0, 0, "a"), (50, 0, "b"), (60, 0, "c"), (70, 0, "d"), (400, 0, "e")].into_iter());
        let titles: Vec<_> = joined.iter().map(super::Joined::title).collect();
        assert_eq!(titles, ["a\nb\nc\n+1", "e"]);
    }

    #[test]
    fn hatches_stay_inside_of_their_band() {
        assert_eq!(
            hatch_between(0, 120, 0, 120, BandKind::Pause),
            "M0 4.5l4.5-4.5M0 12l12-12M7.5 12l4.5-4.5"
        );
        assert_eq!(hatch_between(15, 70, 0, 100, BandKind::StoreDown), "M5 10v-10");
    }
}
