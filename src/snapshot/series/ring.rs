//! A ring of points.

use std::collections::VecDeque;

use super::point::Point;
use super::step_of;
use crate::metrics::Timings;

/// The last points of a channel, at most one per step of time.
#[derive(Debug)]
pub(super) struct Ring {
    step: u64,
    capacity: usize,
    points: VecDeque<Point>,
}

impl Ring {
    /// An empty ring with the memory for all of its points. The system gives that memory page by page, as points come.
    pub(super) fn new(step_seconds: u64, capacity: usize) -> Self {
        Self { step: step_seconds, capacity, points: VecDeque::with_capacity(capacity) }
    }

    /// Records a sample; `timings` are those of its whole step.
    pub(super) fn record(&mut self, sample: Point, timings: &Timings) {
        let step = step_of(sample.at, self.step);
        // After a step of the clock backwards, points ahead of the clock are from another time.
        while self.points.back().is_some_and(|last| step_of(last.at, self.step) > step) {
            self.points.pop_back();
        }
        match self.points.back_mut() {
            Some(last) if step_of(last.at, self.step) == step => last.add(sample),
            _ => self.points.push_back(sample),
        }
        self.points.back_mut().expect("just recorded").set_timings(timings);
        let oldest = (step + 1).saturating_sub(self.capacity as u64);
        while self.points.front().is_some_and(|first| step_of(first.at, self.step) < oldest) {
            self.points.pop_front();
        }
    }

    /// The points, the oldest first.
    pub(super) fn points(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter()
    }
}
