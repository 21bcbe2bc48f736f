//! The charts of a channel: one per question.

use std::time::Duration;

use crate::dashboard::chart::{
    Band, BandKind, Chart, Clock, Dot, Excess, Limit, Mark, MarkKind, Series, SeriesKind, Spark, Tone, Unit,
};
use crate::dashboard::parts::Words;
use crate::dashboard::picture::{ChannelPicture, FiringAlert};
use crate::job::Timestamp;
use crate::job_json::time::local_zone;
use crate::snapshot::{Point, ScaledAt, Step};

/// Minutes of the line of waiting jobs.
const MINUTES: u64 = 60;

/// A range of time that a page can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) enum Range {
    Quarter,
    Hour,
    SixHours,
    Day,
}

impl Range {
    pub(in crate::engine::dashboard) const ALL: [Self; 4] =
        [Self::Quarter, Self::Hour, Self::SixHours, Self::Day];

    /// The word of the range in addresses.
    pub(in crate::engine::dashboard) fn as_str(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
        }
    }

    pub(in crate::engine::dashboard) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == text)
    }

    /// The ring that charts of the range are drawn from, and the length of the range. A point per second would show noise.
    pub(super) fn chart_ring(self) -> (Step, Duration) {
        match self.ring() {
            (Step::Second, period) => (Step::TenSeconds, period),
            ring => ring,
        }
    }

    /// The ring that has the range in all detail, and its length.
    pub(in crate::engine::dashboard) fn ring(self) -> (Step, Duration) {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        match self {
            Self::Quarter => (Step::Second, Duration::from_secs(900)),
            Self::Hour => (Step::TenSeconds, hours(1)),
            Self::SixHours => (Step::TenSeconds, hours(6)),
            Self::Day => (Step::Minute, hours(24)),
        }
    }
}

/// The samples of a channel in a range.
pub(in crate::engine::dashboard) struct Samples<'a> {
    pub(in crate::engine::dashboard) range: Range,
    /// The end of the range.
    pub(in crate::engine::dashboard) now: Timestamp,
    pub(in crate::engine::dashboard) points: &'a [Point],
    /// A sample per second of the same time, where there is one: values between two points are their mean.
    pub(in crate::engine::dashboard) fine: &'a [Point],
    pub(in crate::engine::dashboard) scaled: &'a [ScaledAt],
    /// The start of the master.
    pub(in crate::engine::dashboard) started: Timestamp,
    pub(in crate::engine::dashboard) alerts: &'a [FiringAlert],
    pub(in crate::engine::dashboard) max_workers: usize,
}

/// The waiting jobs of the last hour, a value a minute; minutes without a sample are gaps.
pub(super) fn waiting_line(channel: &ChannelPicture, words: &Words) -> Spark {
    let mut values = vec![None; MINUTES as usize];
    let last = channel.waiting_hour.last().map_or(0, |(at, _)| at.0 / 60_000_000);
    for (at, waiting) in &channel.waiting_hour {
        let ago = last.saturating_sub(at.0 / 60_000_000);
        if ago < MINUTES {
            #[expect(clippy::cast_precision_loss, reason = "drawn")]
            let waiting = waiting.map(|waiting| waiting as f64);
            values[(MINUTES - 1 - ago) as usize] = waiting;
        }
    }
    Spark { name: words.waiting.to_owned(), range: words.hour.to_owned(), unit: Unit::Count, values }
}

impl Samples<'_> {
    /// All charts, in the order of the page.
    pub(super) fn charts(&self, words: &Words) -> Vec<Chart> {
        vec![
            self.backlog(words),
            self.flow(words),
            self.times(words.wait_question, words.wait_time, |point| point.wait),
            self.times(words.run_question, words.run_time, |point| point.run),
            self.failures(words),
            self.workers(words),
            self.memory(words),
            self.store(words),
        ]
    }

    /// A chart without series.
    fn chart(&self, question: &str, title: &str, unit: Unit) -> Chart {
        let (_, period) = self.range.chart_ring();
        let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        Chart {
            title: title.to_owned(),
            question: question.to_owned(),
            unit,
            from: self.now.0.saturating_sub(micros),
            to: self.now.0,
            clock: clock(self.now),
            times: self.times_of_rows(),
            series: Vec::new(),
            excess: None,
            marks: Vec::new(),
            dots: Vec::new(),
            bands: Vec::new(),
            limits: Vec::new(),
            log: false,
        }
    }

    /// The rows of the charts: one per point, and one without values behind a point that others do not follow.
    fn rows(&self) -> Vec<Option<&Point>> {
        let (step, _) = self.range.chart_ring();
        let longest = step.seconds() * 1_000_000 * 5 / 2;
        let mut rows: Vec<Option<&Point>> = Vec::with_capacity(self.points.len());
        let mut before: Option<&Point> = None;
        for point in self.points {
            let covered = (f64::from(point.seconds) * 1e6) as u64 + longest;
            if before.is_some_and(|before| point.at.0.saturating_sub(before.at.0) > covered) {
                rows.push(None);
            }
            rows.push(Some(point));
            before = Some(point);
        }
        rows
    }

    fn times_of_rows(&self) -> Vec<u64> {
        let mut last = 0;
        let time = |row: Option<&Point>| {
            last = row.map_or(last + 1, |point| point.at.0);
            last
        };
        self.rows().into_iter().map(time).collect()
    }

    fn series(
        &self,
        name: &str,
        kind: SeriesKind,
        tone: Tone,
        value: impl Fn(&Point) -> Option<f64>,
    ) -> Series {
        Series { name: name.to_owned(), kind, tone, values: self.values(value) }
    }

    fn values(&self, value: impl Fn(&Point) -> Option<f64>) -> Vec<Option<f64>> {
        self.rows().into_iter().map(|row| row.and_then(&value)).collect()
    }

    /// The mean of a value in the step that ends with a point: a number of jobs or workers at one moment says little about its step.
    fn mean(&self, point: &Point, value: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
        let (step, _) = self.range.chart_ring();
        let begin = point.at.0.saturating_sub(step.seconds() * 1_000_000);
        let first = self.fine.partition_point(|fine| fine.at.0 <= begin);
        let known = self.fine[first..].iter().take_while(|fine| fine.at <= point.at).filter_map(&value);
        let (sum, number) = known.fold((0.0, 0_u32), |(sum, number), value| (sum + value, number + 1));
        if number == 0 { value(point) } else { Some(sum / f64::from(number)) }
    }

    /// The spans in which the channel was paused, and in which the store did not answer.
    fn bands(&self, words: &Words) -> Vec<Band> {
        let of = |kind, text: &str, is_so: fn(&Point) -> bool| {
            let mut bands: Vec<Band> = Vec::new();
            let mut open = false;
            for point in self.points {
                match (is_so(point), open) {
                    (true, false) => {
                        let from = point.at.0.saturating_sub((f64::from(point.seconds) * 1e6) as u64);
                        bands.push(Band { from, to: None, kind, text: text.to_owned() });
                    }
                    (false, true) => {
                        if let Some(band) = bands.last_mut() {
                            band.to = Some(point.at.0);
                        }
                    }
                    _ => {}
                }
                open = is_so(point);
            }
            bands
        };
        let mut bands =
            of(BandKind::Pause, words.paused, |point| point.store.is_some_and(|store| store.paused));
        bands.extend(of(BandKind::StoreDown, words.store_away, |point| point.store.is_none()));
        bands
    }

    /// The start of the master, and the alerts that fire, if these are within the range.
    fn marks(&self) -> Vec<Mark> {
        let start = Mark { at: self.started.0, kind: MarkKind::Restart, text: String::new() };
        let alerts = self.alerts.iter().map(|alert| Mark {
            at: alert.since.0,
            kind: MarkKind::Alert,
            text: alert.rule.clone(),
        });
        let (_, period) = self.range.chart_ring();
        alerts.chain([start]).filter(|mark| self.now.since(Timestamp(mark.at)) < period).collect()
    }

    fn backlog(&self, words: &Words) -> Chart {
        let of = |number: fn(&crate::snapshot::StoreValues) -> u64| {
            #[expect(clippy::cast_precision_loss, reason = "drawn")]
            move |point: &Point| self.mean(point, |one| one.store.as_ref().map(|store| number(store) as f64))
        };
        Chart {
            series: vec![
                self.series(words.waiting, SeriesKind::Area, Tone::Blue, of(|store| store.waiting)),
                self.series(words.delayed, SeriesKind::Line, Tone::Grey, of(|store| store.delayed)),
                self.series(words.reserved, SeriesKind::Line, Tone::Orange, of(|store| store.reserved)),
            ],
            bands: self.bands(words),
            marks: self.marks(),
            ..self.chart(words.backlog_question, words.backlog, Unit::Count)
        }
    }

    fn flow(&self, words: &Words) -> Chart {
        let rate = |jobs: fn(&crate::snapshot::Flow) -> u64| {
            move |point: &Point| {
                let flow = point.flow.as_ref().filter(|flow| flow.seconds > 0.0)?;
                #[expect(clippy::cast_precision_loss, reason = "drawn")]
                let jobs = jobs(flow) as f64;
                Some(jobs / f64::from(flow.seconds))
            }
        };
        Chart {
            series: vec![
                self.series(words.rate_in, SeriesKind::Line, Tone::Orange, rate(|flow| flow.arrived)),
                self.series(words.rate_out, SeriesKind::Line, Tone::Blue, rate(|flow| flow.settled)),
            ],
            excess: Some(Excess { name: words.falls_behind.to_owned(), over: 0, under: 1 }),
            bands: self.bands(words),
            ..self.chart(words.flow_question, words.flow, Unit::PerSecond)
        }
    }

    fn times(
        &self,
        question: &str,
        title: &str,
        of: fn(&Point) -> Option<crate::metrics::Percentiles>,
    ) -> Chart {
        let p50 = move |point: &Point| of(point).map(|times| f64::from(times.p50));
        let p95 = move |point: &Point| of(point).map(|times| f64::from(times.p95));
        let p99 = move |point: &Point| of(point).map(|times| f64::from(times.p99));
        let band = SeriesKind::Range { lower: self.values(p50) };
        Chart {
            series: vec![
                self.series("p50–p95", band, Tone::Blue, p95),
                self.series("p50", SeriesKind::Line, Tone::Blue, p50),
                self.series("p99", SeriesKind::Thin, Tone::Grey, p99),
            ],
            ..self.chart(question, title, Unit::Seconds)
        }
    }

    fn failures(&self, words: &Words) -> Chart {
        let good = |point: &Point| Some(f64::from(point.runs.saturating_sub(point.failed_runs)));
        let failed = |point: &Point| Some(f64::from(point.failed_runs));
        Chart {
            series: vec![
                self.series(words.good_runs, SeriesKind::Bar, Tone::Blue, good),
                self.series(words.failed_runs, SeriesKind::Bar, Tone::Orange, failed),
            ],
            ..self.chart(words.failure_question, words.runs, Unit::Count)
        }
    }

    fn workers(&self, words: &Words) -> Chart {
        let step = SeriesKind::Step;
        let decisions = self.scaled.iter().map(|scaled| Dot {
            at: scaled.at.0,
            #[expect(clippy::cast_precision_loss, reason = "drawn")]
            value: scaled.decision.workers as f64,
            reason: scaled.decision.to_string(),
        });
        #[expect(clippy::cast_precision_loss, reason = "drawn")]
        let most = self.max_workers as f64;
        Chart {
            series: vec![
                self.series(words.busy, SeriesKind::Area, Tone::Blue, |p| {
                    self.mean(p, |one| Some(f64::from(one.workers.busy)))
                }),
                self.series(words.serving, step.clone(), Tone::Grey, |p| {
                    self.mean(p, |one| Some(f64::from(one.workers.serving)))
                }),
                self.series(words.wanted, step, Tone::Orange, |p| Some(f64::from(p.workers.wanted))),
            ],
            dots: decisions.collect(),
            limits: vec![Limit { name: "max".to_owned(), value: most }],
            ..self.chart(words.workers_question, words.workers, Unit::Count)
        }
    }

    fn memory(&self, words: &Words) -> Chart {
        #[expect(clippy::cast_precision_loss, reason = "drawn")]
        let used = |point: &Point| Some(point.memory as f64);
        Chart {
            series: vec![self.series(words.all_workers, SeriesKind::Area, Tone::Blue, used)],
            ..self.chart(words.memory_question, words.memory, Unit::Bytes)
        }
    }

    fn store(&self, words: &Words) -> Chart {
        let slowest = |point: &Point| point.store_calls.map(|calls| f64::from(calls.max));
        Chart {
            series: vec![self.series(words.slowest, SeriesKind::Line, Tone::Blue, slowest)],
            bands: self.bands(words),
            ..self.chart(words.store_question, words.store, Unit::Seconds)
        }
    }
}

/// The clock of this machine at a time.
fn clock(at: Timestamp) -> Clock {
    let instant = i64::try_from(at.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    match (local_zone(), instant) {
        (Ok(Some(zone)), Some(instant)) => Clock::offset_minutes(zone.to_offset(instant).seconds() / 60),
        _ => Clock::UTC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::WorkerValues;

    const NOW: u64 = 1_796_040_180_000_000;

    fn point(ago: u64, busy: u32) -> Point {
        let workers = WorkerValues { busy, ..WorkerValues::default() };
        Point { at: Timestamp(NOW - ago * 1_000_000), workers, ..Point::default() }
    }

    #[test]
    fn value_of_a_step_is_its_mean_and_a_missed_step_is_a_gap() {
        let points = [point(600, 5), point(10, 6), point(0, 0)];
        let fine = [point(19, 4), point(12, 2), point(9, 4), point(3, 1), point(0, 1)];
        let samples = Samples {
            range: Range::Quarter,
            now: Timestamp(NOW),
            points: &points,
            fine: &fine,
            scaled: &[],
            started: Timestamp(0),
            alerts: &[],
            max_workers: 6,
        };
        let busy = samples.values(|point| samples.mean(point, |one| Some(f64::from(one.workers.busy))));
        assert_eq!(busy, [Some(5.0), None, Some(3.0), Some(2.0)]);
        let times = samples.times_of_rows();
        assert_eq!(times, [NOW - 600_000_000, NOW - 599_999_999, NOW - 10_000_000, NOW]);
        assert!(samples.marks().is_empty(), "the master started before the range");
    }
}
