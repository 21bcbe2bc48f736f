//! `queue:pause`: pauses a channel on all machines.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, time};
use crate::config::Channel;
use crate::job::{MAX_DELAY, Timestamp};
use crate::job_json::time::parse_duration;

/// Let no master on any machine lease jobs of a channel
///
/// Running jobs continue.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
    /// Duration: seconds, or with units such as 10m, 1h30m, 2d [default: until queue:resume]
    #[arg(long = "for", value_name = "TIME", value_parser = length, allow_negative_numbers = true)]
    time: Option<Duration>,
}

/// Parses the duration of a pause.
fn length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text)?;
    match length {
        Duration::ZERO => Err("the pause must be longer than 0".to_owned()),
        length if length > MAX_DELAY => Err("the pause can be at most ten years".to_owned()),
        length => Ok(length),
    }
}

impl Pause {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        per_channel::sequentially(context, &context.channels(self.all)?, |channel| {
            pause(context, channel, self.time)
        })
    }
}

/// Pauses a channel for this time, or until it is resumed.
pub(super) fn pause(
    context: &CommandContext,
    channel: &Channel,
    length: Option<Duration>,
) -> Result<ChannelDone, Failure> {
    let name = &channel.name;
    let doing = format!("pause channel \"{name}\"");
    context.check_store(channel, &doing)?;
    // The pause is in the store, so a missing one is created.
    let store = context.store(channel)?;
    let paused = context.block_on(store.pause(length));
    let until = paused.map_err(|error| Failure::store(doing, error))?;
    let json = json!({ "paused": true, "paused_until": until.and_then(time::rfc3339) });
    Ok(ChannelDone::new(channel, render(name, until), json))
}

fn render(channel: &str, until: Option<Timestamp>) -> String {
    let until = match until {
        None => "until queue:resume".to_owned(),
        Some(until) => format!("until {} or queue:resume", time::local(until)),
    };
    format!("Channel \"{channel}\" is paused {until}: no master leases its jobs.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_length_is_bounded() {
        assert_eq!(length("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(length("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["0", "-5", "soon", "11y", "1e30"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
