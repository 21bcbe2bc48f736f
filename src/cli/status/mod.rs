//! `queue:status`: shows whether a master runs, and the number of jobs in each state.

pub(in crate::cli) mod check;
mod json;
mod masters;
mod metrics;
pub(in crate::cli) mod recent;
mod trouble;
mod watch;
pub(in crate::cli) mod workers;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::json::StatusJson;
use self::trouble::{outage, refused_line, trouble, unusual};
use super::control::{self, MasterState};
use super::known_masters::{KnownMaster, LocalMaster, known_masters};
use super::table::{self, Column};
use super::{CommandContext, Failure, sanitize, time};
use crate::channel::ChannelStatus;
use crate::cli::render::size;
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::snapshot::Recent;
use crate::store::JobCounts;

/// Show masters, workers, and the number of jobs by state
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
    /// List the workers with their jobs, and explain their number
    #[arg(long)]
    workers: bool,
    /// Print metrics in the text format of Prometheus
    #[arg(long, conflicts_with_all = ["json", "workers"])]
    metrics: bool,
    /// Print one line for monitoring systems, and exit with 0 ok, 1 warning, 2 critical or 3 unknown
    #[arg(long, conflicts_with_all = ["json", "workers", "metrics", "watch"])]
    pub(crate) check: bool,
    /// Show the status again after this time, in place of the last one, until Ctrl-C [default: 1 s]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "1s",
        value_parser = watch::period,
        conflicts_with = "metrics"
    )]
    watch: Option<Duration>,
}

/// How text is shown.
#[derive(Clone, Copy, Debug, Default)]
struct Appearance {
    colours: bool,
    /// Columns of the terminal.
    columns: Option<usize>,
}

/// Consequence of a clock that was set back.
const CLOCK_STEP: &str = "delayed jobs, pauses and timed keys may be late by this";

/// Age of a refused push up to which pushes count as being refused now.
const RECENT_REFUSAL_MS: u64 = 60_000;

/// The data about one channel.
struct StatusView<'a> {
    channel: &'a Channel,
    master: MasterState<ChannelStatus>,
    counts: JobCounts,
    /// The last minute as the master has seen it.
    recent: Option<Box<Recent>>,
    durability: String,
    /// The masters of all machines, or why the store does not tell them.
    masters: Result<Vec<KnownMaster>, String>,
    /// Reserved jobs that no call can reach.
    unlisted: u64,
    /// Whether the store does not exist yet.
    missing: bool,
    /// Whether to list the workers.
    each: bool,
}

impl StatusView<'_> {
    /// How far the store's clock is behind the highest time that it has shown to the store or to the master.
    fn clock_behind(&self) -> Option<Duration> {
        let by_master = self.master.answer().and_then(|status| status.clock_behind_ms);
        self.counts.clock_behind.max(by_master.map(Duration::from_millis))
    }
}

impl Status {
    /// Checks the channels for a monitoring system. The exit code is the result.
    pub(crate) fn check(&self, context: &CommandContext) -> ExitCode {
        check::run(context, self.all)
    }

    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = context.channels(self.all)?;
        if self.metrics {
            return metrics::show(context, &channels);
        }
        let one = channels.len() == 1 && !self.all;
        match self.watch {
            Some(period) => watch::run(context, period, || self.read(context, &channels, one)),
            None => {
                let Reading { shown, failures } = self.read(context, &channels, one);
                context.print_result(&shown)?;
                context.finish(failures)
            }
        }
    }

    /// Reads the status of the channels.
    fn read(&self, context: &CommandContext, channels: &[&Channel], one: bool) -> Reading {
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        let mut shown = String::new();
        let appearance = Appearance { colours: context.colours(), columns: context.columns() };
        for channel in channels {
            let doing = format!("read the status of channel \"{}\"", channel.name);
            let missing = CommandContext::is_store_missing(channel);
            let read = context.call_store(channel, doing, async |store| {
                let counts = store.status().await?;
                let unlisted = if counts.reserved > 0 { store.unlisted().await? } else { 0 };
                // A user may lack the permission for them, and the status is more than its masters.
                let masters = store.masters().await;
                Ok((counts, unlisted, store.durability().await?, store.identity(), masters))
            });
            let mut recent = None;
            let mut master = control::query(
                channel,
                ControlRequest::Status,
                |_| {},
                |response| match response {
                    ControlResponse::Status { report, recent: last, .. } => {
                        recent = last;
                        Some(*report)
                    }
                    _ => None,
                },
            );
            match read {
                Ok((counts, unlisted, durability, identity, masters)) => {
                    master.compare(channel, identity);
                    let local = LocalMaster::of(channel, master.answer().is_some());
                    let masters = masters.map(|views| known_masters(views, &local));
                    // The durability that the store will have.
                    let durability = if missing { "fsync".to_owned() } else { durability };
                    reports.push(StatusView {
                        channel,
                        master,
                        counts,
                        recent,
                        durability,
                        masters: masters.map_err(|error| error.to_string()),
                        unlisted,
                        missing,
                        each: self.workers,
                    });
                }
                Err(failure) => {
                    failures.push(failure);
                    // Without the store show what the master knows. JSON output has complete entries only.
                    if !context.json() && !matches!(master, MasterState::NotRunning) {
                        shown.push_str(&without_store(channel, &master, self.workers, appearance));
                    }
                }
            }
        }
        if context.json() {
            let json: Vec<_> = reports.iter().map(StatusJson::from).collect();
            match json.as_slice() {
                [object] if one => shown = json_line(object),
                // A request for one channel prints one object or none, never an array.
                [] if one => {}
                several => shown = json_line(&several),
            }
        } else {
            shown.push_str(&render(&reports, appearance));
        }
        Reading { shown, failures }
    }
}

/// The status of some channels: the text or JSON, and the channels that could not be read.
struct Reading {
    shown: String,
    failures: Vec<Failure>,
}

fn json_line(value: &impl serde::Serialize) -> String {
    format!("{}\n", sanitize::json(value))
}

fn render(reports: &[StatusView<'_>], appearance: Appearance) -> String {
    let Appearance { colours, columns } = appearance;
    let mut shown = String::new();
    for report in reports {
        let StatusView { channel, master, counts, recent, durability, masters, unlisted, missing, each } =
            report;
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(&presence_line(&channel.name, master, colours));
        shown.push_str(&format!("Jobs of channel \"{}\":\n", channel.name));
        shown.push_str(&counts_table(counts, columns));
        shown.push_str(&recent::render(counts, recent.as_deref()));
        if counts.cleared > 0 {
            shown.push_str(&format!("Cleared: {}\n", counts.cleared));
        }
        if let (Some(bytes), Some(most)) = (counts.bytes, channel.max_bytes) {
            let line = format!("Stored: {} of at most {} (max_bytes)", size(bytes), size(most));
            shown.push_str(&if bytes >= most / 10 * 9 { trouble(&line, colours) } else { line + "\n" });
        }
        if let Some(refused) = master.answer().and_then(|status| status.refused_pushes.as_deref()) {
            let line = refused_line(refused);
            shown.push_str(&if refused.last_ms < RECENT_REFUSAL_MS {
                trouble(&line, colours)
            } else {
                line + "\n"
            });
        }
        if counts.paused {
            let until =
                counts.paused_until.map_or(String::new(), |until| format!(" until {}", time::local(until)));
            shown.push_str(&format!("Paused{until}: no master leases jobs.\n"));
        }
        if let Some(step) = report.clock_behind() {
            let step = step.as_secs_f64();
            let line = format!("Clock: {step:.1} s behind the highest time of the store: {CLOCK_STEP}.");
            shown.push_str(&trouble(&line, colours));
        }
        if *unlisted > 0 {
            let line = format!(
                "Unreachable: {unlisted} of the reserved jobs are held by no master and in no list, because another program has changed \
                 the stored data: see \"Lost lists\" in docs/operations.md."
            );
            shown.push_str(&trouble(&line, colours));
        }
        shown.push_str(&unusual(master, colours));
        // The master may use an older configuration of the store than this command.
        if let Some(outage) = master.answer().and_then(outage) {
            shown.push_str(&trouble(&format!("Store unavailable to the master{outage}"), colours));
        }
        shown.push_str(&match missing {
            true => {
                format!("Store: {}, not created yet: a push or queue:listen creates it\n", channel.driver)
            }
            false => format!("Store: {}, durability {durability}\n", channel.driver),
        });
        match masters {
            Ok(masters) => shown.push_str(&masters::render(masters, *each, columns)),
            Err(error) => shown.push_str(&trouble(&masters::unknown(error), colours)),
        }
        if let (true, Some(status)) = (*each, master.answer()) {
            shown.push_str(&workers::render(status, columns));
        }
    }
    shown
}

/// Status of a channel whose store cannot be read.
fn without_store(
    channel: &Channel,
    master: &MasterState<ChannelStatus>,
    each: bool,
    appearance: Appearance,
) -> String {
    let Appearance { colours, columns } = appearance;
    let mut shown = presence_line(&channel.name, master, colours) + &unusual(master, colours);
    shown.push_str(&format!("Store: {}, unavailable\n", channel.driver));
    if let Some(status) = master.answer() {
        if let Some(outage) = outage(status) {
            shown.push_str(&format!("Store unavailable to the master{outage}\n"));
        }
        if each {
            shown.push_str(&workers::render(status, columns));
        }
    }
    shown
}

fn presence_line(channel: &str, master: &MasterState<ChannelStatus>, colours: bool) -> String {
    let (colour, state) = match (master, master.pid()) {
        (MasterState::NotRunning | MasterState::Elsewhere(_), _) => ("33", "is not running.".to_owned()),
        (MasterState::Hidden(_), _) => ("31", "cannot be seen.".to_owned()),
        (state, Some(pid)) if is_stopping(state) => ("33", format!("is stopping, pid {pid}.")),
        (state, None) if is_stopping(state) => ("33", "is stopping.".to_owned()),
        (_, Some(pid)) => ("32", format!("is running, pid {pid}.")),
        (_, None) => ("32", "is running.".to_owned()),
    };
    let line = format!("The master of channel \"{channel}\" {state}");
    if colours { format!("\x1b[{colour}m{line}\x1b[0m\n") } else { line + "\n" }
}

fn is_stopping(master: &MasterState<ChannelStatus>) -> bool {
    master.answer().is_some_and(|status| status.stopping)
}

/// Table of the job counts.
pub(super) fn counts_table(counts: &JobCounts, columns: Option<usize>) -> String {
    let header = ["waiting", "reserved", "delayed", "done", "failed", "total"].map(Column::fixed);
    let row = [counts.waiting, counts.reserved, counts.delayed, counts.done, counts.failed, counts.total()];
    table::render(&header, [row.iter().map(u64::to_string).collect()], columns)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::LazyLock;

    use super::*;
    use crate::channel::RefusedPushCounts;
    use crate::cli::control::ServedPlace;
    use crate::config::Config;
    use crate::control::ControlError;

    static CHANNEL: LazyLock<Channel> =
        LazyLock::new(|| Config::built_in(Path::new("/srv")).channels["default"].clone());

    const COLOURED: Appearance = Appearance { colours: true, columns: None };

    fn report(master: MasterState<ChannelStatus>) -> StatusView<'static> {
        let counts = JobCounts { done: 26_000, ..JobCounts::default() };
        let durability = "fsync".to_owned();
        StatusView {
            channel: &CHANNEL,
            master,
            counts,
            recent: None,
            durability,
            masters: Ok(Vec::new()),
            unlisted: 0,
            missing: false,
            each: false,
        }
    }

    fn responding(answer: ChannelStatus) -> MasterState<ChannelStatus> {
        MasterState::Responding { pid: Some(42), answer, place: ServedPlace::default() }
    }

    #[test]
    fn status_table_keeps_its_layout() {
        let expected = "\
The master of channel \"default\" is not running.
Jobs of channel \"default\":
┌─────────┬──────────┬─────────┬───────┬────────┬───────┐
│ waiting │ reserved │ delayed │ done  │ failed │ total │
├─────────┼──────────┼─────────┼───────┼────────┼───────┤
│ 0       │ 0        │ 0       │ 26000 │ 0      │ 26000 │
└─────────┴──────────┴─────────┴───────┴────────┴───────┘
Store: sqlite at /srv/aint-queue.db, durability fsync
";
        assert_eq!(render(&[report(MasterState::NotRunning)], Appearance::default()), expected);
    }

    #[test]
    fn several_channels_and_unusual_states_are_shown() {
        let mut second = report(responding(ChannelStatus::default()));
        (second.counts.cleared, second.counts.paused) = (3, true);
        let text = render(&[report(MasterState::NotRunning), second], COLOURED);
        assert!(text.contains("\x1b[32mThe master of channel \"default\" is running, pid 42.\x1b[0m\n"));
        assert!(text.contains("\nCleared: 3\nPaused: no master leases jobs.\n"));
        assert_eq!(text.matches("\n\n").count(), 1);
    }

    #[test]
    fn unresponsive_master_is_shown() {
        let error = ControlError::TimedOut(Duration::from_secs(5));
        let report = report(MasterState::NotResponding { pid: Some(42), error });
        let text = render(std::slice::from_ref(&report), Appearance::default());
        let line = "\nMaster not responding: the master did not answer within 5 seconds\nStore:";
        assert!(text.contains(line), "{text}");
        assert_eq!(
            serde_json::to_value(StatusJson::from(&report)).unwrap()["master_error"],
            "the master did not answer within 5 seconds"
        );
    }

    #[test]
    fn masters_store_outage_is_shown() {
        let store_error = Some("wrong password\x1b".to_owned());
        let report = report(responding(ChannelStatus { store_error, ..ChannelStatus::default() }));
        let text = render(std::slice::from_ref(&report), Appearance::default());
        let line = "\nStore unavailable to the master: wrong password\\u{1b}\nStore: sqlite";
        assert!(text.contains(line), "{text}");
        let text = render(std::slice::from_ref(&report), COLOURED);
        assert!(text.contains("\x1b[31mStore unavailable to the master: "), "{text}");
        let json = serde_json::to_value(StatusJson::from(&report)).unwrap();
        assert_eq!(json["store_error"], "wrong password\x1b");
    }

    #[test]
    fn refused_pushes_are_shown_with_the_last_one() {
        let refused_pushes = Some(Box::new(RefusedPushCounts {
            max_waiting: 2,
            memory: 1,
            last_ms: 5_000,
            ..RefusedPushCounts::default()
        }));
        let report = report(responding(ChannelStatus { refused_pushes, ..ChannelStatus::default() }));
        let text = render(std::slice::from_ref(&report), Appearance::default());
        let line = "\nRefused pushes: 2 by max_waiting, 1 for lack of memory in the master; the last one 5.0 s ago\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(
            serde_json::to_value(StatusJson::from(&report)).unwrap()["refused_pushes"]["max_waiting"],
            2
        );
    }

    #[test]
    fn jobs_held_back_before_a_reexec_are_explained() {
        let status = |stopping| ChannelStatus {
            held_back_ms: Some(12_000),
            running: 2,
            stopping,
            ..ChannelStatus::default()
        };
        let waits = report(responding(status(false)));
        let text = render(std::slice::from_ref(&waits), Appearance::default());
        let line = "\nHeld back: the master is above its memory_limit and re-executes itself when its running jobs have ended; 2 jobs left, it waits up to 12.0 s; no jobs are leased.\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(serde_json::to_value(StatusJson::from(&waits)).unwrap()["held_back"], true);
        let text = render(&[report(responding(status(true)))], Appearance::default());
        assert!(
            text.contains("\nRe-executing: the master is above") && text.contains("\nStopping: "),
            "{text}"
        );
    }

    #[test]
    fn step_back_of_the_clock_is_shown() {
        let status = ChannelStatus { clock_behind_ms: Some(1_500), ..ChannelStatus::default() };
        let mut stepped = report(responding(status));
        let text = render(std::slice::from_ref(&stepped), Appearance::default());
        assert!(text.contains("\nClock: 1.5 s behind the highest time of the store: delayed jobs"), "{text}");
        stepped.counts.clock_behind = Some(Duration::from_secs(3_600));
        assert_eq!(serde_json::to_value(StatusJson::from(&stepped)).unwrap()["clock_behind_seconds"], 3600.0);
        let right = serde_json::to_value(StatusJson::from(&report(MasterState::NotRunning))).unwrap();
        assert!(right.get("clock_behind_seconds").is_none(), "{right}");
    }

    #[test]
    fn unreachable_jobs_are_shown() {
        let mut report = report(MasterState::NotRunning);
        assert!(serde_json::to_value(StatusJson::from(&report)).unwrap().get("unlisted").is_none());
        report.unlisted = 7;
        let text = render(std::slice::from_ref(&report), Appearance::default());
        assert!(text.contains("\nUnreachable: 7 of the reserved jobs are held by no master"), "{text}");
        assert_eq!(serde_json::to_value(StatusJson::from(&report)).unwrap()["unlisted"], 7);
    }

    #[test]
    fn status_json_has_every_count() {
        let json =
            serde_json::to_value(StatusJson::from(&report(responding(ChannelStatus::default())))).unwrap();
        for key in ["waiting", "reserved", "delayed", "failed", "cleared"] {
            assert_eq!(json[key], 0, "{key}");
        }
        assert_eq!((json["pid"].as_i64(), json["total"].as_u64()), (Some(42), Some(26_000)));
    }
}
