//! Runs a command on several channels: a failure in one channel does not affect the others. When all channels fail with the
//! same exit code, that is the exit code of the command; when only some fail, it is [`Exit::Failed`].

use std::thread;

use serde_json::Value;

use super::progress::{Progress, ProgressDisplay};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// Result of the command in one channel: text to print, or a JSON object.
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

    /// Adds warnings, printed with the text; the JSON object contains the same information.
    pub(super) fn warning(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Adds a failure of a command that was partly done.
    pub(super) fn failing(self, failure: Option<Failure>) -> Self {
        Self { failure, ..self }
    }
}

/// Runs `act` on one channel after the other and prints the results; JSON is always an array, even after failures.
pub(super) fn sequentially(
    context: &CommandContext,
    channels: &[&Channel],
    act: impl FnMut(&Channel) -> Result<ChannelDone, Failure>,
) -> Result<(), Failure> {
    report_all(context, channels.iter().copied().map(act))
}

/// Runs `act` on all channels at once, each with a progress display, so that long waits do not add up.
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
        threads.into_iter().map(|done| done.join().expect("a command does not panic")).collect()
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
    // Report every failure; the last one becomes the result.
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| context.report(failure));
    let is_same = done.is_empty() && failures.iter().all(|failure| failure.exit() == last.exit());
    Err(if is_same { last } else { last.with_exit(Exit::Failed) })
}

/// The channels of a command that is sent to their masters; with `all`, those with a master on this machine.
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

/// Fails when no master of the channel runs on this machine.
pub(super) fn require_master(channel: &Channel, doing: &str) -> Result<(), Failure> {
    if master::presence(channel).running {
        return Ok(());
    }
    Err(Failure::new(Exit::Running, doing)
        .because("its master is not running on this machine")
        .hint("queue:listen starts a master; queue:status shows whether one is running"))
}

/// Sends a request that the master answers at once. `doing` completes the phrase "could not ...".
pub(super) fn ask(
    channel: &Channel,
    doing: &str,
    request: ControlRequest,
) -> Result<ControlResponse, Failure> {
    require_master(channel, doing)?;
    master::send_request(&master::socket_path(channel), request, |_| {})
        .map_err(|error| control_failure(doing, error))
}

/// The failure of a request to a master, with a remedy.
pub(super) fn control_failure(doing: &str, error: ControlError) -> Failure {
    let hint = match &error {
        ControlError::UnknownRequest | ControlError::Undecodable(_) => {
            Some("restart it with this version: queue:stop, then queue:listen")
        }
        ControlError::TimedOut(_) => Some("check the log of the master, and queue:status"),
        ControlError::NotListening { .. } => {
            Some("it may be starting or stopping: try again, or check its log")
        }
        ControlError::Disconnected(_) | ControlError::Refused(_) => None,
    };
    let failure = Failure::new(Exit::Failed, doing).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The failure for a response of the wrong type, which a correct master never sends.
pub(super) fn unexpected_answer(doing: &str) -> Failure {
    Failure::new(Exit::Failed, doing).because("the master sent an unexpected response")
}
