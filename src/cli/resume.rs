//! `queue:resume`: ends the effect of `queue:pause` and `queue:quiet`.

use clap::Args;
use serde_json::json;

use super::control::{self, MasterState};
use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::control::{ControlError, ControlRequest, ControlResponse};

/// Resume a channel after queue:pause and queue:quiet
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
}

impl Resume {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        per_channel::sequentially(context, &context.channels(self.all)?, |channel| resume(context, channel))
    }
}

/// Ends the pause of a channel and the quiet mode of its master on this machine.
pub(super) fn resume(context: &CommandContext, channel: &Channel) -> Result<ChannelDone, Failure> {
    let name = &channel.name;
    // Resume the master first, because that works even while the store is unavailable.
    let was_quiet = end_quiet(channel)?;
    let doing = format!("end the pause of channel \"{name}\"");
    let ended = context.call_store(channel, doing, async |store| store.resume().await);
    if ended.is_err() && was_quiet == Some(true) {
        context.note(&format!("the master of channel \"{name}\" is no longer quiet"));
    }
    let was_paused = ended?;
    let json = json!({ "was_paused": was_paused, "was_quiet": was_quiet });
    Ok(ChannelDone::new(channel, render(name, was_paused, was_quiet), json))
}

/// Ends the quiet mode of the master on this machine. Returns whether it was quiet; `None` without a master.
fn end_quiet(channel: &Channel) -> Result<Option<bool>, Failure> {
    let take = |response| match response {
        ControlResponse::Resumed { was_quiet } => Some(was_quiet),
        _ => None,
    };
    match control::query(channel, ControlRequest::Resume, |_| {}, take) {
        MasterState::NotRunning => Ok(None),
        MasterState::Hidden(denied) => {
            Err(control::hidden(&format!("resume the master of channel \"{}\"", channel.name), denied))
        }
        // Another store on a server may have its masters on other machines.
        MasterState::Elsewhere(other) if !other.refuses_changes() => Ok(None),
        MasterState::Elsewhere(other) => Err(other.failure(format!("resume channel \"{}\"", channel.name))),
        MasterState::Responding { answer, .. } => Ok(Some(answer)),
        // A master that is too old for this request has no quiet mode.
        MasterState::NotResponding { error: ControlError::UnknownRequest, .. } => Ok(Some(false)),
        MasterState::NotResponding { error, .. } => {
            let hint = match error {
                ControlError::Unexpected => "",
                _ => "the pause of the channel was not changed; check the log of the master and try again",
            };
            let doing = format!("resume the master of channel \"{}\"", channel.name);
            Err(Failure::new(Exit::Failed, doing).because(error).hint(hint))
        }
    }
}

fn render(channel: &str, was_paused: bool, was_quiet: Option<bool>) -> String {
    match (was_paused, was_quiet) {
        (true, Some(true)) => {
            format!(
                "Channel \"{channel}\" is no longer paused, and its master on this machine is no longer quiet."
            )
        }
        (true, _) => format!("Channel \"{channel}\" is no longer paused."),
        (false, Some(true)) => {
            format!("The master of channel \"{channel}\" is no longer quiet; the channel was not paused.")
        }
        (false, Some(false)) => {
            format!(
                "Nothing to resume: channel \"{channel}\" was not paused, and its master on this machine was not quiet."
            )
        }
        (false, None) => {
            format!(
                "Nothing to resume: channel \"{channel}\" was not paused, and it has no master on this machine."
            )
        }
    }
}
