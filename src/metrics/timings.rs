//! Waits, runs and store calls of one channel between two samples of its history.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Outcomes of a run that count as a failure. Released, interrupted and cancelled runs do not: they were ended on purpose.
const FAILURES: [&str; 5] = ["failed", "timed_out", "crashed", "crashed_in_company", "lost"];
/// Longest duration that differs from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);
/// Digits of a duration that are exact.
const DIGITS: u8 = 2;

/// Why a histogram takes every value.
const RESIZES: &str = "a histogram resizes for a large value";

/// Durations in microseconds.
#[derive(Clone, Debug)]
struct Durations(Histogram<u32>);

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("a valid number of digits"))
    }
}

impl Durations {
    fn record(&mut self, duration: Duration) {
        let microseconds = u64::try_from(duration.min(LONGEST).as_micros()).expect("an hour at most");
        self.0.record(microseconds).expect(RESIZES);
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| seconds(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Percentiles {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: seconds(self.0.max()),
        })
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "two digits are exact")]
fn seconds(microseconds: u64) -> f32 {
    (microseconds as f64 / 1e6) as f32
}

/// Percentiles of durations, in seconds up to an hour, exact to two digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the durations are no longer.
    pub p50: f32,
    /// 95 % of the durations are no longer.
    pub p95: f32,
    /// 99 % of the durations are no longer.
    pub p99: f32,
    /// The longest.
    pub max: f32,
}

/// Whether a run with this outcome failed, timed out, crashed or was lost.
pub(super) fn is_failure(outcome: &str) -> bool {
    FAILURES.contains(&outcome)
}

/// Number of ended runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTotals {
    /// All.
    pub ended: u64,
    /// Runs that failed, timed out, crashed or were lost.
    pub failed: u64,
}

/// Calls of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallTimes {
    /// Mean duration in seconds.
    pub mean: f32,
    /// The longest in seconds.
    pub max: f32,
}

/// Numbers and durations of ended runs, waits and store calls in an interval.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    waits: Durations,
    runs: Durations,
    ended: u64,
    failed: u64,
    calls: u32,
    calls_took: Duration,
    longest_call: Duration,
}

impl Timings {
    pub(super) fn run_ended(&mut self, outcome: &str, took: Duration) {
        self.runs.record(took);
        self.ended += 1;
        self.failed += u64::from(is_failure(outcome));
    }

    pub(super) fn dispatched(&mut self, waited: Duration) {
        self.waits.record(waited);
    }

    pub(super) fn store_call(&mut self, took: Duration) {
        self.calls = self.calls.saturating_add(1);
        self.calls_took += took;
        self.longest_call = self.longest_call.max(took);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.waits.0.reset();
        self.runs.0.reset();
        let (waits, runs) = (std::mem::take(&mut self.waits), std::mem::take(&mut self.runs));
        *self = Self { waits, runs, ..Self::default() };
    }

    /// Adds what another interval has.
    pub fn add(&mut self, other: &Self) {
        self.waits.0.add(&other.waits.0).expect(RESIZES);
        self.runs.0.add(&other.runs.0).expect(RESIZES);
        self.ended += other.ended;
        self.failed += other.failed;
        self.calls = self.calls.saturating_add(other.calls);
        self.calls_took += other.calls_took;
        self.longest_call = self.longest_call.max(other.longest_call);
    }

    /// Times from which jobs were ready until their dispatch.
    #[must_use]
    pub fn waits(&self) -> Option<Percentiles> {
        self.waits.percentiles()
    }

    /// Durations of ended runs.
    #[must_use]
    pub fn runs(&self) -> Option<Percentiles> {
        self.runs.percentiles()
    }

    /// Number of ended runs.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Number of runs that failed, timed out, crashed or were lost.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Calls of the store that have answered.
    #[must_use]
    pub fn calls(&self) -> Option<CallTimes> {
        (self.calls > 0).then(|| CallTimes {
            mean: (self.calls_took / self.calls).as_secs_f32(),
            max: self.longest_call.as_secs_f32(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::OUTCOMES;

    const MS: Duration = Duration::from_millis(1);

    fn is_about(value: f32, expected: f32) -> bool {
        (value - expected).abs() <= expected * 0.01
    }

    #[test]
    fn percentiles_are_exact_to_two_digits() {
        let mut timings = Timings::default();
        (1..=1000).for_each(|ms| timings.dispatched(MS * ms));
        let waits = timings.waits().unwrap();
        let found = [waits.p50, waits.p95, waits.p99, waits.max];
        let near =
            found.iter().zip([0.5, 0.95, 0.99, 1.0]).all(|(&value, expected)| is_about(value, expected));
        assert!(near, "{found:?}");
        assert_eq!(timings.runs(), None);
    }

    #[test]
    fn intervals_add_up() {
        let (mut one, mut other) = (Timings::default(), Timings::default());
        one.run_ended("done", MS);
        other.run_ended("timed_out", MS * 3);
        other.run_ended("released", MS * 5000 * 1000);
        other.store_call(MS * 4);
        one.store_call(MS * 2);
        one.add(&other);
        assert_eq!((one.ended(), one.failed()), (3, 1));
        assert_eq!(one.calls(), Some(CallTimes { mean: 0.003, max: 0.004 }));
        let runs = one.runs().unwrap();
        assert!(is_about(runs.p50, 0.003) && is_about(runs.max, 3600.0), "{runs:?}");
        one.clear();
        assert_eq!((one.ended(), one.failed(), one.runs(), one.calls()), (0, 0, None, None));
    }

    #[test]
    fn failures_are_outcomes() {
        assert!(FAILURES.iter().all(|failure| OUTCOMES.contains(failure)));
    }
}
