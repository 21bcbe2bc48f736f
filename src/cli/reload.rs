//! `queue:reload`: makes a master reload its configuration and replace its workers, and waits for the result.

use std::borrow::Cow;

use clap::Args;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::progress::Progress;
use super::table::{self, Column};
use super::{CommandContext, Exit, Failure, control, render, sanitize};
use crate::config::Channel;
use crate::control::{ControlError, ControlRequest, ControlResponse};
use crate::pool::{RolloutSummary, WorkerRef, WorkerReplacement};

/// Reload the configuration and replace the workers
///
/// The command waits for the result.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// All channels with a master (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
}

impl Reload {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        // Check the configuration here first, so that its warnings appear in this terminal.
        context.checked_config()?;
        let channels = per_channel::with_some_master(context, self.all, "reload a channel")?;
        let columns = context.columns();
        per_channel::concurrently(context, &channels, "reloading", |channel, progress| {
            reload(channel, progress, columns)
        })
    }
}

/// Reloads the configuration of a master and replaces the workers of a channel.
pub(super) fn reload(
    channel: &Channel,
    mut progress: Progress,
    columns: Option<usize>,
) -> Result<ChannelDone, Failure> {
    let doing = format!("reload channel \"{}\"", channel.name);
    let response =
        control::ask(channel, &doing, ControlRequest::Reload, |report| progress.show(report), Some)?;
    drop(progress);
    match response {
        ControlResponse::Reloaded { renewed, restart, program_replaced, log_error } => {
            let keys: Vec<_> = restart.iter().map(|key| sanitize::line(key)).collect();
            let warnings = warnings(&channel.name, &keys, program_replaced);
            let mut json = json!({
                "generation": renewed.generation,
                "workers": renewed.workers,
                "handed_back": renewed.handed_back,
                "restart": restart,
                "program_replaced": program_replaced,
            });
            if let Some(error) = &log_error {
                json["log_error"] = error.as_str().into();
            }
            let text = render(&channel.name, &renewed, columns);
            let failure = log_error.map(|error| log_not_reopened(&channel.name, &error));
            Ok(ChannelDone { warnings, failure, ..ChannelDone::new(channel, text, json) })
        }
        ControlResponse::NotReloaded { why, invalid } => {
            let exit = if invalid { Exit::Config } else { Exit::Failed };
            Err(Failure::new(exit, doing)
                .because(indented(&why))
                .hint("the master keeps its previous configuration and workers"))
        }
        _ => Err(control::failure(&doing, ControlError::Unexpected)),
    }
}

/// The failure of a reload that replaced the workers and could not open the log file again.
fn log_not_reopened(channel: &str, error: &str) -> Failure {
    Failure::new(Exit::Failed, format!("open the log file again with the reload of channel \"{channel}\""))
        .because(sanitize::line(error).into_owned())
        .hint("the workers are replaced; make the path of log.file usable, then send SIGUSR2 to the master or reload again")
}

fn render(channel: &str, renewed: &RolloutSummary, columns: Option<usize>) -> String {
    let RolloutSummary { generation, workers, handed_back } = renewed;
    let mut shown = format!("Channel \"{channel}\" is reloaded: generation {generation} is serving.");
    if !workers.is_empty() {
        let header = ["old pid", "old generation", "new pid", "new generation"].map(Column::fixed);
        shown.push_str(&format!("\n{}", table::render(&header, workers.iter().map(row), columns).trim_end()));
    }
    if *handed_back > 0 {
        let jobs = render::jobs(*handed_back as u64);
        shown.push_str(&format!(
            "\n{jobs} did not finish within stop_wait_seconds and will run again; the interrupted attempt does not count."
        ));
    }
    shown
}

fn row(turnover: &WorkerReplacement) -> Vec<String> {
    let cells = |member: Option<WorkerRef>| match member {
        Some(WorkerRef { pid, generation }) => [pid.to_string(), generation.to_string()],
        None => ["-".to_owned(), "-".to_owned()],
    };
    [cells(turnover.old), cells(turnover.new)].concat()
}

/// A reason of several lines, as a list of mistakes: each line after the first is indented, whatever the master sends.
fn indented(why: &str) -> String {
    let lines: Vec<_> = why.lines().map(sanitize::line).collect();
    let rest = lines.iter().skip(1).map(|line| format!("\n  {}", line.trim_start()));
    lines.first().map_or(String::new(), |first| first.to_string() + &rest.collect::<String>())
}

fn warnings(channel: &str, restart: &[Cow<'_, str>], program_replaced: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !restart.is_empty() {
        warnings.push(format!(
            "channel \"{channel}\": these changes need a restart of the master: {}",
            restart.join(", ")
        ));
    }
    if program_replaced {
        warnings.push(
            "binary changed on disk: workers run the new version; restart the master to update it".to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_reason_stay_indented() {
        assert_eq!(indented("2 mistakes\n  a\n\x1b[2Jerror: b"), "2 mistakes\n  a\n  \\u{1b}[2Jerror: b");
        assert_eq!(indented(""), "");
    }

    #[test]
    fn each_worker_is_shown_with_its_successor() {
        let member = |pid, generation| Some(WorkerRef { pid, generation });
        let workers = vec![
            WorkerReplacement { old: member(10, 1), new: member(12, 2) },
            WorkerReplacement { old: None, new: member(13, 2) },
        ];
        let renewed = RolloutSummary { generation: 2, workers, handed_back: 1 };
        insta::assert_snapshot!(render("mail", &renewed, None), @r#"
        Channel "mail" is reloaded: generation 2 is serving.
        ┌─────────┬────────────────┬─────────┬────────────────┐
        │ old pid │ old generation │ new pid │ new generation │
        ├─────────┼────────────────┼─────────┼────────────────┤
        │ 10      │ 1              │ 12      │ 2              │
        │ -       │ -              │ 13      │ 2              │
        └─────────┴────────────────┴─────────┴────────────────┘
        1 job did not finish within stop_wait_seconds and will run again; the interrupted attempt does not count.
        "#);
    }
}
