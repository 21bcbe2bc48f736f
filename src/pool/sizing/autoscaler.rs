//! The memory of sizing between two decisions: the workers wanted during the cool-down, the manual minimum, and the last
//! decisions for `queue:status`.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

use super::decision::{SizingChanges, SizingDecision, SizingInput, SizingReason, decide, wanted};
use crate::config::plan::{Plan, Scaling};

/// Most decisions kept for `queue:status`.
const MAX_KEPT_DECISIONS: usize = 20;

/// The most workers wanted at any moment of a sliding window: candidates in falling order, the oldest first.
#[derive(Debug, Default)]
struct PeakWindow(VecDeque<(Instant, usize)>);

impl PeakWindow {
    /// Adds the number wanted now and returns the most of the last `window`.
    fn note(&mut self, now: Instant, wanted: usize, window: Duration) -> usize {
        while self.0.back().is_some_and(|(_, lower)| *lower <= wanted) {
            self.0.pop_back();
        }
        self.0.push_back((now, wanted));
        // The last entry before the window is the number wanted at its beginning.
        while self.0.len() > 1 && now.duration_since(self.0[0].0) >= window {
            self.0.pop_front();
        }
        self.0[0].1
    }
}

/// A decision that changed the number of workers, and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppliedDecision {
    pub(crate) at: Instant,
    pub(crate) from: usize,
    pub(crate) decision: SizingDecision,
}

/// A change of the manual minimum (`queue:scale`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", try_from = "ScaleOrderFields")]
pub enum ScaleOrder {
    /// Relative to the minimum in force.
    Change(i64),
    /// An absolute number.
    Exactly(usize),
}

/// The JSON form of a [`ScaleOrder`].
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

impl FromStr for ScaleOrder {
    type Err = String;

    /// `+2`, `-1`, `=3`, `3`.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write +1, -1 or =3";
        let wrong = |_| FORM.to_owned();
        // Integer parsing accepts a sign, so that "+-1" must be refused here.
        let is_number = |digits: &str| digits.starts_with(|c: char| c.is_ascii_digit());
        match text.split_at_checked(1) {
            Some(("+" | "-", digits)) if is_number(digits) => text.parse().map(Self::Change).map_err(wrong),
            Some(("=", digits)) if is_number(digits) => digits.parse().map(Self::Exactly).map_err(wrong),
            _ if is_number(text) => text.parse().map(Self::Exactly).map_err(wrong),
            _ => Err(FORM.to_owned()),
        }
    }
}

impl fmt::Display for ScaleOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(by) => write!(f, "{by:+}"),
            Self::Exactly(workers) => write!(f, "={workers}"),
        }
    }
}

/// The minimum number of workers after `queue:scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MinWorkers {
    /// The minimum in force.
    pub fewest: usize,
    /// The minimum before.
    pub before: usize,
    /// The configured minimum.
    pub min: usize,
    /// The maximum.
    pub max: usize,
    /// Whether the backlog raises the number above the minimum.
    pub dynamic: bool,
    /// Whether the order was outside the allowed range.
    pub clamped: bool,
}

/// The sizing of one pool.
#[derive(Debug)]
pub(crate) struct Autoscaler {
    scaling: Scaling,
    min: usize,
    max: usize,
    manual_minimum: Option<usize>,
    peaks: PeakWindow,
    now: SizingDecision,
    applied: VecDeque<AppliedDecision>,
    changes: SizingChanges,
}

impl Autoscaler {
    pub(crate) fn new(plan: &Plan, scaling: Scaling) -> Self {
        let load = SizingInput { min: plan.min, max: plan.max, slots: plan.slots, ..SizingInput::default() };
        let now = SizingDecision { workers: plan.min, why: SizingReason::Min, load };
        let (peaks, applied) = (PeakWindow::default(), VecDeque::new());
        let (min, max) = (plan.min, plan.max);
        Self {
            scaling,
            min,
            max,
            manual_minimum: None,
            peaks,
            now,
            applied,
            changes: SizingChanges::default(),
        }
    }

    /// Takes over other bounds and rules. The manual minimum stays, within them.
    pub(crate) fn reconfigure(&mut self, plan: &Plan, scaling: Scaling) {
        (self.min, self.max, self.scaling) = (plan.min, plan.max, scaling);
    }

    /// Makes a decision and returns it when it changes the number. The bounds and the peak of `load` are filled in here.
    pub(crate) fn update(&mut self, load: SizingInput, now: Instant) -> Option<AppliedDecision> {
        let mut load =
            SizingInput { min: self.min(), max: self.max, by_hand: self.manual_minimum.is_some(), ..load };
        // The cool-down keeps no more than the maximum.
        let wanted = wanted(&load, &self.scaling).min(self.max);
        load.peak = self.peaks.note(now, wanted, self.scaling.cool_down);
        let from = self.now.workers;
        self.now = decide(load, &self.scaling);
        if self.now.workers == from {
            return None;
        }
        self.changes.count(self.now.workers > from, self.now.why);
        let change = AppliedDecision { at: now, from, decision: self.now };
        if self.applied.len() == MAX_KEPT_DECISIONS {
            self.applied.pop_front();
        }
        self.applied.push_back(change);
        Some(change)
    }

    /// Number of workers there should be.
    pub(crate) fn target(&self) -> usize {
        self.now.workers
    }

    /// The decision in force.
    pub(crate) fn decision(&self) -> &SizingDecision {
        &self.now
    }

    /// The last decisions that changed the number, the oldest first.
    pub(crate) fn applied(&self) -> impl Iterator<Item = &AppliedDecision> {
        self.applied.iter()
    }

    /// How often the number has changed.
    pub(crate) fn changes(&self) -> &SizingChanges {
        &self.changes
    }

    /// Bytes that all workers may use together.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.scaling.memory_limit
    }

    /// The minimum in force.
    pub(crate) fn min(&self) -> usize {
        self.manual_minimum.unwrap_or(self.min).min(self.max)
    }

    /// The manual minimum, if one is set.
    pub(crate) fn manual_minimum(&self) -> Option<usize> {
        self.manual_minimum
    }

    /// Most workers whose slots may be used.
    pub(crate) fn max_usable(&self) -> usize {
        if self.scaling.dynamic { self.max } else { self.min() }
    }

    /// Whether the number may change without an event.
    pub(crate) fn may_change(&self) -> bool {
        let by_demand = self.now.workers > self.min() || self.now.load.waiting > 0;
        (self.scaling.dynamic && by_demand) || self.now.why == SizingReason::Memory
    }

    /// Whether a memory limit bounds the number, also where the backlog does not raise it.
    pub(crate) fn is_bounded(&self) -> bool {
        self.scaling.memory_limit.is_some()
    }

    /// Time between two periodic decisions.
    pub(crate) fn interval(&self) -> Duration {
        self.scaling.flex_interval
    }

    /// Whether the backlog can change the number.
    pub(crate) fn is_elastic(&self) -> bool {
        self.scaling.dynamic && self.min() < self.max
    }

    /// Sets the manual minimum, from none to the maximum.
    pub(crate) fn set_minimum(&mut self, order: ScaleOrder) -> MinWorkers {
        let before = self.min();
        let wanted = match order {
            ScaleOrder::Exactly(workers) => i128::try_from(workers).unwrap_or(i128::MAX),
            ScaleOrder::Change(by) => before as i128 + i128::from(by),
        };
        let fewest = usize::try_from(wanted.max(0)).unwrap_or(usize::MAX).min(self.max);
        // The configured number removes the manual minimum.
        self.manual_minimum = (fewest != self.min).then_some(fewest);
        let (min, max, dynamic) = (self.min, self.max, self.scaling.dynamic);
        MinWorkers { fewest, before, min, max, dynamic, clamped: wanted != fewest as i128 }
    }
}

#[cfg(test)]
#[path = "autoscaler_tests.rs"]
mod tests;
