//! The places of times and values in the drawing.

use super::scale::Scale;

/// Width of the drawing.
pub(crate) const WIDTH: i32 = 400;
/// Height of the drawing.
pub(crate) const HEIGHT: i32 = 150;
/// Left edge of the plot, right of the labels of values. Edges are tenths.
pub(crate) const LEFT: i32 = 520;
/// Right edge of the plot.
pub(crate) const RIGHT: i32 = 3_960;
/// Upper edge of the plot, below the signs of marks.
pub(crate) const TOP: i32 = 150;
/// Lower edge of the plot, above the labels of times.
pub(crate) const BOTTOM: i32 = 1_310;

/// Maps times and values to tenths of a unit.
#[derive(Debug)]
pub(crate) struct Plot {
    from: u64,
    to: u64,
    scale: Scale,
}

impl Plot {
    /// A plot of a range of time.
    pub(crate) fn new(from: u64, to: u64, scale: Scale) -> Self {
        Self { from, to: to.max(from.saturating_add(1)), scale }
    }

    /// The scale of values.
    pub(crate) fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Whether a time is in the range.
    pub(crate) fn has(&self, at: u64) -> bool {
        (self.from..=self.to).contains(&at)
    }

    /// Distance of a time from the left. Times outside of the range are at its edges.
    pub(crate) fn x(&self, at: u64) -> i32 {
        let part = (at.clamp(self.from, self.to) - self.from) as f64 / (self.to - self.from) as f64;
        LEFT + (part * f64::from(RIGHT - LEFT)).round() as i32
    }

    /// Distance of a value from the top.
    pub(crate) fn y(&self, value: f64) -> i32 {
        BOTTOM - (self.scale.height(value) * f64::from(BOTTOM - TOP)).round() as i32
    }

    /// The place of a value.
    pub(crate) fn point(&self, at: u64, value: f64) -> (i32, i32) {
        (self.x(at), self.y(value))
    }
}
