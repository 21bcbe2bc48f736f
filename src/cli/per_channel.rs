//! Runs a command on several channels: a failure in one channel does not affect the others. When all channels fail with the
//! same exit code, that is the exit code of the command; when only some fail, it is [`Exit::Failed`].

use std::thread;

use serde::Serialize;
use serde_json::Value;

use super::progress::{Progress, ProgressDisplay};
use super::{CommandContext, Exit, Failure, control};
use crate::config::Channel;
use crate::master;

/// Result of the command in one channel: text to print, or a JSON object.
pub(super) struct ChannelDone {
    pub(super) text: String,
    pub(super) json: Value,
    /// Printed with the text; the JSON object contains the same information.
    pub(super) warnings: Vec<String>,
    /// The failure of a command that was partly done.
    pub(super) failure: Option<Failure>,
}

impl ChannelDone {
    /// `reply` becomes the JSON object, which also names the channel.
    pub(super) fn new(channel: &Channel, text: String, reply: impl Serialize) -> Self {
        let mut json = serde_json::to_value(reply).expect("a reply is plain data");
        json["channel"] = channel.name.clone().into();
        Self { text, json, warnings: Vec::new(), failure: None }
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

/// As [`sequentially`], for commands that took exactly one channel at first: unless `all` is set, the JSON of one channel is
/// one object, or nothing after a failure.
pub(super) fn one_or_several(
    context: &CommandContext,
    all: bool,
    act: impl FnMut(&Channel) -> Result<ChannelDone, Failure>,
) -> Result<(), Failure> {
    let channels = context.channels(all)?;
    if all { sequentially(context, &channels, act) } else { these(context, &channels, act) }
}

/// As [`sequentially`]; the JSON of one channel is one object, or nothing after a failure.
pub(super) fn these(
    context: &CommandContext,
    channels: &[&Channel],
    mut act: impl FnMut(&Channel) -> Result<ChannelDone, Failure>,
) -> Result<(), Failure> {
    let [channel] = channels else { return sequentially(context, channels, act) };
    let ChannelDone { text, json, warnings, failure } = act(channel)?;
    context.show(&json, &format!("{text}\n"))?;
    warnings.iter().for_each(|warning| context.warn(warning));
    failure.map_or(Ok(()), Err)
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
    let is_same = done.is_empty() && failures.windows(2).all(|pair| pair[0].exit() == pair[1].exit());
    context.finish(failures).map_err(|last| if is_same { last } else { last.with_exit(Exit::Failed) })
}

/// The channels of a command that is sent to their masters; with `all`, those with a master on this machine.
pub(super) fn with_master(context: &CommandContext, all: bool) -> Result<Vec<&Channel>, Failure> {
    let mut channels = context.channels(all)?;
    if all {
        channels.retain(|channel| {
            let presence = master::presence(channel);
            // A master that this user may not see is an error of the command, not the absence of a master.
            presence.running || presence.denied.is_some()
        });
    }
    Ok(channels)
}

/// As [`with_master`], for a command that does nothing without a master, which is no success. `doing` completes the phrase
/// "could not ...".
pub(super) fn with_some_master<'a>(
    context: &'a CommandContext,
    all: bool,
    doing: &str,
) -> Result<Vec<&'a Channel>, Failure> {
    let channels = with_master(context, all)?;
    if !channels.is_empty() {
        return Ok(channels);
    }
    if context.json() {
        context.print_json(&[(); 0])?;
    }
    Err(control::no_master(doing))
}
