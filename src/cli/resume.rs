//! `queue:resume`: end what `queue:pause` and `queue:quiet` began.

use clap::Args;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// Let jobs of a channel be taken again, after queue:pause and queue:quiet
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Every declared channel (or name several with --channel)
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
    // The master first: it is ours to free also while the store is away.
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

/// Whether the master on this machine had been quiet; `None` when there is none.
fn end_quiet(channel: &Channel) -> Result<Option<bool>, Failure> {
    if !master::presence(channel).running {
        return Ok(None);
    }
    let doing = || format!("let the master of channel \"{}\" take jobs again", channel.name);
    match master::send_request(&master::socket_path(channel), ControlRequest::Resume, |_| {}) {
        Ok(ControlResponse::Resumed { was_quiet }) => Ok(Some(was_quiet)),
        Ok(_) => Err(per_channel::unexpected_answer(&doing())),
        // It cannot be quiet if it does not know what that is.
        Err(ControlError::UnknownRequest) => Ok(Some(false)),
        // It may have ended between our look and our question.
        Err(_) if !master::presence(channel).running => Ok(None),
        Err(error) => Err(Failure::new(Exit::Failed, doing())
            .because(error)
            .hint("its pause for all masters was not touched; look at the log of the master, and try again")),
    }
}

fn render(channel: &str, was_paused: bool, was_quiet: Option<bool>) -> String {
    match (was_paused, was_quiet) {
        (true, Some(true)) => {
            format!("Channel \"{channel}\" is no longer paused, and its master here no longer quiet.")
        }
        (true, _) => format!("Channel \"{channel}\" is no longer paused."),
        (false, Some(true)) => {
            format!("The master of channel \"{channel}\" is no longer quiet; there was no pause.")
        }
        (false, Some(false)) => {
            format!(
                "There is nothing to end: channel \"{channel}\" was not paused, and its master here not quiet."
            )
        }
        (false, None) => {
            format!(
                "There is nothing to end: channel \"{channel}\" was not paused, and no master of it runs here."
            )
        }
    }
}
