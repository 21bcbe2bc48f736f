//! `queue:stop`: end the master of a channel and wait for it.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Exit, Failure, Session, text};
use crate::config::Channel;
use crate::master::{self, Answer, Request};

/// How long the lock may take to become free once the channel has ended.
const PATIENCE: Duration = Duration::from_secs(5);

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
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut channels = session.channels(self.all)?;
        if self.all {
            channels.retain(|channel| master::presence(channel).running);
        }
        let mut stopped = Vec::new();
        for channel in channels {
            let handed_back = stop(session, channel, self.force)?;
            stopped.push(json!({ "channel": channel.name, "handed_back": handed_back }));
            if !session.json() {
                session.print(&render(&channel.name, handed_back))?;
            }
        }
        if session.json() {
            session.print_json(&stopped)?;
        } else if stopped.is_empty() {
            session.print("No master is running.\n")?;
        }
        Ok(())
    }
}

/// Stops one channel; answers how many jobs were handed back.
fn stop(session: &Session, channel: &Channel, force: bool) -> Result<usize, Failure> {
    let doing = || format!("stop channel \"{}\"", channel.name);
    if !master::presence(channel).running {
        return Err(Failure::new(Exit::Running, doing())
            .because("its master is not running")
            .hint("queue:listen starts one; queue:status tells whether one runs"));
    }
    let progress = progress(session);
    let answer = master::ask(&master::socket(channel), Request::Stop { force }, |report| {
        let shown = text::jobs(report.running as u64);
        progress.set_message(format!("waiting for {shown} to finish"));
        progress.tick();
    });
    progress.finish_and_clear();
    let handed_back = match answer {
        Ok(Answer::Stopped { handed_back, .. }) => handed_back,
        Ok(_) => 0,
        // It may have ended for another reason between our look and our question.
        Err(_) if !master::presence(channel).running => 0,
        Err(error) => return Err(Failure::new(Exit::Failed, doing()).because(error)),
    };
    let begun = Instant::now();
    while master::presence(channel).running {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(Exit::Failed, doing())
                .because("its master has said goodbye and still holds the lock")
                .hint("look at its log, and at its process with queue:status"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(handed_back)
}

fn progress(session: &Session) -> ProgressBar {
    if session.quiet() || session.json() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a valid template");
    ProgressBar::new_spinner().with_style(style)
}

fn render(channel: &str, handed_back: usize) -> String {
    match handed_back {
        0 => format!("Channel \"{channel}\" has stopped.\n"),
        n => {
            let jobs = text::jobs(n as u64);
            format!("Channel \"{channel}\" has stopped; {jobs} did not finish and will run again.\n")
        }
    }
}
