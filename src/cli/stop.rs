//! `queue:stop`: end the master of a channel and wait for it.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::per_channel::{self, ChannelDone};
use super::progress::Progress;
use super::{CommandContext, Exit, Failure, sanitize};
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// How long the lock may take to become free once the channel has ended.
const LOCK_RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Let the master of a channel finish what runs, end it, and wait for that
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Every channel that has a master (or name several with --channel)
    #[arg(long, conflicts_with = "channels")]
    all: bool,
    /// Kill what runs instead of waiting for it; its jobs are handed back
    #[arg(long)]
    force: bool,
}

impl Stop {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = per_channel::with_master(context, self.all)?;
        per_channel::concurrently(context, &channels, "stopping", |channel, progress| {
            let (handed_back, settled) = stop(channel, self.force, progress)?;
            let json = json!({ "channel": channel.name, "handed_back": handed_back, "settled": settled });
            let failure = (!settled).then(|| unsettled(channel));
            Ok(ChannelDone::new(render(&channel.name, handed_back), json).failing(failure))
        })
    }
}

/// Stops one channel; answers how many jobs were handed back, and whether the store heard how all ended.
fn stop(channel: &Channel, force: bool, mut progress: Progress) -> Result<(usize, bool), Failure> {
    let doing = format!("stop channel \"{}\"", channel.name);
    per_channel::require_master(channel, &doing)?;
    // A master that starts, or begins anew, holds the lock for a while before it answers.
    let begun = Instant::now();
    let longest = channel.stop_wait + channel.stop_grace + LOCK_RELEASE_TIMEOUT;
    let answer = loop {
        let asked =
            master::send_request(&master::socket_path(channel), ControlRequest::Stop { force }, |report| {
                progress.show(report)
            });
        match asked {
            Err(ControlError::NotListening { .. })
                if begun.elapsed() < longest && master::presence(channel).running =>
            {
                thread::sleep(POLL_INTERVAL);
            }
            answer => break answer,
        }
    };
    progress.end();
    let ended = match answer {
        Ok(ControlResponse::Stopped { handed_back, settled }) => (handed_back, settled),
        Ok(_) => (0, true),
        // It may have ended for another reason between our look and our question.
        Err(_) if !master::presence(channel).running => (0, true),
        Err(error) => return Err(per_channel::control_failure(&doing, error)),
    };
    let begun = Instant::now();
    while master::presence(channel).running {
        if begun.elapsed() > LOCK_RELEASE_TIMEOUT {
            return Err(Failure::new(Exit::Failed, doing)
                .because("its master has said goodbye and still holds the lock")
                .hint("look at its log, and at its process with queue:status"));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(ended)
}

/// The channel has stopped, and its store does not know of everything.
fn unsettled(channel: &Channel) -> Failure {
    Failure::new(Exit::Failed, format!("tell the store of channel \"{}\" how its last jobs ended", channel.name))
        .because("the store did not answer in time")
        .hint("nothing is lost: the next master, or the end of the lease, lets those jobs run again, also if they were done")
}

fn render(channel: &str, handed_back: usize) -> String {
    match handed_back {
        0 => format!("Channel \"{channel}\" has stopped."),
        n => {
            let jobs = sanitize::jobs(n as u64);
            format!("Channel \"{channel}\" has stopped; {jobs} did not finish and will run again.")
        }
    }
}
