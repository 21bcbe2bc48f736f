//! `queue:stop`: end the master of a channel and wait for it.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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
        // All at once: each may take its stop wait, and the waits must not add up.
        let quiet = session.quiet() || session.json() || !io::stderr().is_terminal();
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let all = MultiProgress::with_draw_target(target);
        let ends: Vec<_> = thread::scope(|scope| {
            let begun: Vec<_> = channels
                .iter()
                .map(|channel| {
                    let progress = all.add(spinner(&channel.name));
                    scope.spawn(move || stop(channel, self.force, &progress))
                })
                .collect();
            begun.into_iter().map(|stop| stop.join().expect("a stop does not panic")).collect()
        });
        let (mut stopped, mut failures) = (Vec::new(), Vec::new());
        for (channel, end) in channels.iter().zip(ends) {
            match end {
                Ok(handed_back) => {
                    stopped.push(json!({ "channel": channel.name, "handed_back": handed_back }));
                    if !session.json() {
                        session.print(&render(&channel.name, handed_back))?;
                    }
                }
                Err(failure) => failures.push(failure),
            }
        }
        if session.json() {
            session.print_json(&stopped)?;
        } else if channels.is_empty() {
            session.print("No master is running.\n")?;
        }
        // One that could not be stopped does not hide what became of the others.
        let last = failures.pop();
        failures.iter().for_each(|failure| session.report(failure));
        last.map_or(Ok(()), Err)
    }
}

/// Stops one channel; answers how many jobs were handed back.
fn stop(channel: &Channel, force: bool, progress: &ProgressBar) -> Result<usize, Failure> {
    let doing = || format!("stop channel \"{}\"", channel.name);
    if !master::presence(channel).running {
        return Err(Failure::new(Exit::Running, doing())
            .because("its master is not running")
            .hint("queue:listen starts one; queue:status tells whether one runs"));
    }
    let answer = master::ask(&master::socket(channel), Request::Stop { force }, |report| {
        let shown = text::jobs(report.running as u64);
        progress.set_message(format!("{}: waiting for {shown} to finish", channel.name));
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

fn spinner(channel: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a valid template");
    ProgressBar::new_spinner().with_style(style).with_message(format!("{channel}: stopping"))
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
