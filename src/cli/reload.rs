//! `queue:reload`: let new workers take over, and wait for it.

use std::thread;

use clap::Args;
use serde_json::json;

use super::drain::{Drain, Screen};
use super::{Exit, Failure, Session, each, table, text};
use crate::config::Channel;
use crate::master::{self, Answer, Request};
use crate::pool::{Member, Renewed, Turnover};

/// Let the master of a channel read its configuration again and new workers take over, and wait for that
#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Every channel that has a master (or name several with --channel)
    #[arg(long, conflicts_with = "channels")]
    all: bool,
}

/// What a channel's reload has changed.
struct Changes {
    renewed: Renewed,
    restart: Vec<String>,
    program_replaced: bool,
}

impl Reload {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        // It is about to be put in force.
        session.checked_config()?;
        let mut channels = session.channels(self.all)?;
        if self.all {
            channels.retain(|channel| master::presence(channel).running);
        }
        let screen = Screen::of(session);
        let ends: Vec<_> = thread::scope(|scope| {
            let begun: Vec<_> = channels
                .iter()
                .map(|channel| {
                    let progress = screen.channel(&channel.name, "reloading");
                    scope.spawn(move || reload(channel, progress))
                })
                .collect();
            begun.into_iter().map(|reload| reload.join().expect("a reload does not panic")).collect()
        });
        let (mut reloaded, mut failures) = (Vec::new(), Vec::new());
        for (channel, end) in channels.iter().zip(ends) {
            match end {
                Ok(changes) => {
                    if !session.json() {
                        session.print(&render(&channel.name, &changes))?;
                    }
                    let Changes { renewed, restart, program_replaced } = changes;
                    if !session.json() {
                        warn(session, &channel.name, &restart, program_replaced);
                    }
                    reloaded.push(json!({
                        "channel": channel.name,
                        "generation": renewed.generation,
                        "workers": renewed.workers,
                        "handed_back": renewed.handed_back,
                        "restart": restart,
                        "program_replaced": program_replaced,
                    }));
                }
                Err(failure) => failures.push(failure),
            }
        }
        if session.json() {
            session.print_json(&reloaded)?;
        } else if channels.is_empty() {
            session.print("No master is running.\n")?;
        }
        // One that could not be reloaded does not hide what became of the others.
        let last = failures.pop();
        failures.iter().for_each(|failure| session.report(failure));
        last.map_or(Ok(()), Err)
    }
}

fn reload(channel: &Channel, mut progress: Drain) -> Result<Changes, Failure> {
    let doing = || format!("reload channel \"{}\"", channel.name);
    if !master::presence(channel).running {
        return Err(Failure::new(Exit::Running, doing())
            .because("its master is not running")
            .hint("queue:listen starts one; queue:status tells whether one runs"));
    }
    let answer = master::ask(&master::socket(channel), Request::Reload, |report| progress.show(report));
    progress.end();
    match answer {
        Ok(Answer::Reloaded { renewed, restart, program_replaced }) => {
            Ok(Changes { renewed, restart, program_replaced })
        }
        Ok(Answer::NotReloaded { why, invalid }) => {
            let exit = if invalid { Exit::Config } else { Exit::Failed };
            Err(Failure::new(exit, doing()).because(why).hint("everything goes on as before"))
        }
        Ok(_) => Err(each::astray(&doing())),
        Err(error) => Err(each::refused(&doing(), error)),
    }
}

fn render(channel: &str, changes: &Changes) -> String {
    let Changes { renewed: Renewed { generation, workers, handed_back }, .. } = changes;
    let mut shown = format!("Channel \"{channel}\" has been reloaded: generation {generation} serves.\n");
    if !workers.is_empty() {
        let header = ["old pid", "old generation", "new pid", "new generation"];
        shown.push_str(&table::render(&header, workers.iter().map(row)));
    }
    if *handed_back > 0 {
        let jobs = text::jobs(*handed_back as u64);
        shown.push_str(&format!(
            "{jobs} did not finish within stop_wait_seconds and will run again, not counted as an attempt.\n"
        ));
    }
    shown
}

fn row(turnover: &Turnover) -> Vec<String> {
    let cells = |member: Option<Member>| match member {
        Some(Member { pid, generation }) => [pid.to_string(), generation.to_string()],
        None => ["-".to_owned(), "-".to_owned()],
    };
    [cells(turnover.old), cells(turnover.new)].concat()
}

fn warn(session: &Session, channel: &str, restart: &[String], program_replaced: bool) {
    if !restart.is_empty() {
        session.warn(&format!(
            "channel \"{channel}\": changed, and in force with the next start of the master only: {}",
            restart.join(", ")
        ));
    }
    if program_replaced {
        session.warn(
            "this program has changed on disk: its workers are the new one, the master is not until it is restarted",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_shown_with_its_successor() {
        let member = |pid, generation| Some(Member { pid, generation });
        let workers = vec![
            Turnover { old: member(10, 1), new: member(12, 2) },
            Turnover { old: None, new: member(13, 2) },
        ];
        let renewed = Renewed { generation: 2, workers, handed_back: 1 };
        let changes = Changes { renewed, restart: Vec::new(), program_replaced: false };
        insta::assert_snapshot!(render("mail", &changes), @r#"
        Channel "mail" has been reloaded: generation 2 serves.
        ┌─────────┬────────────────┬─────────┬────────────────┐
        │ old pid │ old generation │ new pid │ new generation │
        ├─────────┼────────────────┼─────────┼────────────────┤
        │ 10      │ 1              │ 12      │ 2              │
        │ -       │ -              │ 13      │ 2              │
        └─────────┴────────────────┴─────────┴────────────────┘
        1 job did not finish within stop_wait_seconds and will run again, not counted as an attempt.
        "#);
    }
}
