//! The masters of a channel on all machines, in the status: text and JSON.

use std::time::Duration;

use aint_queue_core::durations::millis;
use serde::Serialize;

use crate::channel::{MasterCondition, RunRates, WorkerSummary};
use crate::cli::known_masters::KnownMaster;
use crate::cli::table::{self, Column};
use crate::cli::{render as format, sanitize, time};
use crate::job::JobId;

/// Longest shown name of a host.
const MAX_HOST_CHARS: usize = 24;

/// The columns of the table, and those for `--workers`.
const HEADER: [Column; 9] = [
    Column::text("host"),
    Column::fixed("pid"),
    Column::fixed("state"),
    Column::fixed("jobs"),
    Column::fixed("seen"),
    Column::fixed("lease"),
    Column::fixed("busy/ready/wanted"),
    Column::fixed("memory"),
    Column::fixed("runs/s"),
];
const USUAL_COLUMNS: usize = 6;

/// The masters as text: nothing when the local master is the only one, which the status describes anyway.
pub(super) fn render(masters: &[KnownMaster], each: bool, columns: Option<usize>) -> String {
    if masters.iter().all(|master| master.is_local) {
        return String::new();
    }
    let shown = if each { HEADER.len() } else { USUAL_COLUMNS };
    let rows = masters.iter().map(|master| row(master).into_iter().take(shown).collect());
    format!("Masters of all machines:\n{}", table::render(&HEADER[..shown], rows, columns))
}

fn row(master: &KnownMaster) -> Vec<String> {
    let here = if master.is_local || master.is_here { " (here)" } else { "" };
    let seen =
        master.age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", format::duration(millis(age))));
    let lease = if master.lease_left.is_some() { "alive" } else { "expired" };
    let host = format!("{}{here}", master.host(MAX_HOST_CHARS));
    let Some(summary) = &master.summary else {
        let unknown = || "-".to_owned();
        let mut row = vec![host, unknown(), "unknown".to_owned(), unknown(), seen, lease.to_owned()];
        row.resize_with(HEADER.len(), unknown);
        return row;
    };
    let WorkerSummary { wanted, serving, busy } = summary.workers;
    let rate = summary.runs.per_second.filter(|rate| (0.0..1e9).contains(rate));
    let state = if summary.single_job { "queue:run".to_owned() } else { format::word(summary.state) };
    vec![
        host,
        summary.master.pid.to_string(),
        state,
        summary.running.to_string(),
        seen,
        lease.to_owned(),
        format!("{busy}/{serving}/{wanted}"),
        format!("{} MiB", summary.memory >> 20),
        rate.map_or_else(|| "-".to_owned(), super::recent::rate),
    ]
}

/// A master as JSON. A master whose summary is unknown has the first fields only.
#[derive(Serialize)]
pub(super) struct MasterJson<'a> {
    /// Whether its lease is ahead of the store's clock.
    alive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds_left: Option<f64>,
    /// Whether it is the one that answered.
    local: bool,
    /// Whether it runs on this machine.
    here: bool,
    /// The age of its summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_seconds: Option<f64>,
    #[serde(flatten)]
    summary: Option<SummaryJson<'a>>,
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    host: &'a str,
    pid: i32,
    version: &'a str,
    started_at: Option<String>,
    mode: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    single_job: bool,
    state: MasterCondition,
    workers: WorkerSummary,
    memory: u64,
    runs: RunRates,
    running: usize,
    /// With `--workers`: the longest running jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<JobJson<'a>>>,
}

#[derive(Serialize)]
struct JobJson<'a> {
    id: JobId,
    job: &'a str,
    attempt: Option<u32>,
    for_ms: u64,
    worker_pid: Option<i32>,
}

impl<'a> MasterJson<'a> {
    pub(super) fn of(master: &'a KnownMaster, each: bool) -> Self {
        let seconds = |time: Duration| time.as_secs_f64();
        let summary = master.summary.as_ref().map(|summary| SummaryJson {
            host: &summary.master.host,
            pid: summary.master.pid,
            version: &summary.master.program,
            started_at: time::rfc3339(summary.master.started_at),
            mode: &summary.mode,
            single_job: summary.single_job,
            state: summary.state,
            workers: summary.workers,
            memory: summary.memory,
            runs: summary.runs,
            running: summary.running,
            jobs: each.then(|| {
                let job = |job: &'a crate::channel::SummaryJob| JobJson {
                    id: job.id,
                    job: &job.job,
                    attempt: job.attempt,
                    for_ms: millis(master.running_for(job)),
                    worker_pid: job.worker,
                };
                summary.jobs.iter().map(job).collect()
            }),
        });
        Self {
            alive: master.lease_left.is_some(),
            lease_seconds_left: master.lease_left.map(seconds),
            local: master.is_local,
            here: master.is_here,
            seen_seconds: master.age.map(seconds),
            summary,
        }
    }
}

/// The line about masters that the store does not tell.
pub(super) fn unknown(error: &str) -> String {
    format!("Masters of other machines: unknown: {}", sanitize::line(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::known_masters::known_masters;
    use crate::cli::known_masters::tests::{local, text, view};

    fn masters() -> Vec<KnownMaster> {
        let views = vec![
            view("o1", 20, Some(&text("web-1", 4711))),
            view("o2", 9, Some(&text(&format!("{}\u{1b}[2J.example.com", "web-2".repeat(9)), 4_194_304))),
            view("o3", 1, None),
            view("o4", 0, Some(&text("web-3", 12))),
        ];
        known_masters(views, &local("o1", 4711))
    }

    #[test]
    fn masters_of_all_machines_fit_eighty_columns() {
        let shown = render(&masters(), false, Some(80));
        insta::assert_snapshot!(shown, @r"
        Masters of all machines:
        ┌──────────────────────────┬─────────┬─────────┬──────┬───────────┬─────────┐
        │ host                     │ pid     │ state   │ jobs │ seen      │ lease   │
        ├──────────────────────────┼─────────┼─────────┼──────┼───────────┼─────────┤
        │ web-1 (here)             │ 4711    │ quiet   │ 22   │ 2.5 s ago │ alive   │
        │ web-2web-2web-2web-2web… │ 4194304 │ quiet   │ 22   │ 2.5 s ago │ alive   │
        │ (here)                   │         │         │      │           │         │
        │ unknown                  │ -       │ unknown │ -    │ never     │ alive   │
        │ web-3 (here)             │ 12      │ quiet   │ 22   │ 2.5 s ago │ expired │
        └──────────────────────────┴─────────┴─────────┴──────┴───────────┴─────────┘
        ");
        for width in [60, 80, 100] {
            let shown = render(&masters(), true, Some(width));
            assert!(shown.lines().all(|line| console::measure_text_width(line) <= width), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
        }
    }

    #[test]
    fn only_local_master_is_not_listed() {
        let views = vec![view("o1", 20, Some(&text("web-1", 4711)))];
        assert_eq!(render(&known_masters(views.clone(), &local("o1", 4711)), true, None), "");
        assert_ne!(render(&known_masters(views, &local("o9", 1)), true, None), "");
    }

    #[test]
    fn unknown_summary_has_no_fields_of_one() {
        let json: Vec<_> =
            masters().iter().map(|master| serde_json::json!(MasterJson::of(master, true))).collect();
        assert_eq!((json[0]["local"].as_bool(), json[0]["host"].as_str()), (Some(true), Some("web-1")));
        assert_eq!(json[0]["jobs"][0]["for_ms"], 62_500);
        assert_eq!(json[0]["state"], "quiet");
        let unknown = serde_json::json!({
            "alive": true, "lease_seconds_left": 1.0, "local": false, "here": false,
        });
        assert_eq!(json[2], unknown);
        assert_eq!(json[3]["alive"], false);
        assert!(serde_json::json!(MasterJson::of(&masters()[0], false)).get("jobs").is_none());
    }
}
