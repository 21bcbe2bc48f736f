//! Axes: lines and labels of values and times.

use maud::{Markup, html};

use super::clock::TimeTick;
use super::path::tenths;
use super::plot::{BOTTOM, HEIGHT, LEFT, Plot, RIGHT, TOP};
use super::unit::Unit;

/// Space between a label of a value and the plot.
const LABEL_SPACE: i32 = 50;
/// Distance of a label's base line below its line of the grid.
const LABEL_DROP: i32 = 35;
/// Height of a label on a narrow screen.
const LABEL_HEIGHT: i32 = 140;
/// Smallest distance of a label's middle from the ends of the axis of times.
const LABEL_HALF: i32 = 160;

/// The grid with a label per value.
pub(crate) fn values(plot: &Plot, unit: Unit) -> Markup {
    let labelled = labelled(plot);
    html! {
        @for tick in &plot.scale().ticks {
            @let y = plot.y(*tick);
            path class=(if y == BOTTOM { "chart-base" } else { "chart-grid" }) d={ "M" (tenths(LEFT)) " " (tenths(y)) "H" (tenths(RIGHT)) } {}
            @if labelled.contains(tick) {
            text class="chart-y" x=(tenths(LEFT - LABEL_SPACE)) y=(tenths(y + LABEL_DROP)) { (unit.short(*tick)) }
            }
        }
    }
}

/// Ticks whose labels have room above the label before.
fn labelled(plot: &Plot) -> Vec<f64> {
    let mut labelled: Vec<f64> = Vec::new();
    for tick in &plot.scale().ticks {
        if labelled.last().is_none_or(|before| plot.y(*before) - plot.y(*tick) >= LABEL_HEIGHT) {
            labelled.push(*tick);
        }
    }
    labelled
}

/// Short lines and labels of times.
pub(crate) fn times(plot: &Plot, ticks: &[TimeTick]) -> Markup {
    html! {
        @for tick in ticks {
            @let x = plot.x(tick.at);
            @if tick.is_midnight {
                path class="chart-day" d={ "M" (tenths(x)) " " (tenths(TOP)) "V" (tenths(BOTTOM)) } {}
            }
            path class="chart-base" d={ "M" (tenths(x)) " " (tenths(BOTTOM)) "v3" } {}
            @if (LEFT + LABEL_HALF / 2..=RIGHT - LABEL_HALF).contains(&x) {
                text class="chart-x" x=(tenths(x)) y=(HEIGHT - 4) { (tick.label) }
            }
        }
    }
}
