//! `queue:history`: the samples that a master has of a channel, as small charts.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::status::recent::{rate, seconds};
use super::{CommandContext, Failure, control, sanitize, time};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::job::Timestamp;
use crate::job_json::time::parse_duration;
use crate::snapshot::{Point, ScaledAt, Step};

/// Columns of a chart in a pipe, and the most on a terminal.
const MOST_COLUMNS: usize = 60;
/// Columns beside a chart.
const BESIDE: usize = 34;
/// The heights of a chart.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Most changes of the number of workers that are listed.
const MAX_LISTED_CHANGES: usize = 5;

/// Draw backlog, rates, waits and workers over time
///
/// The master of this machine samples every second while a command looks, every five seconds while Prometheus scrapes it, and else
/// at job_snapshot.interval. Time without a sample is a gap.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Time to look back, up to 24h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = period)]
    last: Duration,
}

/// Parses the time to look back.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let (shortest, longest) = (Duration::from_secs(10), Duration::from_secs(24 * 3600));
    match parse_duration(text)? {
        short if short < shortest => Err("at least 10s are needed".to_owned()),
        long if long > longest => Err("a master remembers 24 hours".to_owned()),
        period => Ok(period),
    }
}

/// The history of a channel as JSON.
#[derive(Serialize)]
struct HistoryJson<'a> {
    channel: &'a str,
    step_seconds: u64,
    points: Vec<PointJson>,
    scaled: Vec<ScaledJson>,
}

/// A point with its time as text.
#[derive(Serialize)]
struct PointJson {
    time: Option<String>,
    #[serde(flatten)]
    point: Point,
}

/// A change of the number of workers with its time as text.
#[derive(Serialize)]
struct ScaledJson {
    time: Option<String>,
    from: usize,
    to: usize,
    why: String,
}

impl History {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        let doing = format!("read the history of channel \"{}\"", channel.name);
        let step = step_for(self.last);
        let request = ControlRequest::History { step, seconds: self.last.as_secs() };
        let (points, scaled) = control::ask(
            channel,
            &doing,
            request,
            |_| {},
            |response| match response {
                ControlResponse::History { points, scaled } => Some((points, scaled)),
                _ => None,
            },
        )?;
        if context.json() {
            return context.print_json(&json(channel, step, &points, &scaled));
        }
        let columns = context.columns().map_or(MOST_COLUMNS, |columns| columns.saturating_sub(BESIDE));
        let chart = Chart::new(std::time::SystemTime::now().into(), self.last, columns);
        context.print(&render(&channel.name, &points, &scaled, &chart))
    }
}

/// The shortest step that reaches back so far.
pub(super) fn step_for(period: Duration) -> Step {
    let reaches = |step: &Step| step.seconds() * step.points() as u64 >= period.as_secs();
    Step::ALL.into_iter().find(reaches).unwrap_or(Step::Minute)
}

fn json<'a>(channel: &'a Channel, step: Step, points: &[Point], scaled: &[ScaledAt]) -> HistoryJson<'a> {
    let point = |point: &Point| PointJson { time: time::rfc3339(point.at), point: *point };
    let change = |change: &ScaledAt| ScaledJson {
        time: time::rfc3339(change.at),
        from: change.from,
        to: change.decision.workers,
        why: change.decision.to_string(),
    };
    HistoryJson {
        channel: &channel.name,
        step_seconds: step.seconds(),
        points: points.iter().map(point).collect(),
        scaled: scaled.iter().map(change).collect(),
    }
}

/// The time axis of charts.
struct Chart {
    begin: Timestamp,
    column: Duration,
    columns: usize,
}

impl Chart {
    fn new(now: Timestamp, period: Duration, columns: usize) -> Self {
        let columns = columns.clamp(10, MOST_COLUMNS);
        let begin = Timestamp(now.0.saturating_sub(u64::try_from(period.as_micros()).unwrap_or(u64::MAX)));
        // At least a second, because points are a second apart.
        let column = (period / u32::try_from(columns).expect("at most 60")).max(Duration::from_secs(1));
        Self { begin, column, columns }
    }

    /// The largest value of each column; `None` where there was no sample.
    fn columns(&self, points: &[Point], value: impl Fn(&Point) -> Option<f64>) -> Vec<Option<f64>> {
        let mut columns: Vec<Option<f64>> = vec![None; self.columns];
        for point in points {
            let Some(value) = value(point) else { continue };
            let column = point.at.since(self.begin).as_micros() / self.column.as_micros().max(1);
            let column = usize::try_from(column).unwrap_or(usize::MAX).min(self.columns - 1);
            columns[column] = Some(columns[column].map_or(value, |known| known.max(value)));
        }
        columns
    }

    /// A line of bars, the largest value at full height.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height from 0 to 7")]
    fn bars(columns: &[Option<f64>]) -> String {
        let most = columns.iter().flatten().copied().fold(0.0, f64::max);
        let height = |value: f64| if most > 0.0 { (value / most * 7.0).ceil() as usize } else { 0 };
        columns.iter().map(|value| value.map_or(' ', |value| BARS[height(value.max(0.0)).min(7)])).collect()
    }
}

/// A value of a history: title, value of a point, and text of a value.
type Row = (&'static str, fn(&Point) -> Option<f64>, fn(f64) -> String);

#[expect(clippy::cast_precision_loss, reason = "heights of bars")]
const ROWS: [Row; 12] = [
    ("waiting", |point| point.store.map(|store| store.waiting as f64), whole),
    ("delayed", |point| point.store.map(|store| store.delayed as f64), whole),
    ("failed", |point| point.store.map(|store| store.failed as f64), whole),
    ("front waits", |point| point.store.map(|store| f64::from(store.front_waiting.unwrap_or(0.0))), time_of),
    ("pushed/s", |point| point.flow.and_then(|flow| per_second(flow.arrived, flow.seconds)), rate),
    ("settled/s", |point| point.flow.and_then(|flow| per_second(flow.settled, flow.seconds)), rate),
    ("wait, 95 %", |point| point.wait.map(|wait| f64::from(wait.p95)), time_of),
    ("run, 95 %", |point| point.run.map(|run| f64::from(run.p95)), time_of),
    (
        "runs failed",
        |point| (point.runs > 0).then(|| f64::from(point.failed_runs) / f64::from(point.runs)),
        share,
    ),
    ("workers", |point| Some(f64::from(point.workers.serving)), whole),
    ("busy", |point| Some(f64::from(point.workers.busy)), whole),
    ("memory", |point| Some(point.memory as f64), mebibytes),
];

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(jobs: u64, seconds: f32) -> Option<f64> {
    (seconds > 0.0).then(|| jobs as f64 / f64::from(seconds))
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn share(value: f64) -> String {
    format!("{} %", rate(value * 100.0))
}

fn mebibytes(value: f64) -> String {
    format!("{:.0} MiB", value / f64::from(1 << 20))
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
fn time_of(value: f64) -> String {
    if value == 0.0 { "0 s".to_owned() } else { seconds(value as f32) }
}

fn render(channel: &str, points: &[Point], scaled: &[ScaledAt], chart: &Chart) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return format!(
            "No sample of channel \"{channel}\" in this time: the master samples it at job_snapshot.interval.\n"
        );
    };
    let mut shown = format!(
        "Channel \"{channel}\" from {} to {}; a column is {}.\n",
        time::local(first.at),
        time::local(last.at),
        time_of(chart.column.as_secs_f64())
    );
    let width = chart.columns;
    shown.push_str(&format!("{:<11}  {:<width$}  {:>8}  {:>8}\n", "", "", "last", "most"));
    for (title, value, text) in ROWS {
        let columns = chart.columns(points, value);
        let most = columns.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        // A value that was always zero takes no line, except the backlog: users look for its zero.
        if !(most > 0.0 || (most == 0.0 && title == "waiting")) {
            continue;
        }
        let last = points.iter().rev().find_map(value).map_or_else(String::new, text);
        shown.push_str(&format!("{title:<11}  {}  {last:>8}  {:>8}\n", Chart::bars(&columns), text(most)));
    }
    for change in scaled.iter().rev().take(MAX_LISTED_CHANGES).rev() {
        let decision = sanitize::line(&change.decision.to_string()).into_owned();
        shown.push_str(&format!(
            "{}: from {} to {} workers: {decision}\n",
            time::local(change.at),
            change.from,
            change.decision.workers
        ));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Percentiles;
    use crate::snapshot::{Flow, StoreValues, WorkerValues};

    const START: u64 = 1_796_029_200_000_000;

    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    fn point(second: u64) -> Point {
        let took = second as f32 / 1000.0;
        Point {
            at: Timestamp(START + second * 1_000_000),
            seconds: 1.0,
            store: Some(StoreValues { waiting: second * 10, ..StoreValues::default() }),
            flow: Some(Flow { arrived: 41, settled: 38, seconds: 1.0 }),
            runs: 40,
            failed_runs: u32::from(second == 50),
            wait: None,
            run: Some(Percentiles { p50: took, p95: took, p99: took, max: took }),
            workers: WorkerValues { wanted: 3, serving: 3, busy: second as u32 % 3 },
            memory: 60 << 20,
            store_calls: None,
        }
    }

    #[test]
    fn charts_have_gaps_and_fit_a_terminal() {
        let points: Vec<_> = (0..60).filter(|second| !(20..30).contains(second)).map(point).collect();
        let chart = Chart::new(Timestamp(START + 60_000_000), Duration::from_secs(60), 80 - BESIDE);
        let shown = render("mail", &points, &[], &chart);
        let lines: Vec<_> = shown.lines().skip(2).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        waiting      ▂▂▂▂▂▂▃▃▃▃▃▃▃▄▄        ▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇▇███████       590       590
        pushed/s     ███████████████        ███████████████████████      41.0      41.0
        settled/s    ███████████████        ███████████████████████      38.0      38.0
        run, 95 %    ▂▂▂▂▂▂▃▃▃▃▃▃▃▄▄        ▅▅▅▆▆▆▆▆▆▇▇▇▇▇▇▇███████     59 ms     59 ms
        runs failed  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁        ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█▁▁▁▁▁▁▁     0.0 %     2.5 %
        workers      ███████████████        ███████████████████████         3         3
        busy         ▅█▁█▁▅█▅█▅█▁▅█▅        ▅█▁█▁▅█▅█▅█▁▅█▅█▅█▁█▁▅█         2         2
        memory       ███████████████        ███████████████████████    60 MiB    60 MiB
        ");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(render("mail", &[], &[], &chart).starts_with("No sample of channel \"mail\""));
    }

    #[test]
    fn step_reaches_back_far_enough() {
        let step = |minutes: u64| step_for(Duration::from_secs(60 * minutes));
        assert_eq!(
            [15, 16, 360, 361, 1440].map(step),
            [Step::Second, Step::TenSeconds, Step::TenSeconds, Step::Minute, Step::Minute,]
        );
        assert!(period("25h").is_err() && period("1s").is_err() && period("24h").is_ok());
    }
}
