use std::time::Duration;

use super::*;
use crate::metrics::Metrics;
use crate::pool::{PoolStatus, SizingChange, SizingReason};

/// A time at the beginning of a minute.
const START: Timestamp = Timestamp(1_800_000_000_000_000);

/// A history that is fed by hand.
struct Fixture {
    series: Series,
    began: Instant,
    counts: JobCounts,
    timings: Timings,
}

impl Fixture {
    fn new() -> Self {
        let now = Instant::now();
        let (series, counts) = (Series::new(now), JobCounts::default());
        Self { series, began: now, counts, timings: Timings::default() }
    }

    /// Takes a sample this long after the start.
    fn sample(&mut self, after: f64) {
        let counts = self.counts;
        self.record(after, Some(&counts), None);
    }

    fn record(&mut self, after: f64, counts: Option<&JobCounts>, status: Option<&ChannelStatus>) {
        let after = Duration::from_secs_f64(after);
        let (at, now) = (START.after(after), self.began + after);
        self.series.record(&Sighting { at, now, counts, status, timings: &self.timings });
        self.timings.clear();
    }

    /// Has a run end that took this long.
    fn run(&mut self, outcome: &str, took: Duration) {
        let metrics = Metrics::default().channel("mail");
        metrics.run_ended("job", outcome, took);
        let mut timings = Timings::default();
        metrics.exchange_timings(&mut timings);
        self.timings.add(&timings);
    }

    fn points(&self, step: Step) -> Vec<Point> {
        self.series.points(step, Timestamp(0)).copied().collect()
    }
}

fn waiting(point: &Point) -> u64 {
    point.store.unwrap().waiting
}

#[test]
fn each_step_has_the_last_counts_and_the_sum_of_flows() {
    let mut fixture = Fixture::new();
    for second in 0..20_u64 {
        fixture.counts.waiting = second;
        fixture.counts.done = 2 * second;
        fixture.sample(second as f64);
    }
    assert_eq!(fixture.points(Step::Second).len(), 20);
    let tens = fixture.points(Step::TenSeconds);
    assert_eq!(tens.iter().map(waiting).collect::<Vec<_>>(), [9, 19]);
    // The first sample has no earlier one to differ from.
    let first = Flow { arrived: 27, settled: 18, seconds: 9.0 };
    let second = Flow { arrived: 30, settled: 20, seconds: 10.0 };
    assert_eq!(tens.iter().map(|point| point.flow.unwrap()).collect::<Vec<_>>(), [first, second]);
    assert_eq!(fixture.points(Step::Minute).iter().map(waiting).collect::<Vec<_>>(), [19]);
}

#[test]
fn rates_are_over_the_real_time_between_answers_of_the_store() {
    let mut fixture = Fixture::new();
    fixture.sample(0.0);
    fixture.record(1.0, None, None);
    fixture.record(2.0, None, None);
    fixture.counts.done = 30;
    fixture.sample(3.0);
    let points = fixture.points(Step::Second);
    assert_eq!(points[1].store, None, "a gap while the store is away");
    assert_eq!(points[3].flow, Some(Flow { arrived: 30, settled: 30, seconds: 3.0 }));
    let recent = fixture.series.recent(START.after(Duration::from_secs(3)));
    assert_eq!((recent.arrived_per_second, recent.settled_per_second), (Some(10.0), Some(10.0)));
    assert!((recent.seconds - 3.0).abs() < 1e-6, "{recent:?}");
}

#[test]
fn retries_and_removals_are_no_arrivals() {
    let failed = JobCounts { failed: 5, done: 10, ..JobCounts::default() };
    let retried = JobCounts { waiting: 5, failed: 0, ..failed };
    let removed = JobCounts { failed: 1, cleared: 4, ..failed };
    for after in [retried, removed] {
        let flow = Flow::between(&failed, &after, Duration::from_secs(1));
        assert_eq!((flow.arrived, flow.settled), (0, 0), "{after:?}");
    }
}

#[test]
fn percentiles_are_of_all_runs_of_their_step() {
    let mut fixture = Fixture::new();
    for second in 0..60 {
        fixture.run(if second < 6 { "crashed" } else { "done" }, Duration::from_millis(10 * (second + 1)));
        fixture.sample(second as f64);
    }
    let minutes = fixture.points(Step::Minute);
    let run = minutes[0].run.unwrap();
    assert_eq!((minutes[0].runs, minutes[0].failed_runs), (60, 6));
    assert!((run.p50 - 0.3).abs() < 0.01 && (run.max - 0.6).abs() < 0.01, "{run:?}");
    let tens = fixture.points(Step::TenSeconds);
    assert_eq!(
        tens.iter().map(|point| (point.runs, point.failed_runs)).collect::<Vec<_>>()[..2],
        [(10, 6), (10, 0)]
    );
    let recent = fixture.series.recent(START.after(Duration::from_secs(59)));
    assert_eq!((recent.runs, recent.failure_rate), (60, Some(0.1)));
    let later = fixture.series.recent(START.after(Duration::from_secs(95)));
    assert_eq!(later.runs, 20, "the ten seconds from 40 to 59 are within the last minute");
    assert_eq!(fixture.series.recent(START.after(Duration::from_secs(300))), Recent::default());
}

#[test]
fn rings_forget_what_is_older_than_they_reach() {
    let mut fixture = Fixture::new();
    for second in 0..2000 {
        fixture.counts.waiting = second;
        fixture.sample(second as f64);
    }
    let seconds = fixture.points(Step::Second);
    assert_eq!((seconds.len(), waiting(&seconds[0])), (900, 1100));
    fixture.sample(100_000.0);
    assert_eq!(Step::ALL.map(|step| fixture.points(step).len()), [1, 1, 1]);
}

#[test]
fn clock_that_steps_back_drops_what_is_ahead() {
    let mut fixture = Fixture::new();
    for second in 0..100 {
        fixture.run("done", Duration::from_millis(1));
        fixture.sample(f64::from(second));
    }
    let (at, now) = (START.after(Duration::from_secs(30)), fixture.began + Duration::from_secs(100));
    let counts = JobCounts { waiting: 7, ..JobCounts::default() };
    let timings = Timings::default();
    fixture.series.record(&Sighting { at, now, counts: Some(&counts), status: None, timings: &timings });
    let seconds = fixture.points(Step::Second);
    assert_eq!((seconds.len(), waiting(&seconds[30])), (31, 7));
    assert_eq!(
        fixture.series.recent(at).runs,
        10,
        "those of the present step; earlier ones were forgotten before"
    );
}

#[test]
fn each_scaling_decision_is_kept_once_with_its_time() {
    let mut fixture = Fixture::new();
    let change = |ago_ms, workers| {
        let load = crate::pool::SizingInput::default();
        let decision = SizingDecision { workers, why: SizingReason::Backlog, load };
        SizingChange { ago_ms, from: 1, decision }
    };
    let status = |scaled: Vec<SizingChange>| ChannelStatus {
        pool: Box::new(PoolStatus { scaled_up: scaled.len() as u64, scaled, ..PoolStatus::default() }),
        ..ChannelStatus::default()
    };
    fixture.record(1.0, None, Some(&status(vec![change(500, 2)])));
    fixture.record(2.0, None, Some(&status(vec![change(1500, 2), change(200, 3)])));
    fixture.record(3.0, None, Some(&status(vec![change(2500, 2), change(1200, 3)])));
    let kept: Vec<_> =
        fixture.series.decisions(START).map(|kept| (kept.at.since(START), kept.decision.workers)).collect();
    assert_eq!(kept, [(Duration::from_millis(500), 2), (Duration::from_millis(1800), 3)]);
}
