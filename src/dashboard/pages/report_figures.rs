//! The figures of a report, from the samples of a channel in a period. Pure.

use crate::job::Timestamp;
use crate::metrics::Percentiles;
use crate::snapshot::Point;

/// Most waits of a channel that a report names.
const MAX_WAITS: usize = 3;

/// The figures of a channel in a period.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ReportFigures {
    /// Runs that ended in the master behind the page, and the failed ones among them.
    pub(super) runs: u64,
    pub(super) failed_runs: u64,
    /// Jobs that came and went in all masters.
    pub(super) arrived: u64,
    pub(super) settled: u64,
    /// Seconds in which they did.
    pub(super) seconds: f64,
    pub(super) wait: Option<Typical>,
    pub(super) run: Option<Typical>,
    pub(super) most_waiting: u64,
    /// The longest waits of a front job, each the longest of a time with waiting jobs.
    pub(super) waits: Vec<LongWait>,
}

/// Percentiles of a period, from those of its steps: exact ones would need every single time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Typical {
    /// The median of the steps.
    pub(super) p50: f64,
    pub(super) p95: f64,
    /// The highest step.
    pub(super) highest_p99: f64,
}

/// A wait of a front job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongWait {
    pub(super) at: Timestamp,
    pub(super) seconds: f64,
    /// Jobs that waited then.
    pub(super) waiting: u64,
}

impl ReportFigures {
    /// The figures of these samples, the oldest first.
    pub(super) fn of(points: &[Point]) -> Self {
        let mut figures = Self::default();
        let mut waits = Vec::new();
        let mut longest: Option<LongWait> = None;
        for point in points {
            figures.runs += u64::from(point.runs);
            figures.failed_runs += u64::from(point.failed_runs);
            if let Some(flow) = &point.flow {
                figures.arrived += flow.arrived;
                figures.settled += flow.settled;
                figures.seconds += f64::from(flow.seconds);
            }
            let store = point.store.unwrap_or_default();
            figures.most_waiting = figures.most_waiting.max(store.waiting);
            match store.front_waiting {
                None => waits.extend(longest.take()),
                Some(seconds) => {
                    let wait = LongWait { at: point.at, seconds: f64::from(seconds), waiting: store.waiting };
                    if longest.is_none_or(|longest| longest.seconds <= wait.seconds) {
                        longest = Some(wait);
                    }
                }
            }
        }
        waits.extend(longest);
        waits.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        waits.truncate(MAX_WAITS);
        figures.waits = waits;
        figures.wait = Typical::of(points.iter().filter_map(|point| point.wait));
        figures.run = Typical::of(points.iter().filter_map(|point| point.run));
        figures
    }

    /// Jobs per second; `None` without a time in which the store answered twice.
    #[expect(clippy::cast_precision_loss, reason = "numbers of jobs")]
    pub(super) fn per_second(&self, jobs: u64) -> Option<f64> {
        (self.seconds > 0.0).then(|| jobs as f64 / self.seconds)
    }

    /// The share of failed runs.
    #[expect(clippy::cast_precision_loss, reason = "numbers of runs")]
    pub(super) fn failing(&self) -> Option<f64> {
        (self.runs > 0).then(|| self.failed_runs as f64 / self.runs as f64)
    }
}

impl Typical {
    fn of(steps: impl Iterator<Item = Percentiles>) -> Option<Self> {
        let steps: Vec<_> = steps.collect();
        let highest_p99 = steps.iter().map(|step| f64::from(step.p99)).reduce(f64::max)?;
        let median = |of: fn(&Percentiles) -> f32| {
            let mut values: Vec<_> = steps.iter().map(of).collect();
            values.sort_by(f32::total_cmp);
            f64::from(values[values.len() / 2])
        };
        Some(Self { p50: median(|step| step.p50), p95: median(|step| step.p95), highest_p99 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Flow, StoreValues};

    #[test]
    fn figures_are_sums_medians_and_peaks() {
        let point = |at: u64, runs: u32, p95: f32, front: Option<f32>| Point {
            at: Timestamp(at),
            runs,
            failed_runs: runs / 2,
            flow: Some(Flow { arrived: 3, settled: 2, seconds: 10.0 }),
            store: Some(StoreValues { waiting: at, front_waiting: front, ..StoreValues::default() }),
            run: Some(Percentiles { p50: p95 / 2.0, p95, p99: p95 * 2.0, max: p95 * 3.0 }),
            ..Point::default()
        };
        let points = [
            point(1, 4, 1.0, Some(5.0)),
            point(2, 2, 9.0, Some(7.0)),
            point(3, 0, 2.0, None),
            point(4, 2, 3.0, Some(1.0)),
        ];
        let figures = ReportFigures::of(&points);
        assert_eq!((figures.runs, figures.failed_runs, figures.arrived, figures.settled), (8, 4, 12, 8));
        assert_eq!((figures.failing(), figures.per_second(figures.settled)), (Some(0.5), Some(0.2)));
        assert_eq!(figures.run, Some(Typical { p50: 1.5, p95: 3.0, highest_p99: 18.0 }));
        assert_eq!((figures.wait, figures.most_waiting), (None, 4));
        let waits: Vec<_> = figures.waits.iter().map(|wait| (wait.at.0, wait.seconds)).collect();
        assert_eq!(waits, [(2, 7.0), (4, 1.0)]);
        assert_eq!(ReportFigures::of(&[]), ReportFigures::default());
    }
}
