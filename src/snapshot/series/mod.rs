//! The history of a channel: its samples in three rings of fixed size, and the last minute.
//!
//! A ring has at most one point per step of time. Samples within a step become one point. A step without a sample has no point:
//! a chart shows a gap there. Rates are over the time between the samples they are from, however far apart those are.

mod point;
mod ring;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use point::{Flow, Point, StoreValues, WorkerValues};
use ring::Ring;

use crate::channel::ChannelStatus;
use crate::job::Timestamp;
use crate::metrics::{CallTimes, Percentiles, Timings};
use crate::pool::SizingDecision;
use crate::store::JobCounts;

/// Seconds of a step of the second ring, whose timings are kept one by one for the last minute.
const MEDIUM_STEP: u64 = 10;
/// Steps of the second ring that make up the last minute.
const RECENT_STEPS: u64 = 6;
/// Scaling decisions that are kept.
const MAX_DECISIONS: usize = 500;

/// The time between two points of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A second, for 15 minutes.
    Second,
    /// Ten seconds, for 6 hours.
    TenSeconds,
    /// A minute, for 24 hours.
    Minute,
}

impl Step {
    /// All steps, the shortest first.
    pub const ALL: [Self; 3] = [Self::Second, Self::TenSeconds, Self::Minute];

    /// The length of the step.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => MEDIUM_STEP,
            Self::Minute => 60,
        }
    }

    /// The most points that the ring holds.
    #[must_use]
    pub fn points(self) -> usize {
        match self {
            Self::Second => 900,
            Self::TenSeconds => 2160,
            Self::Minute => 1440,
        }
    }
}

/// A change of the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaledAt {
    /// The time of the decision, by this machine's clock.
    pub at: Timestamp,
    /// The number of workers before.
    pub from: usize,
    /// The decision with its facts.
    pub decision: SizingDecision,
}

/// The last minute of a channel, or the time between the last two samples if that is longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// Seconds that the values are from.
    pub seconds: f64,
    /// Jobs pushed to the channel per second, by all producers; absent before the second answer of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived_per_second: Option<f64>,
    /// Jobs done or finally failed per second, in all masters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_per_second: Option<f64>,
    /// Runs that ended in this master.
    pub runs: u64,
    /// Runs that failed, timed out, crashed or were lost.
    pub failed_runs: u64,
    /// The share of failed runs, from 0 to 1; absent without a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// Seconds from which jobs were ready until their dispatch in this master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<Percentiles>,
    /// Seconds that runs in this master took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_seconds: Option<Percentiles>,
    /// Seconds that calls of the store took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_seconds: Option<CallTimes>,
}

/// The state of a channel at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'a> {
    /// The time by this machine's clock.
    pub(super) at: Timestamp,
    /// The same time, for durations.
    pub(super) now: Instant,
    /// The counts of the store, if it answered.
    pub(super) counts: Option<&'a JobCounts>,
    /// The state of the channel, if it answered.
    pub(super) status: Option<&'a ChannelStatus>,
    /// Ended runs, waits and store calls since the last sighting.
    pub(super) timings: &'a Timings,
}

/// The history of a channel.
#[derive(Debug)]
pub(super) struct Series {
    rings: [Ring; Step::ALL.len()],
    /// The timings of the step in which the last sample was, of the first ring.
    second: (u64, Timings),
    /// The timings of the last steps of the second ring.
    steps: VecDeque<(u64, Timings)>,
    /// Memory for a sum of timings.
    sum: Timings,
    last_sample: Option<Instant>,
    last_counts: Option<(Instant, JobCounts)>,
    /// The number of scaling decisions seen.
    scaled: u64,
    decisions: VecDeque<ScaledAt>,
}

impl Series {
    /// An empty history whose first interval begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rings: Step::ALL.map(|step| Ring::new(step.seconds(), step.points())),
            second: (0, Timings::default()),
            steps: VecDeque::new(),
            sum: Timings::default(),
            last_sample: Some(now),
            last_counts: None,
            scaled: 0,
            decisions: VecDeque::new(),
        }
    }

    /// Records a sample.
    pub(super) fn record(&mut self, seen: &Sighting<'_>) {
        let seconds = self.last_sample.replace(seen.now).map_or(0.0, |last| (seen.now - last).as_secs_f64());
        let flow = seen.counts.and_then(|counts| self.flow(seen.now, counts));
        if let Some(status) = seen.status {
            self.note_decisions(seen.at, status);
        }
        let point = Point::of(seen, seconds, flow);
        self.add_timings(seen);
        let (_, second) = &self.second;
        let (medium, ten) = self.steps.back().expect("the present step");
        let minute = medium / RECENT_STEPS;
        sum(&mut self.sum, self.steps.iter().filter(|(step, _)| step / RECENT_STEPS == minute));
        for (ring, timings) in self.rings.iter_mut().zip([second, ten, &self.sum]) {
            ring.record(point, timings);
        }
    }

    /// The points of a ring at or after `since`, the oldest first.
    pub(super) fn points(&self, step: Step, since: Timestamp) -> impl Iterator<Item = &Point> {
        let ring = Step::ALL.iter().position(|known| *known == step).expect("one of all");
        self.rings[ring].points().filter(move |point| point.at >= since)
    }

    /// Changes of the number of workers at or after `since`, the oldest first.
    pub(super) fn decisions(&self, since: Timestamp) -> impl Iterator<Item = &ScaledAt> {
        self.decisions.iter().filter(move |decision| decision.at >= since)
    }

    /// The counts that the store gave last, and when.
    pub(super) fn last_counts(&self) -> Option<(Instant, JobCounts)> {
        self.last_counts
    }

    /// The values of the last minute before `at`.
    #[expect(clippy::cast_precision_loss, reason = "a share and rates")]
    pub(super) fn recent(&self, at: Timestamp) -> Recent {
        let newest = step_of(at, MEDIUM_STEP);
        let is_recent = |step: u64| step <= newest && step + RECENT_STEPS > newest;
        let mut timings = Timings::default();
        sum(&mut timings, self.steps.iter().filter(|(step, _)| is_recent(*step)));
        let ring = &self.rings[1];
        let points = ring.points().rev().take(RECENT_STEPS as usize);
        let points = points.filter(|point| is_recent(step_of(point.at, MEDIUM_STEP)));
        let (mut seconds, mut flow) = (0.0, Flow::default());
        for point in points {
            seconds += f64::from(point.seconds);
            flow.add(point.flow.unwrap_or_default());
        }
        let per_second = |jobs: u64| (flow.seconds > 0.0).then(|| jobs as f64 / f64::from(flow.seconds));
        let (runs, failed_runs) = (timings.ended(), timings.failed());
        Recent {
            seconds,
            arrived_per_second: per_second(flow.arrived),
            settled_per_second: per_second(flow.settled),
            runs,
            failed_runs,
            failure_rate: (runs > 0).then(|| failed_runs as f64 / runs as f64),
            wait_seconds: timings.waits(),
            run_seconds: timings.runs(),
            store_seconds: timings.calls(),
        }
    }

    /// The jobs that came and went since the last answer of the store.
    fn flow(&mut self, now: Instant, counts: &JobCounts) -> Option<Flow> {
        let (then, before) = self.last_counts.replace((now, *counts))?;
        Some(Flow::between(&before, counts, now - then))
    }

    fn note_decisions(&mut self, at: Timestamp, status: &ChannelStatus) {
        let pool = &status.pool;
        let decisions = pool.scaled_up + pool.scaled_down;
        let new = usize::try_from(decisions.saturating_sub(self.scaled)).unwrap_or(usize::MAX);
        self.scaled = decisions;
        for change in pool.scaled.iter().skip(pool.scaled.len().saturating_sub(new)) {
            if self.decisions.len() == MAX_DECISIONS {
                self.decisions.pop_front();
            }
            let at = Timestamp(at.0.saturating_sub(change.ago_ms.saturating_mul(1000)));
            self.decisions.push_back(ScaledAt { at, from: change.from, decision: change.decision });
        }
    }

    /// Adds the timings of a sample to those of its steps.
    fn add_timings(&mut self, seen: &Sighting<'_>) {
        let second = step_of(seen.at, 1);
        if self.second.0 != second {
            self.second.0 = second;
            self.second.1.clear();
        }
        self.second.1.add(seen.timings);
        let step = step_of(seen.at, MEDIUM_STEP);
        // After a step of the clock backwards, what is ahead of the clock is from another time.
        self.steps.retain(|(known, _)| *known <= step);
        if self.steps.back().is_none_or(|(known, _)| *known != step) {
            let mut timings = match self.steps.len() > RECENT_STEPS as usize {
                true => self.steps.pop_front().expect("several").1,
                false => Timings::default(),
            };
            timings.clear();
            self.steps.push_back((step, timings));
        }
        self.steps.back_mut().expect("just added").1.add(seen.timings);
    }
}

/// Sets `to` to the sum of timings.
fn sum<'a>(to: &mut Timings, of: impl Iterator<Item = &'a (u64, Timings)>) {
    to.clear();
    of.for_each(|(_, timings)| to.add(timings));
}

/// The number of a step since 1970.
fn step_of(at: Timestamp, seconds: u64) -> u64 {
    at.0 / 1_000_000 / seconds
}

#[cfg(test)]
mod tests;
