//! `queue:resume`: ends the effect of `queue:pause` and `queue:quiet`.

use clap::Args;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// Resume a channel after queue:pause and queue:quiet
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// All declared channels (or give --channel more than once)
    #[arg(long, conflicts_with = "channels")]
    all: bool,
}

impl Resume {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = context.channels(self.all)?;
        per_channel::sequentially(context, &channels, |channel| resume(context, channel))
    }
}

fn resume(context: &CommandContext, channel: &Channel) -> Result<ChannelDone, Failure> {
    let name = &channel.name;
    // Resume the master first, because that works even while the store is unavailable.
    let was_quiet = end_quiet(channel)?;
    let store = context.store(channel);
    let ended = store.and_then(|store| {
        let ended = context.block_on(store.resume());
        ended.map_err(|error| Failure::store(format!("end the pause of channel \"{name}\""), error))
    });
    if ended.is_err() && was_quiet == Some(true) {
        context.note(&format!("the master of channel \"{name}\" is no longer quiet"));
    }
    let was_paused = ended?;
    let json = json!({ "channel": name, "was_paused": was_paused, "was_quiet": was_quiet });
    Ok(ChannelDone::new(render(name, was_paused, was_quiet), json))
}

/// Ends the quiet mode of the master on this machine. Returns whether it was quiet; `None` without a master.
fn end_quiet(channel: &Channel) -> Result<Option<bool>, Failure> {
    if !master::presence(channel).running {
        return Ok(None);
    }
    let doing = || format!("resume the master of channel \"{}\"", channel.name);
    match master::send_request(&master::socket_path(channel), ControlRequest::Resume, |_| {}) {
        Ok(ControlResponse::Resumed { was_quiet }) => Ok(Some(was_quiet)),
        Ok(_) => Err(per_channel::unexpected_answer(&doing())),
        // A master that is too old for this request has no quiet mode.
        Err(ControlError::UnknownRequest) => Ok(Some(false)),
        // The master may have exited between the presence check and the request.
        Err(_) if !master::presence(channel).running => Ok(None),
        Err(error) => Err(Failure::new(Exit::Failed, doing())
            .because(error)
            .hint("the pause of the channel was not changed; check the log of the master and try again")),
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
