//! What scaling remembers: how many workers were wanted during the cool-down, what was ordered by hand, and the last
//! decisions, for people.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::plan::{Plan, Scaling};
use super::scale::{Decision, Load, Why, decide, wanted};

/// So many decisions are kept for people.
const KEPT: usize = 20;

/// The most workers that were wanted at any moment of the last while: candidates in falling order, the oldest first.
#[derive(Debug, Default)]
struct Peaks(VecDeque<(Instant, usize)>);

impl Peaks {
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
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) from: usize,
    pub(super) decision: Decision,
}

/// What is ordered by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", try_from = "Ordered")]
pub enum ByHand {
    /// So many more, or fewer, than the fewest there are to be now.
    Change(i64),
    /// Exactly so many as the fewest.
    Exactly(usize),
}

/// The same as it is read.
#[derive(serde::Deserialize)]
struct Ordered {
    change: Option<i64>,
    exactly: Option<usize>,
}

impl TryFrom<Ordered> for ByHand {
    type Error = &'static str;

    fn try_from(ordered: Ordered) -> Result<Self, Self::Error> {
        match ordered {
            Ordered { change: Some(by), exactly: None } => Ok(Self::Change(by)),
            Ordered { change: None, exactly: Some(workers) } => Ok(Self::Exactly(workers)),
            Ordered { .. } => Err("one of `change` and `exactly` is needed"),
        }
    }
}

/// The fewest workers, after an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Floor {
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
pub(super) struct Scaler {
    scaling: Scaling,
    min: usize,
    max: usize,
    by_hand: Option<usize>,
    peaks: Peaks,
    now: Decision,
    taken: VecDeque<Taken>,
    ups: u64,
    downs: u64,
}

impl Scaler {
    pub(super) fn new(plan: &Plan, scaling: Scaling) -> Self {
        let load = Load { min: plan.min, max: plan.max, slots: plan.slots, ..Load::default() };
        let now = Decision { workers: plan.min, why: Why::Min, load };
        let (peaks, taken) = (Peaks::default(), VecDeque::new());
        let (min, max) = (plan.min, plan.max);
        Self { scaling, min, max, by_hand: None, peaks, now, taken, ups: 0, downs: 0 }
    }

    /// Goes on with other bounds and rules. What was ordered by hand holds within them.
    pub(super) fn renew(&mut self, plan: &Plan, scaling: Scaling) {
        (self.min, self.max, self.scaling) = (plan.min, plan.max, scaling);
    }

    /// Decides anew; answers the decision when it changes the number. `load` may leave out what this knows itself.
    pub(super) fn update(&mut self, load: Load, now: Instant) -> Option<Taken> {
        let mut load = Load { min: self.floor(), max: self.max, by_hand: self.by_hand.is_some(), ..load };
        // More than there may be are not waited for.
        let wanted = wanted(&load, &self.scaling).min(self.max);
        load.peak = self.peaks.note(now, wanted, self.scaling.cool_down);
        let from = self.now.workers;
        self.now = decide(load, &self.scaling);
        if self.now.workers == from {
            return None;
        }
        *if self.now.workers > from { &mut self.ups } else { &mut self.downs } += 1;
        let taken = Taken { at: now, from, decision: self.now };
        if self.taken.len() == KEPT {
            self.taken.pop_front();
        }
        self.taken.push_back(taken);
        Some(taken)
    }

    /// How many workers there should be.
    pub(super) fn target(&self) -> usize {
        self.now.workers
    }

    /// The decision in force.
    pub(super) fn decision(&self) -> &Decision {
        &self.now
    }

    /// The last decisions that changed the number, the oldest first.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Taken> {
        self.taken.iter()
    }

    /// How often the number was raised and lowered.
    pub(super) fn changes(&self) -> (u64, u64) {
        (self.ups, self.downs)
    }

    /// The fewest workers.
    pub(super) fn floor(&self) -> usize {
        self.by_hand.unwrap_or(self.min).min(self.max)
    }

    /// The fewest that were ordered by hand, if any were.
    pub(super) fn by_hand(&self) -> Option<usize> {
        self.by_hand
    }

    /// Whose wish the fewest are.
    pub(super) fn floor_word(&self) -> &'static str {
        if self.by_hand.is_some() { "by hand" } else { "min" }
    }

    /// Most runs aboard at once that this allows, in workers.
    pub(super) fn ceiling(&self) -> usize {
        if self.scaling.dynamic { self.max } else { self.floor() }
    }

    /// Whether the number may still change by itself.
    pub(super) fn is_restless(&self) -> bool {
        let by_demand = self.now.workers > self.floor() || self.now.load.waiting > 0;
        (self.scaling.dynamic && by_demand) || self.now.why == Why::Memory
    }

    /// Whether the memory has any say, also where the backlog has none.
    pub(super) fn is_bounded(&self) -> bool {
        self.scaling.memory_limit.is_some()
    }

    /// How often it is to be decided anew while it is restless.
    pub(super) fn interval(&self) -> Duration {
        self.scaling.flex_interval
    }

    /// Whether the backlog has any say.
    pub(super) fn is_elastic(&self) -> bool {
        self.scaling.dynamic && self.floor() < self.max
    }

    /// Sets the fewest by hand, from none to the most.
    pub(super) fn order(&mut self, order: ByHand) -> Floor {
        let before = self.floor();
        let wanted = match order {
            ByHand::Exactly(workers) => i128::try_from(workers).unwrap_or(i128::MAX),
            ByHand::Change(by) => before as i128 + i128::from(by),
        };
        let fewest = usize::try_from(wanted.max(0)).unwrap_or(usize::MAX).min(self.max);
        // The number of the configuration is its own wish again.
        self.by_hand = (fewest != self.min).then_some(fewest);
        let (min, max, dynamic) = (self.min, self.max, self.scaling.dynamic);
        Floor { fewest, before, min, max, dynamic, clamped: wanted != fewest as i128 }
    }
}

#[cfg(test)]
#[path = "scale_tests.rs"]
mod tests;
