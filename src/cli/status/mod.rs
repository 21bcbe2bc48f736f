//! `queue:status`: shows whether a master runs, and the number of jobs in each state.

mod json;
mod metrics;
mod view;
pub(in crate::cli) mod workers;

use clap::Args;

use self::json::StatusJson;
use self::view::{MasterStatus, StatusView};
use super::{CommandContext, Failure, progress, sanitize, table, time};
use crate::channel;
use crate::config::Channel;
use crate::master::{self, ControlRequest, ControlResponse, Presence};
use crate::store;

/// Show whether the master is running, and the number of jobs in each state
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// All declared channels (or give --channel more than once)
    #[arg(long, conflicts_with = "channels")]
    all: bool,
    /// List the workers with their jobs, and explain their number
    #[arg(long)]
    workers: bool,
    /// Print metrics in the text format of Prometheus
    #[arg(long, conflicts_with_all = ["json", "workers"])]
    metrics: bool,
}

impl Status {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = context.channels(self.all)?;
        if self.metrics {
            return metrics::show(context, &channels);
        }
        let one = channels.len() == 1 && !self.all;
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        for channel in channels {
            match gather(context, channel, self.workers) {
                Ok(report) => reports.push(report),
                Err(failure) => {
                    failures.push(failure);
                    // Without the store show what the master knows. JSON output has complete entries only.
                    let master = master_status(channel);
                    if !context.json() && master.presence.running {
                        context.print(&without_store(channel, &master, self.workers, context.colours()))?;
                    }
                }
            }
        }
        if context.json() {
            let shown: Vec<_> = reports.iter().map(StatusJson::from).collect();
            match shown.as_slice() {
                [object] if one => context.print_json(object)?,
                // A request for one channel prints one object or none, never an array.
                [] if one => {}
                several => context.print_json(&several)?,
            }
        } else {
            context.print(&render(&reports, context.colours()))?;
        }
        // Report every failure; the last one becomes the result.
        let last = failures.pop();
        for failure in &failures {
            context.report(failure);
        }
        last.map_or(Ok(()), Err)
    }
}

fn gather(context: &CommandContext, channel: &Channel, each: bool) -> Result<StatusView, Failure> {
    let store = context.store(channel)?;
    let read = context.block_on(async {
        let counts = store.status().await?;
        let durability = store.durability().await?;
        Ok((counts, durability))
    });
    let doing = || format!("read the status of channel \"{}\"", channel.name);
    let (counts, durability) = read.map_err(|error| Failure::store(doing(), error))?;
    Ok(StatusView {
        channel: channel.name.clone(),
        master: master_status(channel),
        each,
        counts,
        driver: channel.driver.to_string(),
        durability,
    })
}

/// Presence of the channel's master, and its status if it responds.
fn master_status(channel: &Channel) -> MasterStatus {
    let mut presence = master::presence(channel);
    let (mut running, mut error) = (None, None);
    if presence.running {
        match ask(channel) {
            Ok(report) => running = Some(report),
            Err(why) => {
                // The master may have exited between the presence check and the request.
                presence = master::presence(channel);
                error = presence.running.then_some(why);
            }
        }
    }
    MasterStatus { presence, running, error }
}

/// Requests the status from the master of the channel.
fn ask(channel: &Channel) -> Result<channel::ChannelStatus, String> {
    match master::send_request(&master::socket_path(channel), ControlRequest::Status, |_| {}) {
        Ok(ControlResponse::Status { report, .. }) => Ok(report),
        Ok(_) => Err("it sent an unexpected response".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn render(reports: &[StatusView], colours: bool) -> String {
    let mut shown = String::new();
    for report in reports {
        let StatusView { channel, master, counts, driver, durability, each } = report;
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(&presence_line(channel, &master.presence, colours));
        shown.push_str(&format!("The status of {channel}-queue:\n"));
        shown.push_str(&counts_table(counts));
        if counts.cleared > 0 {
            shown.push_str(&format!("Cleared: {}\n", counts.cleared));
        }
        if counts.paused {
            let until =
                counts.paused_until.map_or(String::new(), |until| format!(" until {}", time::local(until)));
            shown.push_str(&format!("Paused{until}: no master leases jobs.\n"));
        }
        shown.push_str(&unusual(master, colours));
        // The master may use an older configuration of the store than this command.
        if let Some(error) = master.running.as_ref().and_then(|running| running.store_error.as_deref()) {
            let error = sanitize::line(error);
            shown.push_str(&trouble(&format!("Store unavailable to the master: {error}"), colours));
        }
        shown.push_str(&format!("Store: {driver}, durability {durability}\n"));
        if let (true, Some(running)) = (*each, &master.running) {
            shown.push_str(&workers::render(running));
        }
    }
    shown
}

/// Status of a channel whose store cannot be read.
fn without_store(channel: &Channel, master: &MasterStatus, each: bool, colours: bool) -> String {
    let mut shown = presence_line(&channel.name, &master.presence, colours) + &unusual(master, colours);
    shown.push_str(&format!("Store: {}, unavailable\n", channel.driver));
    if let Some(running) = &master.running {
        if let Some(error) = &running.store_error {
            shown.push_str(&format!("Store error of the master: {}\n", sanitize::line(error)));
        }
        if each {
            shown.push_str(&workers::render(running));
        }
    }
    shown
}

fn presence_line(channel: &str, presence: &Presence, colours: bool) -> String {
    let (colour, state) = match presence {
        Presence { running: true, pid: Some(pid) } => ("32", format!("is running, pid {pid}.")),
        Presence { running: true, pid: None } => ("32", "is running.".to_owned()),
        Presence { running: false, .. } => ("33", "is not running!".to_owned()),
    };
    let line = format!("The master-process of {channel}-queue {state}");
    if colours { format!("\x1b[{colour}m{line}\x1b[0m\n") } else { line + "\n" }
}

/// Lines about an unusual state of a master: quiet, stopping, reloading, not responding, degraded.
fn unusual(master: &MasterStatus, colours: bool) -> String {
    let MasterStatus { running, error, .. } = master;
    let mut shown = String::new();
    if running.as_ref().is_some_and(|running| running.quiet) {
        shown.push_str("Quiet: the master on this machine leases no jobs.\n");
    }
    if let Some(running) = running.as_ref().filter(|running| running.stopping) {
        shown.push_str(&format!("Stopping: {}.\n", progress::describe(running)));
    }
    if let Some(reload) = running.as_ref().and_then(|running| running.pool.reload) {
        shown.push_str(&format!("Reloading: {}.\n", progress::describe_reload(reload)));
    }
    let silence = error.as_ref().map(|why| format!("Master not responding: {why}"));
    if let Some(line) = silence.or_else(|| running.as_ref().and_then(workers::trouble)) {
        shown.push_str(&trouble(&line, colours));
    }
    shown
}

fn trouble(line: &str, colours: bool) -> String {
    if colours { format!("\x1b[31m{line}\x1b[0m\n") } else { format!("{line}\n") }
}

/// Table of the job counts.
pub(super) fn counts_table(counts: &store::JobCounts) -> String {
    let header = ["waiting", "reserved", "delayed", "done", "failed", "total"];
    let row = [counts.waiting, counts.reserved, counts.delayed, counts.done, counts.failed, counts.total()];
    table::render(&header, [row.iter().map(u64::to_string).collect()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(running: bool) -> StatusView {
        StatusView {
            channel: "default".to_owned(),
            master: MasterStatus {
                presence: Presence { running, pid: running.then_some(42) },
                running: None,
                error: None,
            },
            counts: store::JobCounts { done: 26_000, ..store::JobCounts::default() },
            driver: "sqlite at /srv/aint-queue.db".to_owned(),
            durability: "fsync".to_owned(),
            each: false,
        }
    }

    #[test]
    fn status_table_keeps_its_layout() {
        let expected = "\
The master-process of default-queue is not running!
The status of default-queue:
┌─────────┬──────────┬─────────┬───────┬────────┬───────┐
│ waiting │ reserved │ delayed │ done  │ failed │ total │
├─────────┼──────────┼─────────┼───────┼────────┼───────┤
│ 0       │ 0        │ 0       │ 26000 │ 0      │ 26000 │
└─────────┴──────────┴─────────┴───────┴────────┴───────┘
Store: sqlite at /srv/aint-queue.db, durability fsync
";
        assert_eq!(render(&[report(false)], false), expected);
    }

    #[test]
    fn several_channels_and_unusual_states_are_shown() {
        let mut second = report(true);
        (second.counts.cleared, second.counts.paused) = (3, true);
        let text = render(&[report(false), second], true);
        assert!(text.contains("\x1b[32mThe master-process of default-queue is running, pid 42.\x1b[0m\n"));
        assert!(text.contains("\nCleared: 3\nPaused: no master leases jobs.\n"));
        assert_eq!(text.matches("\n\n").count(), 1);
    }

    #[test]
    fn unresponsive_master_is_shown() {
        let mut report = report(true);
        report.master.error = Some("the master did not answer within 5 seconds".to_owned());
        let text = render(std::slice::from_ref(&report), false);
        let line = "\nMaster not responding: the master did not answer within 5 seconds\nStore:";
        assert!(text.contains(line), "{text}");
        assert_eq!(
            serde_json::to_value(StatusJson::from(&report)).unwrap()["master_error"],
            "the master did not answer within 5 seconds"
        );
    }

    #[test]
    fn masters_store_outage_is_shown() {
        let mut report = report(true);
        let running = channel::ChannelStatus {
            store_error: Some("wrong password\x1b".to_owned()),
            ..Default::default()
        };
        report.master.running = Some(running);
        let text = render(std::slice::from_ref(&report), false);
        let line = "\nStore unavailable to the master: wrong password\\u{1b}\nStore: sqlite";
        assert!(text.contains(line), "{text}");
        let text = render(std::slice::from_ref(&report), true);
        assert!(text.contains("\x1b[31mStore unavailable to the master: "), "{text}");
        let json = serde_json::to_value(StatusJson::from(&report)).unwrap();
        assert_eq!(json["store_error"], "wrong password\x1b");
    }

    #[test]
    fn status_json_has_every_count() {
        let json = serde_json::to_value(StatusJson::from(&report(true))).unwrap();
        for key in ["waiting", "reserved", "delayed", "failed", "cleared"] {
            assert_eq!(json[key], 0, "{key}");
        }
        assert_eq!((json["pid"].as_i64(), json["total"].as_u64()), (Some(42), Some(26_000)));
    }
}
