//! Text of `queue:status --workers`: each worker with its activity and the reason for its start, and the sizing decisions.

use crate::channel::ChannelStatus;
use crate::cli::table::{self, Column};
use crate::cli::{render, sanitize};
use crate::pool::{SizingChange, WorkerCounts, WorkerStatus};
use crate::why::next_boot;

/// Number of recent sizing decisions in the text; the JSON has all that the master keeps.
const SHOWN_DECISIONS: usize = 5;
/// Reasons of one word for the start of a worker, with their meaning.
const LEGEND: [(&str, &str); 2] = [
    ("min", "one of the fewest workers that the configuration keeps"),
    ("spare", "started ahead of its job, so that the job need not wait for a start"),
];
/// The columns of the table.
const HEADER: [Column; 8] = [
    Column::fixed("pid"),
    Column::fixed("state"),
    Column::fixed("gen"),
    Column::text("job"),
    Column::fixed("age"),
    Column::fixed("done"),
    Column::fixed("memory"),
    Column::remark("why", 20),
];

/// The workers of a channel as text.
pub(super) fn render(report: &ChannelStatus, columns: Option<usize>) -> String {
    let ChannelStatus { workers, pool, .. } = report;
    let mut shown = match pool.target {
        Some(target) => format!("Workers: {}, {target} wanted: {}\n", counts(workers), pool.why),
        None => format!("Workers: {}\n", counts(workers)),
    };
    if !pool.rows.is_empty() {
        shown.push_str(&table::render(&HEADER, pool.rows.iter().map(row), columns));
    }
    let legend: Vec<_> =
        LEGEND.iter().filter(|(word, _)| pool.rows.iter().any(|worker| worker.why == *word)).collect();
    for (word, meaning) in legend {
        shown.push_str(&format!("{word}: {meaning}\n"));
    }
    let all: usize = workers.by_activity().iter().map(|(_, n)| n).sum();
    let more = all.saturating_sub(pool.rows.len());
    if more > 0 {
        shown.push_str(&format!("and {more} more\n"));
    }
    let recycled = &pool.recycled;
    let limits = [
        ("jobs", recycled.jobs),
        ("life", recycled.life),
        ("memory_limit", recycled.memory),
        ("memory_hard_limit", recycled.memory_hard),
    ];
    let replaced: Vec<_> =
        limits.iter().filter(|(_, n)| *n > 0).map(|(limit, n)| format!("{n} by {limit}")).collect();
    if !replaced.is_empty() {
        shown.push_str(&format!("Replaced: {}\n", replaced.join(", ")));
    }
    for scaled in pool.scaled.iter().rev().take(SHOWN_DECISIONS) {
        let SizingChange { ago_ms, from, decision } = scaled;
        shown.push_str(&format!(
            "{} ago: from {from} to {}: {decision}\n",
            render::duration(*ago_ms),
            decision.workers
        ));
    }
    shown
}

/// The line about a failure to start workers; absent while workers start.
pub(super) fn trouble(report: &ChannelStatus) -> Option<String> {
    if let Some(error) = &report.pool.no_room {
        let error = sanitize::line(error);
        return Some(format!("No room for another process; serving with the workers there are: {error}"));
    }
    let error = sanitize::line(report.worker_error.as_deref()?).into_owned();
    if !report.pool.degraded {
        return Some(format!("Workers fail to start: {error}"));
    }
    let next = next_boot(report).map_or(String::new(), |next| format!("; {next}"));
    Some(format!("Degraded: workers fail to start, no jobs are leased: {error}{next}"))
}

/// Counts by activity: "1 booting, 3 busy".
fn counts(workers: &WorkerCounts) -> String {
    let busy = workers.by_activity().into_iter().filter(|(_, n)| *n > 0);
    let mut parts: Vec<_> = busy.map(|(activity, n)| format!("{n} {activity}")).collect();
    match workers.stuck_slots {
        0 => {}
        1 => parts.push("1 stuck slot".to_owned()),
        slots => parts.push(format!("{slots} stuck slots")),
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn row(row: &WorkerStatus) -> Vec<String> {
    let (mut job, mut age) = (String::new(), String::new());
    if let Some(run) = &row.job {
        let progress = run.progress.map_or(String::new(), |percent| format!(", {percent} % done"));
        job = format!("{} {}{progress}", run.id, sanitize::line(&run.name));
        match row.jobs {
            0 | 1 => {}
            jobs => job.push_str(&format!(" and {} more", jobs - 1)),
        }
        if row.stuck > 0 {
            job.push_str(&format!(", {} stuck", row.stuck));
        }
        age = render::duration(run.age_ms);
    }
    let why = match &row.outgoing {
        Some(outgoing) => format!("{}; being replaced: {outgoing}", row.why),
        None => row.why.clone(),
    };
    vec![
        row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        render::word(row.state),
        row.generation.to_string(),
        job,
        age,
        row.done.to_string(),
        row.memory.map_or(String::new(), |bytes| format!("{} MiB", bytes >> 20)),
        why,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::pool::{
        PoolStatus, RecycleCounts, SizingDecision, SizingInput, SizingReason, WorkerActivity, WorkerJob,
    };

    fn report() -> ChannelStatus {
        let busy = WorkerStatus {
            pid: Some(4712),
            state: WorkerActivity::Busy,
            generation: 0,
            job: Some(WorkerJob {
                id: JobId(17),
                name: "mail\x1b[2J".into(),
                age_ms: 1_500,
                progress: Some(40),
            }),
            jobs: 1,
            stuck: 0,
            done: 12,
            memory: Some(30 << 20),
            age_ms: 9_000,
            why: "replaces 4711: memory 120 MiB".into(),
            outgoing: None,
        };
        let booting = WorkerStatus {
            pid: None,
            state: WorkerActivity::Booting,
            job: None,
            done: 0,
            memory: None,
            why: "backlog 9,800, 50 ms a job".into(),
            ..busy.clone()
        };
        let load = SizingInput { waiting: 9_800, job_us: Some(50_000), ..SizingInput::default() };
        let decision = SizingDecision { workers: 50, why: SizingReason::Max, load };
        let pool = PoolStatus {
            rows: vec![busy, booting],
            target: Some(50),
            why: decision.to_string(),
            scaled: vec![SizingChange { ago_ms: 70, from: 5, decision }],
            scaled_up: 1,
            recycled: RecycleCounts { memory: 3, ..RecycleCounts::default() },
            ..PoolStatus::default()
        };
        ChannelStatus {
            workers: WorkerCounts { busy: 1, booting: 2, ..WorkerCounts::default() },
            pool: Box::new(pool),
            ..ChannelStatus::default()
        }
    }

    #[test]
    fn worker_line_shows_activity_and_reason() {
        let shown = render(&report(), None);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "Workers: 2 booting, 1 busy, 50 wanted: max, backlog 9,800, 50 ms a job");
        let cells =
            |line: &str| line.split('│').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join("|");
        assert_eq!(cells(lines[2]), "|pid|state|gen|job|age|done|memory|why|");
        let busy = r"|4712|busy|0|17 mail\u{1b}[2J, 40 % done|1.5 s|12|30 MiB|replaces 4711: memory 120 MiB|";
        assert_eq!(cells(lines[4]), busy);
        assert_eq!(cells(lines[5]), "|-|booting|0|||0||backlog 9,800, 50 ms a job|");
        let rest = [
            "and 1 more",
            "Replaced: 3 by memory_limit",
            "70 ms ago: from 5 to 50: max, backlog 9,800, 50 ms a job",
        ];
        assert_eq!(lines[7..], rest);
    }

    #[test]
    fn reasons_of_one_word_are_explained() {
        let mut report = report();
        report.pool.rows[1].why = "spare".into();
        let shown = render(&report, None);
        assert!(shown.contains("\nspare: started ahead of its job") && !shown.contains("\nmin: "), "{shown}");
    }

    #[test]
    fn trouble_is_shown_on_one_line() {
        let mut report = report();
        assert_eq!(trouble(&report), None);
        report.worker_error = Some("it exited with 7 before it was ready".into());
        assert!(trouble(&report).unwrap().starts_with("Workers fail to start: it exited with 7"));
        (report.pool.degraded, report.pool.next_boot_ms) = (true, Some(3_200));
        for (booting, idle, next) in [
            (0, 0, "; next attempt in 3.2 s"),
            (1, 0, "; a worker is starting"),
            (0, 1, "; one worker is ready and gets jobs after one second"),
        ] {
            report.workers = WorkerCounts { booting, idle, ..WorkerCounts::default() };
            let degraded = trouble(&report).unwrap();
            assert!(
                degraded.starts_with("Degraded: workers fail to start") && degraded.ends_with(next),
                "{degraded}"
            );
        }
    }

    #[test]
    fn lack_of_room_is_shown() {
        let mut report = report();
        report.pool.no_room = Some("could not run \"sh\": no descriptors".into());
        assert!(
            trouble(&report).unwrap().starts_with("No room for another process; serving with the workers")
        );
    }

    #[test]
    fn singular_counts_read_right() {
        let stuck =
            |stuck_slots| counts(&WorkerCounts { retiring: 1, stuck_slots, ..WorkerCounts::default() });
        assert_eq!([1, 2].map(stuck), ["1 retiring, 1 stuck slot", "1 retiring, 2 stuck slots"]);
    }
}
