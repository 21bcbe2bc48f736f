//! `queue:stop`: stops the master of a channel and waits for its exit.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::control::{self, MasterState};
use super::per_channel::{self, ChannelDone};
use super::progress::Progress;
use super::{CommandContext, Exit, Failure, render};
use crate::config::Channel;
use crate::control::{ControlError, ControlRequest, ControlResponse};
use crate::master;

/// How long the lock may take to become free after the channel has stopped.
const LOCK_RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two checks of the lock.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Stop the master after its running jobs; wait for it
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// All channels with a master (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
    /// Kill running jobs instead of waiting for them; they run again later
    #[arg(long)]
    force: bool,
}

impl Stop {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = per_channel::with_master(context, self.all)?;
        // Nothing to stop is the result that a stop is for.
        if channels.is_empty() && !context.json() {
            context.print("No master is running.\n")?;
        }
        per_channel::concurrently(context, &channels, "stopping", |channel, progress| {
            let Stopped { jobs: StoppedJobs { handed_back, interrupted, settled }, warning } =
                stop(channel, self.force, progress)?;
            let json = json!({ "handed_back": handed_back, "interrupted": interrupted, "settled": settled });
            let failure = (!settled).then(|| unsettled(channel));
            let done = ChannelDone::new(channel, render(&channel.name, interrupted), json);
            Ok(ChannelDone { failure, warnings: warning.into_iter().collect(), ..done })
        })
    }
}

/// The end of a channel.
struct Stopped {
    jobs: StoppedJobs,
    /// The store of the master, if it was another one than the configuration means now.
    warning: Option<String>,
}

/// The jobs of a channel at its end.
#[derive(Clone, Copy)]
struct StoppedJobs {
    /// Number of released jobs, also those that had not begun.
    handed_back: usize,
    /// Number of released jobs that ran.
    interrupted: usize,
    /// Whether the store recorded the end of every job.
    settled: bool,
}

impl StoppedJobs {
    const NONE: Self = Self { handed_back: 0, interrupted: 0, settled: true };
}

/// Stops one channel.
fn stop(channel: &Channel, force: bool, mut progress: Progress) -> Result<Stopped, Failure> {
    let doing = format!("stop channel \"{}\"", channel.name);
    let other = control::require_master(channel, &doing)?;
    // A master that is starting or re-executing holds the lock for a while before its control socket answers.
    let begun = Instant::now();
    let longest = channel.stop_wait + channel.stop_grace + LOCK_RELEASE_TIMEOUT;
    let jobs = loop {
        let request = ControlRequest::Stop { force };
        match control::query(channel, request, |report| progress.show(report), stopped) {
            MasterState::Responding { answer, .. } => break answer,
            // The master has exited for another reason.
            MasterState::NotRunning => break StoppedJobs::NONE,
            MasterState::Hidden(denied) => return Err(control::hidden(&doing, denied)),
            MasterState::Elsewhere(other) => return Err(other.failure(doing)),
            MasterState::NotResponding { error: ControlError::NotListening { .. }, .. }
                if begun.elapsed() < longest =>
            {
                thread::sleep(POLL_INTERVAL);
            }
            MasterState::NotResponding { error, .. } => return Err(control::failure(&doing, error)),
        }
    };
    drop(progress);
    let begun = Instant::now();
    while master::presence(channel).running {
        if begun.elapsed() > LOCK_RELEASE_TIMEOUT {
            return Err(Failure::new(Exit::Failed, doing)
                .because("the channel has stopped, but its master still holds the lock")
                .hint("check the log of the master, and queue:status"));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(Stopped { jobs, warning: other.map(|other| other.clause()) })
}

fn stopped(response: ControlResponse) -> Option<StoppedJobs> {
    let ControlResponse::Stopped { handed_back, interrupted, settled } = response else {
        return Some(StoppedJobs::NONE);
    };
    // A master of an earlier version does not tell which of the jobs ran.
    Some(StoppedJobs { handed_back, interrupted: interrupted.unwrap_or(handed_back), settled })
}

/// The failure when a channel has stopped but its store did not record the end of every job.
fn unsettled(channel: &Channel) -> Failure {
    Failure::new(Exit::Failed, format!("settle the last jobs of channel \"{}\"", channel.name))
        .because("the store did not answer in time")
        .hint(
            "these jobs run again with the next master or when the lease expires, even if they were done; if queue:status reports \
             damage of the store, see its remedy first",
        )
}

fn render(channel: &str, interrupted: usize) -> String {
    match interrupted {
        0 => format!("Channel \"{channel}\" has stopped."),
        n => {
            let jobs = render::jobs(n as u64);
            format!("Channel \"{channel}\" has stopped; {jobs} did not finish and will run again.")
        }
    }
}
