//! `queue:running`: the running jobs of all channels of this machine, longest first, with their processes, and the longest of
//! masters on other machines.

use std::collections::HashMap;

use aint_queue_core::durations::millis;
use clap::Args;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::control::{self, MasterState};
use super::known_masters::{KnownMaster, LocalMaster, masters_of};
use super::{CommandContext, Failure, render, sanitize};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::guardian::process_list::{ProcessRow, tree};
use crate::job::JobId;
use crate::pool::{CancelReason, RunStatus, RunningJob};

/// Longest shown name of a job on a terminal.
const MAX_NAME_CHARS: usize = 20;
/// Longest shown name of a channel on a terminal.
const MAX_CHANNEL_CHARS: usize = 12;
/// Longest shown name of a host.
const MAX_HOST_CHARS: usize = 24;
/// Most steps by which a process is indented.
const MAX_TREE_INDENT: usize = 8;
/// Columns of a line about a process.
const TREE_COLUMNS: usize = 78;
/// Most processes of one run that `--tree` shows.
const MAX_TREE_ROWS: usize = 500;

/// List what runs now on all machines, longest first
///
/// Each master publishes its 20 longest running jobs in the store, every 10 seconds or less. Jobs of masters on other machines, and
/// of others on this one, are from there and name their master.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// The processes of each run on this machine: pid, state, memory, processor time, age, command
    #[arg(long)]
    tree: bool,
}

/// A running job of a channel.
struct Row<'a> {
    channel: &'a Channel,
    running: RunningJob,
    /// The processes of its worker, if asked for.
    processes: Vec<ProcessRow>,
    /// The master, if it is not the one that answered.
    elsewhere: Option<Elsewhere>,
}

/// The master of a job in a published summary.
#[derive(Clone, Debug)]
struct Elsewhere {
    host: String,
    pid: i32,
    /// The age of the summary.
    seen_ms: u64,
    is_alive: bool,
}

impl Running {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = context.channels(!context.names_channel())?;
        let (mut rows, mut failures, mut masters, mut unlisted) = (Vec::new(), Vec::new(), 0, Vec::new());
        for channel in channels {
            let master = control::query(
                channel,
                ControlRequest::Runs,
                |_| {},
                |response| match response {
                    ControlResponse::Runs { runs, .. } => Some(runs),
                    _ => None,
                },
            );
            let doing = || format!("list the running jobs of channel \"{}\"", channel.name);
            let has_answered = master.answer().is_some();
            match master {
                MasterState::Responding { answer, .. } => {
                    masters += 1;
                    rows.extend(answer.into_iter().map(|running| Row {
                        channel,
                        running,
                        processes: Vec::new(),
                        elsewhere: None,
                    }));
                }
                MasterState::NotResponding { error, .. } => failures.push(control::failure(&doing(), error)),
                MasterState::Hidden(denied) => failures.push(control::hidden(&doing(), denied)),
                MasterState::Elsewhere(other) => failures.push(other.failure(doing())),
                MasterState::NotRunning => {}
            }
            match masters_of(context, channel, &LocalMaster::of(channel, has_answered)) {
                Ok(others) => {
                    for master in others.iter().filter(|master| !master.is_local) {
                        masters += usize::from(master.lease_left.is_some());
                        unlisted.extend(add_jobs(&mut rows, channel, master));
                    }
                }
                // The answer of the master on this machine is worth showing without the others.
                Err(failure) if has_answered => context.warn(&failure.to_string()),
                Err(failure) => failures.push(failure),
            }
        }
        if masters == 0 && failures.is_empty() {
            let doing = "list the running jobs";
            let named = context.names_channel();
            return Err(if named { control::not_running(doing) } else { control::no_master(doing) });
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.running.run.ms));
        if self.tree {
            let mut seen: HashMap<i32, Vec<ProcessRow>> = HashMap::new();
            for row in &mut rows {
                let Some(pid) = row.running.run.pid.filter(|_| row.elsewhere.is_none()) else { continue };
                let processes = seen.entry(pid).or_insert_with(|| tree(pid, MAX_TREE_ROWS));
                row.processes = processes.clone();
            }
        }
        let mut text = match rows.is_empty() {
            // A master that did not tell its jobs may run some.
            true if !failures.is_empty() => String::new(),
            true => "No job is running on this machine.\n".to_owned(),
            false => text(&rows, context.columns().is_some()),
        };
        unlisted.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        let json: Vec<_> = rows.iter().map(|row| to_json(row, self.tree)).collect();
        context.show(&json, &text)?;
        context.finish(failures)
    }
}

/// Adds the jobs in the summary of a master. A job that is listed already has moved to this master or from it. Returns a line about
/// running jobs that the summary does not name.
fn add_jobs<'a>(rows: &mut Vec<Row<'a>>, channel: &'a Channel, master: &KnownMaster) -> Option<String> {
    let summary = master.summary.as_ref()?;
    let elsewhere = Elsewhere {
        host: summary.master.host.clone(),
        pid: summary.master.pid,
        seen_ms: millis(master.age.unwrap_or_default()),
        is_alive: master.lease_left.is_some(),
    };
    for job in &summary.jobs {
        if rows.iter().any(|row| row.channel.name == channel.name && row.running.id == job.id) {
            continue;
        }
        let run = RunStatus {
            pid: job.worker,
            booting: false,
            ms: millis(master.running_for(job)),
            limit_ms: None,
            progress: None,
            ending: None,
            stuck: false,
            attempt: job.attempt,
        };
        let running = RunningJob { id: job.id, job: job.job.clone(), memory: None, run };
        rows.push(Row { channel, running, processes: Vec::new(), elsewhere: Some(elsewhere.clone()) });
    }
    let more = summary.running.saturating_sub(summary.jobs.len());
    let host = master.host(MAX_HOST_CHARS);
    let name = sanitize::truncated(&channel.name, MAX_CHANNEL_CHARS);
    (more > 0).then(|| format!("and {more} more of channel \"{name}\" on {host}, master {}", elsewhere.pid))
}

/// The rows as text, below 80 columns on a terminal; a pipe gets whole names.
fn text(rows: &[Row<'_>], is_terminal: bool) -> String {
    let cut = |text: &str, most| sanitize::truncated(text, if is_terminal { most } else { usize::MAX });
    let header = ["id", "job", "channel", "att", "for", "of", "prog", "pid", "MiB"].map(str::to_owned);
    let cells = |row: &Row<'_>| {
        let run = &row.running.run;
        [
            row.running.id.to_string(),
            cut(&row.running.job, MAX_NAME_CHARS),
            cut(&row.channel.name, MAX_CHANNEL_CHARS),
            run.attempt.map_or_else(String::new, |attempt| attempt.to_string()),
            if run.booting { "starts".to_owned() } else { render::duration(run.ms) },
            run.limit_ms.map_or_else(|| "-".to_owned(), render::duration),
            run.progress.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
            run.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            row.running.memory.map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string()),
        ]
    };
    let table: Vec<_> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let widths: Vec<_> =
        (0..9).map(|n| table.iter().map(|row| row[n].chars().count()).max().unwrap_or(0)).collect();
    let mut shown = String::new();
    for (index, line) in table.iter().enumerate() {
        let padded: Vec<_> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        shown.push_str(padded.join(" ").trim_end());
        shown.push('\n');
        let Some(row) = index.checked_sub(1).map(|index| &rows[index]) else { continue };
        if let Some(elsewhere) = &row.elsewhere {
            shown.push_str(&format!("  {}\n", elsewhere.line()));
        }
        if let Some(state) = ending(row) {
            shown.push_str(&format!("  {state}\n"));
        }
        for process in &row.processes {
            shown.push_str(&process_line(process, is_terminal));
        }
    }
    shown
}

impl Elsewhere {
    /// The line about the master of a job.
    fn line(&self) -> String {
        let host = sanitize::truncated(&self.host, MAX_HOST_CHARS);
        let seen = render::duration(self.seen_ms);
        let lease = if self.is_alive { "" } else { ", lease expired" };
        format!("on {host}, master {}, seen {seen} ago{lease}", self.pid)
    }
}

/// The line about a run that was asked to end.
fn ending(row: &Row<'_>) -> Option<&'static str> {
    let run = &row.running.run;
    Some(match (run.ending?, run.stuck) {
        (CancelReason::TimedOut, false) => "past its time limit, asked to end",
        (CancelReason::TimedOut, true) => "past its time limit, does not end; its worker is killed",
        (CancelReason::Cancelled, false) => "cancelled, asked to end",
        (CancelReason::Cancelled, true) => "cancelled, does not end; its worker is killed",
    })
}

/// A line about a process of a tree.
pub(super) fn process_line(process: &ProcessRow, is_terminal: bool) -> String {
    let facts = format!(
        "{}{} {} {} MiB, cpu {}, age {}: ",
        "  ".repeat(process.depth.min(MAX_TREE_INDENT) + 1),
        process.pid,
        process.state,
        process.rss >> 20,
        render::duration(process.cpu_ms),
        render::duration(process.age_ms),
    );
    let most = if is_terminal { TREE_COLUMNS.saturating_sub(facts.chars().count()) } else { usize::MAX };
    format!("{facts}{}\n", sanitize::truncated(&process.command, most))
}

#[derive(Serialize)]
struct RowJson<'a> {
    id: JobId,
    job: &'a str,
    channel: &'a str,
    attempt: Option<u32>,
    for_ms: u64,
    limit_ms: Option<u64>,
    progress: Option<u8>,
    worker_pid: Option<i32>,
    rss: Option<u64>,
    booting: bool,
    ending: Option<CancelReason>,
    stuck: bool,
    #[serde(flatten)]
    elsewhere: Option<ElsewhereJson<'a>>,
}

/// The master of a job, where it is not the one that answered.
#[derive(Serialize)]
struct ElsewhereJson<'a> {
    host: &'a str,
    master_pid: i32,
    /// The age of the summary that names the job.
    seen_ms: u64,
    /// Whether the lease of the master has not expired.
    alive: bool,
}

fn to_json(row: &Row<'_>, with_tree: bool) -> Json {
    let RunningJob { id, job, memory, run } = &row.running;
    let elsewhere = row.elsewhere.as_ref().map(|master| ElsewhereJson {
        host: &master.host,
        master_pid: master.pid,
        seen_ms: master.seen_ms,
        alive: master.is_alive,
    });
    let mut json = json!(RowJson {
        id: *id,
        job,
        channel: &row.channel.name,
        attempt: run.attempt,
        for_ms: run.ms,
        limit_ms: run.limit_ms,
        progress: run.progress,
        worker_pid: run.pid,
        rss: *memory,
        booting: run.booting,
        ending: run.ending,
        stuck: run.stuck,
        elsewhere,
    });
    if with_tree {
        json["processes"] = json!(row.processes);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::known_masters::known_masters;
    use crate::cli::known_masters::tests::{local, text as published, view};
    use crate::config::Config;

    #[test]
    fn text_fits_eighty_columns_and_is_sanitised() {
        let config = Config::built_in(std::path::Path::new("/srv"));
        let running = RunningJob {
            id: JobId(1_795_282_229_498_945),
            job: format!("send\x1b[2J{}", "x".repeat(60)),
            run: RunStatus {
                pid: Some(4_194_304),
                booting: false,
                ms: 7_200_000,
                limit_ms: Some(8_000_000),
                progress: Some(100),
                ending: Some(CancelReason::TimedOut),
                stuck: true,
                attempt: Some(12),
            },
            memory: Some(1_234 << 20),
        };
        let process = ProcessRow {
            pid: 4_194_304,
            parent: 1,
            depth: 3,
            state: 'S',
            rss: 1_234 << 20,
            cpu_ms: 59_900,
            age_ms: 59_900,
            start_time: 0,
            command: format!("php\n{}", "y".repeat(90)),
        };
        let elsewhere =
            Elsewhere { host: "web-2\u{1b}[2J".repeat(9), pid: 4_194_304, seen_ms: 9_900, is_alive: false };
        let row = Row {
            channel: &config.channels["default"],
            running,
            processes: vec![process],
            elsewhere: Some(elsewhere),
        };
        let shown = text(&[row], true);
        assert!(shown.lines().all(|line| line.chars().count() < 80), "{shown}");
        assert!(!shown.contains('\x1b') && shown.contains("php\\n"), "{shown}");
        assert!(shown.contains("does not end"), "{shown}");
        assert!(shown.contains("master 4194304, seen 9.9 s ago, lease expired"), "{shown}");
    }

    #[test]
    fn jobs_of_other_masters_are_added_once() {
        let config = Config::built_in(std::path::Path::new("/srv"));
        let channel = &config.channels["default"];
        let views = vec![view("o1", 9, Some(&published("web-2", 7))), view("o2", 9, None)];
        let others = known_masters(views, &local("here", 1));
        let mut rows = Vec::new();
        let more: Vec<_> =
            others.iter().chain(&others).filter_map(|master| add_jobs(&mut rows, channel, master)).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(more[0], "and 21 more of channel \"default\" on web-2, master 7");
        let json = to_json(&rows[0], true);
        let expected = json!({"host": "web-2", "master_pid": 7, "seen_ms": 2500, "alive": true, "for_ms": 62_500,
            "worker_pid": 4_194_304, "attempt": 2, "processes": []});
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(json[key], *value, "{key}");
        }
        rows[0].elsewhere = None;
        assert!(to_json(&rows[0], false).get("host").is_none(), "only jobs of other masters are marked");
    }
}
