//! A command over several channels: one that fails does not keep it from the others. The exit code is that of the failures
//! where all have failed in the same way, and else that of what was done only in part.

use std::thread;

use serde_json::Value;

use super::progress::{Progress, ProgressDisplay};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// What was done in one channel: lines for people, an object for programs.
pub(super) struct ChannelDone {
    text: String,
    json: Value,
    warnings: Vec<String>,
    failure: Option<Failure>,
}

impl ChannelDone {
    pub(super) fn new(text: String, json: Value) -> Self {
        Self { text, json, warnings: Vec::new(), failure: None }
    }

    /// People are warned of what programs find in the object.
    pub(super) fn warning(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// It was done, and something about it was not.
    pub(super) fn failing(self, failure: Option<Failure>) -> Self {
        Self { failure, ..self }
    }
}

/// Does something in each channel, one after the other, and tells of it. Programs get an array, whatever failed.
pub(super) fn sequentially(
    context: &CommandContext,
    channels: &[&Channel],
    act: impl FnMut(&Channel) -> Result<ChannelDone, Failure>,
) -> Result<(), Failure> {
    report_all(context, channels.iter().copied().map(act))
}

/// The same in all channels at once, each with its progress: what takes long must not add up.
pub(super) fn concurrently(
    context: &CommandContext,
    channels: &[&Channel],
    doing: &str,
    act: impl Fn(&Channel, Progress) -> Result<ChannelDone, Failure> + Sync,
) -> Result<(), Failure> {
    let (display, act) = (ProgressDisplay::of(context), &act);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = channels
            .iter()
            .map(|&channel| {
                let progress = display.channel(&channel.name, doing);
                scope.spawn(move || act(channel, progress))
            })
            .collect();
        threads.into_iter().map(|done| done.join().expect("no command panics")).collect()
    });
    report_all(context, results.into_iter())
}

fn report_all(
    context: &CommandContext,
    results: impl Iterator<Item = Result<ChannelDone, Failure>>,
) -> Result<(), Failure> {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(ChannelDone { text, json, warnings, failure }) => {
                done.push(json);
                if !context.json() {
                    context.print(&format!("{text}\n"))?;
                    warnings.iter().for_each(|warning| context.warn(warning));
                }
                failures.extend(failure);
            }
            Err(failure) => failures.push(failure),
        }
    }
    if context.json() {
        context.print_json(&done)?;
    }
    // One that failed does not hide what became of the others.
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| context.report(failure));
    let is_same = done.is_empty() && failures.iter().all(|failure| failure.exit() == last.exit());
    Err(if is_same { last } else { last.with_exit(Exit::Failed) })
}

/// The channels that a command to their masters is about; with `all`, those that have one on this machine.
pub(super) fn with_master(context: &CommandContext, all: bool) -> Result<Vec<&Channel>, Failure> {
    let mut channels = context.channels(all)?;
    if all {
        channels.retain(|channel| master::presence(channel).running);
        if channels.is_empty() && !context.json() {
            context.print("No master is running.\n")?;
        }
    }
    Ok(channels)
}

/// That no master is there to do it, unless one is.
pub(super) fn require_master(channel: &Channel, doing: &str) -> Result<(), Failure> {
    if master::presence(channel).running {
        return Ok(());
    }
    Err(Failure::new(Exit::Running, doing)
        .because("its master is not running on this machine")
        .hint("queue:listen starts one; queue:status tells whether one runs"))
}

/// Asks the master of a channel for what it does at once. `doing` finishes "could not ...".
pub(super) fn ask(
    channel: &Channel,
    doing: &str,
    request: ControlRequest,
) -> Result<ControlResponse, Failure> {
    require_master(channel, doing)?;
    master::send_request(&master::socket_path(channel), request, |_| {})
        .map_err(|error| control_failure(doing, error))
}

/// Why a master did not do what it was asked, and what to do about it.
pub(super) fn control_failure(doing: &str, error: ControlError) -> Failure {
    let hint = match &error {
        ControlError::UnknownRequest | ControlError::Undecodable(_) => {
            Some("restart it with this version: queue:stop, then queue:listen")
        }
        ControlError::TimedOut(_) => Some("look at its log, and at its process with queue:status"),
        ControlError::NotListening { .. } => {
            Some("it may be starting or ending just now: try again, and look at its log")
        }
        ControlError::Disconnected(_) | ControlError::Refused(_) => None,
    };
    let failure = Failure::new(Exit::Failed, doing).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An answer to another question, which no master gives.
pub(super) fn unexpected_answer(doing: &str) -> Failure {
    Failure::new(Exit::Failed, doing).because("the master answered something else than was asked")
}
