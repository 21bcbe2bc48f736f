//! What scaling remembers: how many workers were wanted during the cool-down, what was ordered by hand, and the last
//! decisions, for people.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::decision::{SizingDecision, SizingInput, SizingReason, decide, wanted};
use crate::pool::plan::{Plan, Scaling};

/// So many decisions are kept for people.
const MAX_KEPT_DECISIONS: usize = 20;

/// The most workers that were wanted at any moment of the last while: candidates in falling order, the oldest first.
#[derive(Debug, Default)]
struct PeakWindow(VecDeque<(Instant, usize)>);

impl PeakWindow {
    /// Notes how many are wanted now and answers the most of the last `window`.
    fn note(&mut self, now: Instant, wanted: usize, window: Duration) -> usize {
        while self.0.back().is_some_and(|(_, lower)| *lower <= wanted) {
            self.0.pop_back();
        }
        self.0.push_back((now, wanted));
        // How many were wanted at the beginning of the window is what was noted last before it.
        while self.0.len() > 1 && now.duration_since(self.0[0].0) >= window {
            self.0.pop_front();
        }
        self.0[0].1
    }
}

/// A decision and when it was taken.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::pool) struct AppliedDecision {
    pub(in crate::engine::pool) at: Instant,
    pub(in crate::engine::pool) from: usize,
    pub(in crate::engine::pool) decision: SizingDecision,
}

/// What is ordered by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", try_from = "ScaleOrderFields")]
pub enum ScaleOrder {
    /// So many more, or fewer, than the fewest there are to be now.
    Change(i64),
    /// Exactly so many as the fewest.
    Exactly(usize),
}

/// The same as it is read.
#[derive(serde::Deserialize)]
struct ScaleOrderFields {
    change: Option<i64>,
    exactly: Option<usize>,
}

impl TryFrom<ScaleOrderFields> for ScaleOrder {
    type Error = &'static str;

    fn try_from(ordered: ScaleOrderFields) -> Result<Self, Self::Error> {
        match ordered {
            ScaleOrderFields { change: Some(by), exactly: None } => Ok(Self::Change(by)),
            ScaleOrderFields { change: None, exactly: Some(workers) } => Ok(Self::Exactly(workers)),
            ScaleOrderFields { .. } => Err("one of `change` and `exactly` is needed"),
        }
    }
}

/// The fewest workers, after an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MinWorkers {
    /// How many they are now.
    pub fewest: usize,
    /// How many they were.
    pub before: usize,
    /// How many the configuration asks for.
    pub min: usize,
    /// How many there may be.
    pub max: usize,
    /// Whether there may be more than the fewest when work asks for it.
    pub dynamic: bool,
    /// The order went beyond what there may be.
    pub clamped: bool,
}

/// The scaling of one pool.
#[derive(Debug)]
pub(in crate::engine::pool) struct Autoscaler {
    scaling: Scaling,
    min: usize,
    max: usize,
    by_hand: Option<usize>,
    peaks: PeakWindow,
    now: SizingDecision,
    taken: VecDeque<AppliedDecision>,
    ups: u64,
    downs: u64,
}

impl Autoscaler {
    pub(in crate::engine::pool) fn new(plan: &Plan, scaling: Scaling) -> Self {
        let load = SizingInput { min: plan.min, max: plan.max, slots: plan.slots, ..SizingInput::default() };
        let now = SizingDecision { workers: plan.min, why: SizingReason::Min, load };
        let (peaks, taken) = (PeakWindow::default(), VecDeque::new());
        let (min, max) = (plan.min, plan.max);
        Self { scaling, min, max, by_hand: None, peaks, now, taken, ups: 0, downs: 0 }
    }

    /// Goes on with other bounds and rules. What was ordered by hand holds within them.
    pub(in crate::engine::pool) fn renew(&mut self, plan: &Plan, scaling: Scaling) {
        (self.min, self.max, self.scaling) = (plan.min, plan.max, scaling);
    }

    /// Decides anew; answers the decision when it changes the number. `load` may leave out what this knows itself.
    pub(in crate::engine::pool) fn update(
        &mut self,
        load: SizingInput,
        now: Instant,
    ) -> Option<AppliedDecision> {
        let mut load =
            SizingInput { min: self.floor(), max: self.max, by_hand: self.by_hand.is_some(), ..load };
        // More than there may be are not waited for.
        let wanted = wanted(&load, &self.scaling).min(self.max);
        load.peak = self.peaks.note(now, wanted, self.scaling.cool_down);
        let from = self.now.workers;
        self.now = decide(load, &self.scaling);
        if self.now.workers == from {
            return None;
        }
        *if self.now.workers > from { &mut self.ups } else { &mut self.downs } += 1;
        let taken = AppliedDecision { at: now, from, decision: self.now };
        if self.taken.len() == MAX_KEPT_DECISIONS {
            self.taken.pop_front();
        }
        self.taken.push_back(taken);
        Some(taken)
    }

    /// How many workers there should be.
    pub(in crate::engine::pool) fn target(&self) -> usize {
        self.now.workers
    }

    /// The decision in force.
    pub(in crate::engine::pool) fn decision(&self) -> &SizingDecision {
        &self.now
    }

    /// The last decisions that changed the number, the oldest first.
    pub(in crate::engine::pool) fn taken(&self) -> impl Iterator<Item = &AppliedDecision> {
        self.taken.iter()
    }

    /// How often the number was raised and lowered.
    pub(in crate::engine::pool) fn changes(&self) -> (u64, u64) {
        (self.ups, self.downs)
    }

    /// The fewest workers.
    pub(in crate::engine::pool) fn floor(&self) -> usize {
        self.by_hand.unwrap_or(self.min).min(self.max)
    }

    /// The fewest that were ordered by hand, if any were.
    pub(in crate::engine::pool) fn by_hand(&self) -> Option<usize> {
        self.by_hand
    }

    /// Whose wish the fewest are.
    pub(in crate::engine::pool) fn floor_source(&self) -> &'static str {
        if self.by_hand.is_some() { "by hand" } else { "min" }
    }

    /// Most runs aboard at once that this allows, in workers.
    pub(in crate::engine::pool) fn ceiling(&self) -> usize {
        if self.scaling.dynamic { self.max } else { self.floor() }
    }

    /// Whether the number may still change by itself.
    pub(in crate::engine::pool) fn may_change(&self) -> bool {
        let by_demand = self.now.workers > self.floor() || self.now.load.waiting > 0;
        (self.scaling.dynamic && by_demand) || self.now.why == SizingReason::Memory
    }

    /// Whether the memory has any say, also where the backlog has none.
    pub(in crate::engine::pool) fn is_bounded(&self) -> bool {
        self.scaling.memory_limit.is_some()
    }

    /// How often it is to be decided anew while it is restless.
    pub(in crate::engine::pool) fn interval(&self) -> Duration {
        self.scaling.flex_interval
    }

    /// Whether the backlog has any say.
    pub(in crate::engine::pool) fn is_elastic(&self) -> bool {
        self.scaling.dynamic && self.floor() < self.max
    }

    /// Sets the fewest by hand, from none to the most.
    pub(in crate::engine::pool) fn order(&mut self, order: ScaleOrder) -> MinWorkers {
        let before = self.floor();
        let wanted = match order {
            ScaleOrder::Exactly(workers) => i128::try_from(workers).unwrap_or(i128::MAX),
            ScaleOrder::Change(by) => before as i128 + i128::from(by),
        };
        let fewest = usize::try_from(wanted.max(0)).unwrap_or(usize::MAX).min(self.max);
        // The number of the configuration is its own wish again.
        self.by_hand = (fewest != self.min).then_some(fewest);
        let (min, max, dynamic) = (self.min, self.max, self.scaling.dynamic);
        MinWorkers { fewest, before, min, max, dynamic, clamped: wanted != fewest as i128 }
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
mod tests;
