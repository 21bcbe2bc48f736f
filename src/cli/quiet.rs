//! `queue:quiet`: makes a master lease no more jobs.

use clap::Args;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, control, render};
use crate::channel::QuietReply;
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};

/// Let the master on this machine lease no more jobs
///
/// Running jobs continue.
#[derive(Debug, Args)]
pub(crate) struct Quiet {
    /// All channels with a master on this machine (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
}

impl Quiet {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channels = per_channel::with_some_master(context, self.all, "quiet a master")?;
        per_channel::sequentially(context, &channels, quiet)
    }
}

/// Lets the master of a channel on this machine lease no more jobs.
pub(super) fn quiet(channel: &Channel) -> Result<ChannelDone, Failure> {
    let doing = format!("quiet the master of channel \"{}\"", channel.name);
    let take = |response| if let ControlResponse::Quiet(reply) = response { Some(reply) } else { None };
    let reply = control::ask(channel, &doing, ControlRequest::Quiet, |_| {}, take)?;
    Ok(ChannelDone::new(channel, render(&channel.name, reply), reply))
}

fn render(channel: &str, reply: QuietReply) -> String {
    let QuietReply { was_quiet, running, handed_back } = reply;
    let mut words = if was_quiet {
        format!("The master of channel \"{channel}\" was already quiet.")
    } else {
        format!("The master of channel \"{channel}\" is quiet: it leases no more jobs until queue:resume.")
    };
    match running {
        0 => {}
        1 => words.push_str(" 1 job is still running."),
        n => words.push_str(&format!(" {n} jobs are still running.")),
    }
    if !was_quiet && handed_back > 0 {
        let waits = if handed_back == 1 { "that had not started is" } else { "that had not started are" };
        words.push_str(&format!(" {} {waits} waiting again.", render::jobs(handed_back as u64)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_line_shows_running_jobs() {
        let said =
            |was_quiet, running, handed_back| render("mail", QuietReply { was_quiet, running, handed_back });
        let quiet = "The master of channel \"mail\" is quiet: it leases no more jobs until queue:resume.";
        assert_eq!(said(false, 0, 0), quiet);
        assert_eq!(
            said(false, 1, 1),
            format!("{quiet} 1 job is still running. 1 job that had not started is waiting again.")
        );
        assert_eq!(
            said(false, 2, 3),
            format!("{quiet} 2 jobs are still running. 3 jobs that had not started are waiting again.")
        );
        assert_eq!(
            said(true, 2, 0),
            "The master of channel \"mail\" was already quiet. 2 jobs are still running."
        );
    }
}
