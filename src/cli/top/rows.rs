//! The tables of `queue:top`: columns, cells, order, filter. Every text from outside becomes a cell here, sanitised.

use std::cmp::Ordering;

use super::reading::{ChannelReading, Chosen, Pane, Reading, StateWord};
use crate::cli::status::recent::{rate, seconds};
use crate::cli::{render, sanitize};
use crate::config::alerts::Severity;
use crate::job::{JobId, Timestamp};
use crate::pool::{WorkerActivity, grouped};

/// The heights of a small chart.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a small chart: the minutes of the last half hour.
const SPARK_COLUMNS: usize = 30;
/// Runs from which on a share of failures says something.
const MIN_RUNS: u64 = 20;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Columns of the terminal; 0 for a share of the rest.
    pub(super) width: u16,
    pub(super) is_number: bool,
    /// Width of the table from which on the column is shown.
    pub(super) from: u16,
}

const fn text(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, is_number: false, from }
}

const fn number(title: &'static str, width: u16, from: u16) -> Column {
    Column { title, width, is_number: true, from }
}

/// The meaning of a text, which its colour adds to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The value that orders rows; cells without one are ordered by their text.
    value: Option<f64>,
    pub(super) tone: Tone,
}

impl Cell {
    fn text(text: &str) -> Self {
        Self { text: sanitize::line(text).into_owned(), ..Self::default() }
    }

    /// The head of a column.
    pub(super) fn head(title: &str) -> Self {
        Self { text: title.to_owned(), tone: Tone::Faint, ..Self::default() }
    }

    fn number(value: u64) -> Self {
        Self::value(grouped(value), value as f64)
    }

    fn value(text: String, value: f64) -> Self {
        Self { text, value: Some(value), tone: Tone::Plain }
    }

    fn millis(ms: u64) -> Self {
        Self::value(render::duration(ms), ms as f64)
    }

    fn none() -> Self {
        Self { text: "–".to_owned(), value: Some(-1.0), tone: Tone::Faint }
    }

    fn or_none<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or_else(Self::none, cell)
    }

    fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.value, other.value) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// A row of a table, and the job and the process that it is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) job: Option<JobId>,
    pub(super) pid: Option<i32>,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    fn of(job: Option<JobId>, pid: Option<i32>, cells: Vec<Cell>) -> Self {
        Self { job, pid, cells }
    }

    fn has(&self, text: &str) -> bool {
        self.cells.iter().any(|cell| cell.text.to_lowercase().contains(text))
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// Keeps the rows with a text; with `!` before it, the others.
    pub(super) fn filter(&mut self, filter: &str) {
        let (is_inverted, text) = match filter.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, filter),
        };
        let text = text.to_lowercase();
        if !text.is_empty() {
            self.rows.retain(|row| row.has(&text) != is_inverted);
        }
    }

    /// Orders the rows by a column.
    pub(super) fn sort(&mut self, column: usize, is_reverse: bool) {
        let none = Cell::default();
        self.rows.sort_by(|one, other| {
            let [one, other] = [one, other].map(|row| row.cells.get(column).unwrap_or(&none));
            if is_reverse { other.order(one) } else { one.order(other) }
        });
    }
}

/// The table of all channels.
pub(super) fn channels(channels: &[&ChannelReading]) -> Table {
    let columns = vec![
        text("CHANNEL", 14, 0),
        text("STATE", 13, 0),
        number("WAITING", 9, 0),
        number("FRONT", 8, 60),
        number("RUN", 6, 0),
        number("FAILED", 8, 0),
        number("IN/S", 7, 84),
        number("OUT/S", 7, 76),
        number("BUSY", 8, 100),
        number("P95", 8, 110),
        number("FAIL", 6, 120),
        text("LAST HALF HOUR", 0, 130),
    ];
    Table { columns, rows: channels.iter().map(|channel| channel_row(channel)).collect() }
}

fn channel_row(channel: &ChannelReading) -> Row {
    let counts = channel.counts.as_ref();
    let count =
        |of: fn(&super::reading::Counts) -> u64| Cell::or_none(counts, |counts| Cell::number(of(counts)));
    let recent = &channel.recent;
    let per_second = |rate_now: Option<f64>| Cell::or_none(rate_now, |now| Cell::value(rate(now), now));
    let failed = count(|counts| counts.failed);
    let failed =
        if counts.is_some_and(|counts| counts.failed > 0) { failed.toned(Tone::Warning) } else { failed };
    let cells = vec![
        Cell::text(&channel.name),
        Cell::value(channel.state.shown().to_owned(), f64::from(channel.state as u8))
            .toned(tone(channel.state)),
        count(|counts| counts.waiting),
        Cell::or_none(channel.front_waits_seconds, |waits| {
            Cell::value(render::duration((waits * 1e3) as u64), waits)
        }),
        count(|counts| counts.reserved),
        failed,
        per_second(recent.arrived_per_second),
        per_second(recent.settled_per_second),
        Cell::or_none(channel.workers, |workers| {
            Cell::value(format!("{}/{}", workers.busy, workers.serving), workers.busy as f64)
        }),
        Cell::or_none(recent.run_seconds, |run| Cell::value(seconds(run.p95), f64::from(run.p95))),
        Cell::or_none(recent.failure_rate.filter(|_| recent.runs >= MIN_RUNS), |share| {
            Cell::value(format!("{} %", rate(share * 100.0)), share)
        }),
        Cell::text(&spark(&channel.waiting_hour)),
    ];
    Row::of(None, None, cells)
}

/// The colour of a state.
pub(super) fn tone(state: StateWord) -> Tone {
    match state {
        StateWord::StoreDown | StateWord::Stuck | StateWord::Degraded => Tone::Bad,
        StateWord::NoMaster | StateWord::Stopping | StateWord::Paused | StateWord::Quiet => Tone::Warning,
        StateWord::Works => Tone::Good,
        StateWord::Idle | StateWord::Unknown => Tone::Plain,
    }
}

/// A chart of one line: a bar per value, a gap where there is none.
fn spark(values: &[Option<u64>]) -> String {
    let values = &values[values.len().saturating_sub(SPARK_COLUMNS)..];
    let most = values.iter().flatten().copied().max().unwrap_or(0).max(1);
    let bar = |value: &Option<u64>| match value {
        None => ' ',
        Some(value) => BARS[usize::try_from(value * 7 / most).unwrap_or(7).min(7)],
    };
    values.iter().map(bar).collect()
}

/// The table of a pane.
pub(super) fn pane(pane: Pane, reading: &Reading) -> Table {
    let nothing = Chosen::default();
    let chosen = reading.chosen.as_ref().unwrap_or(&nothing);
    match pane {
        Pane::Workers => workers(chosen),
        Pane::Running => running(chosen),
        Pane::Failed => failed(chosen, reading.at),
        Pane::Waiting | Pane::Delayed => at_rest(pane, chosen, reading.at),
        Pane::Scaling => scaling(chosen, reading.at),
        Pane::Alerts => alerts(reading),
        Pane::Done => done(chosen, reading.at),
    }
}

fn mebibytes(bytes: Option<u64>) -> Cell {
    Cell::or_none(bytes, |bytes| Cell::value(format!("{} MiB", grouped(bytes >> 20)), bytes as f64))
}

fn ago(at: Timestamp, now: Timestamp) -> Cell {
    let passed = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    Cell::value(format!("{} ago", render::duration(passed)), passed as f64)
}

/// The ends of an id; the middle has the hours and minutes of the push.
fn short(id: JobId) -> String {
    let id = id.to_string();
    match id.len() {
        ..=8 => id,
        length => format!("{}…{}", &id[..4], &id[length - 3..]),
    }
}

fn workers(chosen: &Chosen) -> Table {
    let columns = vec![
        number("PID", 8, 0),
        text("STATE", 9, 0),
        text("JOB", 0, 0),
        number("FOR", 8, 0),
        number("OF", 8, 76),
        number("PROG", 5, 90),
        number("ATT", 4, 0),
        number("RSS", 10, 60),
        number("DONE", 8, 84),
        number("AGE", 8, 96),
        text("WHY", 0, 110),
    ];
    let rows = chosen.channel.status.iter().flat_map(|status| &status.pool.rows).map(|worker| {
        let run = chosen.runs.iter().find(|run| run.run.pid.is_some() && run.run.pid == worker.pid);
        let run = run.filter(|run| worker.job.as_ref().is_some_and(|job| job.id == run.id));
        let job = worker.job.as_ref();
        let state = match worker.state {
            WorkerActivity::Busy => Tone::Good,
            WorkerActivity::Retiring | WorkerActivity::Leaving => Tone::Warning,
            _ => Tone::Plain,
        };
        let progress = job.and_then(|job| job.progress);
        let why = match &worker.outgoing {
            Some(outgoing) => format!("{}; being replaced: {outgoing}", worker.why),
            None => worker.why.clone(),
        };
        let cells = vec![
            Cell::or_none(worker.pid, |pid| Cell::value(pid.to_string(), f64::from(pid))),
            Cell::text(&render::word(worker.state)).toned(state),
            Cell::or_none(job, |job| Cell::text(&format!("{} {}", short(job.id), job.name))),
            Cell::or_none(job, |job| Cell::millis(job.age_ms)),
            Cell::or_none(run.and_then(|run| run.run.limit_ms), Cell::millis),
            Cell::or_none(progress, |percent| Cell::value(format!("{percent} %"), percent.into())),
            Cell::or_none(run.and_then(|run| run.run.attempt), |n| Cell::number(n.into())),
            mebibytes(worker.memory),
            Cell::number(worker.done),
            Cell::millis(worker.age_ms),
            Cell::text(&why),
        ];
        Row::of(job.map(|job| job.id), worker.pid, cells)
    });
    Table { columns, rows: rows.collect() }
}

fn running(chosen: &Chosen) -> Table {
    let columns = vec![
        text("ID", 17, 0),
        text("JOB", 0, 0),
        number("FOR", 8, 0),
        number("OF", 8, 70),
        number("PROG", 5, 76),
        number("ATT", 4, 0),
        number("PID", 8, 64),
        number("RSS", 10, 84),
        text("STATE", 10, 96),
    ];
    let rows = chosen.runs.iter().map(|running| {
        let run = &running.run;
        let (word, tone) = match (run.booting, run.ending, run.stuck) {
            (true, ..) => ("starts", Tone::Plain),
            (_, Some(_), true) => ("stuck", Tone::Bad),
            (_, Some(_), false) => ("ending", Tone::Warning),
            _ => ("runs", Tone::Good),
        };
        let cells = vec![
            Cell::text(&running.id.to_string()),
            Cell::text(&running.job),
            Cell::millis(run.ms),
            Cell::or_none(run.limit_ms, Cell::millis),
            Cell::or_none(run.progress, |percent| Cell::value(format!("{percent} %"), percent.into())),
            Cell::or_none(run.attempt, |n| Cell::number(n.into())),
            Cell::or_none(run.pid, |pid| Cell::value(pid.to_string(), f64::from(pid))),
            mebibytes(running.memory),
            Cell::text(word).toned(tone),
        ];
        Row::of(Some(running.id), run.pid, cells)
    });
    Table { columns, rows: rows.collect() }
}

fn failed(chosen: &Chosen, now: Timestamp) -> Table {
    let columns = vec![
        text("ID", 17, 0),
        text("JOB", 16, 0),
        text("REASON", 10, 70),
        number("ATT", 4, 0),
        number("FAILED", 12, 60),
        text("ERROR", 0, 0),
    ];
    let rows = chosen.jobs.jobs.iter().map(|job| {
        let cells = vec![
            Cell::text(&job.id.to_string()),
            Cell::text(&job.job),
            Cell::text(job.reason),
            Cell::number(job.attempts.into()),
            ago(job.at, now),
            Cell::text(&job.error),
        ];
        Row::of(Some(job.id), None, cells)
    });
    Table { columns, rows: rows.collect() }
}

fn at_rest(pane: Pane, chosen: &Chosen, now: Timestamp) -> Table {
    let time = if pane == Pane::Delayed { "DUE" } else { "PUSHED" };
    let columns = vec![
        text("ID", 17, 0),
        text("JOB", 0, 0),
        text("PRIORITY", 9, 70),
        number("ATT", 4, 0),
        number(time, 14, 0),
    ];
    let rows = chosen.jobs.jobs.iter().map(|job| {
        let left = u64::try_from(job.at.since(now).as_millis()).unwrap_or(u64::MAX);
        let time = match pane {
            Pane::Delayed => Cell::value(format!("in {}", render::duration(left)), left as f64),
            _ => ago(job.at, now),
        };
        let cells = vec![
            Cell::text(&job.id.to_string()),
            Cell::text(&job.job),
            Cell::text(job.priority),
            Cell::number(job.attempts.into()),
            time,
        ];
        Row::of(Some(job.id), None, cells)
    });
    Table { columns, rows: rows.collect() }
}

fn scaling(chosen: &Chosen, now: Timestamp) -> Table {
    let columns = vec![number("WHEN", 12, 0), number("FROM", 5, 0), number("TO", 5, 0), text("WHY", 0, 0)];
    let rows = chosen.scaled.iter().rev().map(|scaled| {
        let cells = vec![
            ago(scaled.at, now),
            Cell::number(scaled.from as u64),
            Cell::number(scaled.decision.workers as u64),
            Cell::text(&scaled.decision.to_string()),
        ];
        Row::of(None, None, cells)
    });
    Table { columns, rows: rows.collect() }
}

fn alerts(reading: &Reading) -> Table {
    let columns =
        vec![text("SEVERITY", 10, 0), text("CHANNEL", 16, 0), text("RULE", 0, 0), number("SINCE", 12, 0)];
    let of = |channel: &ChannelReading| {
        let row = |alert: &super::reading::FiringAlert| {
            let tone = if alert.severity == Severity::Info { Tone::Plain } else { Tone::Bad };
            let cells = vec![
                Cell::text(&render::word(alert.severity)).toned(tone),
                Cell::text(&channel.name),
                Cell::text(&alert.rule),
                ago(alert.since, reading.at),
            ];
            Row::of(None, None, cells)
        };
        channel.alerts.iter().map(row).collect::<Vec<_>>()
    };
    Table { columns, rows: reading.channels.iter().flat_map(of).collect() }
}

fn done(chosen: &Chosen, now: Timestamp) -> Table {
    let columns = vec![
        text("ID", 17, 0),
        text("JOB", 0, 0),
        number("ATT", 4, 0),
        number("TOOK", 8, 0),
        number("WAITED", 8, 76),
        number("RSS", 10, 66),
        number("DONE", 12, 0),
    ];
    let rows = chosen.jobs.done.iter().map(|run| {
        let cells = vec![
            Cell::text(&run.id.to_string()),
            Cell::text(&run.job),
            Cell::number(run.attempt.into()),
            Cell::millis(run.took_ms),
            Cell::or_none(run.wait_ms, Cell::millis),
            mebibytes(run.rss_peak),
            ago(run.at, now),
        ];
        Row::of(Some(run.id), run.pid, cells)
    });
    Table { columns, rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filtered_and_ordered_by_value() {
        let row = |name: &str, n: u64| Row::of(None, None, vec![Cell::text(name), Cell::number(n)]);
        let table =
            || Table { columns: Vec::new(), rows: vec![row("send", 9), row("Report", 1_000), row("r2", 20)] };
        let names =
            |table: &Table| table.rows.iter().map(|row| row.cells[0].text.clone()).collect::<Vec<_>>();
        let mut sorted = table();
        sorted.sort(1, true);
        assert_eq!(names(&sorted), ["Report", "r2", "send"]);
        sorted.sort(0, false);
        assert_eq!(names(&sorted), ["Report", "r2", "send"]);
        for (filter, found) in
            [("REP", vec!["Report"]), ("!rep", vec!["send", "r2"]), ("", vec!["send", "Report", "r2"])]
        {
            let mut filtered = table();
            filtered.filter(filter);
            assert_eq!(names(&filtered), found, "{filter}");
        }
    }

    #[test]
    fn spark_has_gaps_and_scales_to_its_highest_value() {
        assert_eq!(spark(&[Some(0), None, Some(7), Some(14)]), "▁ ▄█");
        assert_eq!(spark(&[]), "");
        assert_eq!(spark(&[Some(5); 90]).chars().count(), SPARK_COLUMNS);
    }
}
