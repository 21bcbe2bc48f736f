//! A command over several channels: one that fails does not keep it from the others. The exit code is that of the failures
//! where all have failed in the same way, and else that of what was done only in part.

use std::thread;

use serde_json::Value;

use super::drain::{Drain, Screen};
use super::{Exit, Failure, Session};
use crate::config::Channel;
use crate::master::{self, Answer, ControlError, Request};

/// What was done in one channel: lines for people, an object for programs.
pub(super) struct Done {
    words: String,
    json: Value,
    warnings: Vec<String>,
    failure: Option<Failure>,
}

impl Done {
    pub(super) fn new(words: String, json: Value) -> Self {
        Self { words, json, warnings: Vec::new(), failure: None }
    }

    /// People are warned of what programs find in the object.
    pub(super) fn warning(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// It was done, and something about it was not.
    pub(super) fn failing(self, failure: Option<Failure>) -> Self {
        Self { failure, ..self }
    }
}

/// Does something in each channel, one after the other, and tells of it. Programs get an array, whatever failed.
pub(super) fn channel(
    session: &Session,
    channels: &[&Channel],
    act: impl FnMut(&Channel) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    tell(session, channels.iter().copied().map(act))
}

/// The same in all channels at once, each with its progress: what takes long must not add up.
pub(super) fn at_once(
    session: &Session,
    channels: &[&Channel],
    doing: &str,
    act: impl Fn(&Channel, Drain) -> Result<Done, Failure> + Sync,
) -> Result<(), Failure> {
    let (screen, act) = (Screen::of(session), &act);
    let ends: Vec<_> = thread::scope(|scope| {
        let begun: Vec<_> = channels
            .iter()
            .map(|&channel| {
                let progress = screen.channel(&channel.name, doing);
                scope.spawn(move || act(channel, progress))
            })
            .collect();
        begun.into_iter().map(|done| done.join().expect("no command panics")).collect()
    });
    tell(session, ends.into_iter())
}

fn tell(session: &Session, ends: impl Iterator<Item = Result<Done, Failure>>) -> Result<(), Failure> {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for end in ends {
        match end {
            Ok(Done { words, json, warnings, failure }) => {
                done.push(json);
                if !session.json() {
                    session.print(&format!("{words}\n"))?;
                    warnings.iter().for_each(|warning| session.warn(warning));
                }
                failures.extend(failure);
            }
            Err(failure) => failures.push(failure),
        }
    }
    if session.json() {
        session.print_json(&done)?;
    }
    // One that failed does not hide what became of the others.
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(|failure| session.report(failure));
    let is_same = done.is_empty() && failures.iter().all(|failure| failure.exit() == last.exit());
    Err(if is_same { last } else { last.with_exit(Exit::Failed) })
}

/// The channels that a command to their masters is about; with `all`, those that have one on this machine.
pub(super) fn served(session: &Session, all: bool) -> Result<Vec<&Channel>, Failure> {
    let mut channels = session.channels(all)?;
    if all {
        channels.retain(|channel| master::presence(channel).running);
        if channels.is_empty() && !session.json() {
            session.print("No master is running.\n")?;
        }
    }
    Ok(channels)
}

/// That no master is there to do it, unless one is.
pub(super) fn need_master(channel: &Channel, doing: &str) -> Result<(), Failure> {
    if master::presence(channel).running {
        return Ok(());
    }
    Err(Failure::new(Exit::Running, doing)
        .because("its master is not running on this machine")
        .hint("queue:listen starts one; queue:status tells whether one runs"))
}

/// Asks the master of a channel for what it does at once. `doing` finishes "could not ...".
pub(super) fn ask(channel: &Channel, doing: &str, request: Request) -> Result<Answer, Failure> {
    need_master(channel, doing)?;
    master::ask(&master::socket(channel), request, |_| {}).map_err(|error| refused(doing, error))
}

/// Why a master did not do what it was asked, and what to do about it.
pub(super) fn refused(doing: &str, error: ControlError) -> Failure {
    let hint = match &error {
        ControlError::Unknown | ControlError::Garbled(_) => {
            Some("restart it with this version: queue:stop, then queue:listen")
        }
        ControlError::Silent(_) => Some("look at its log, and at its process with queue:status"),
        ControlError::Nobody { .. } => {
            Some("it may be starting or ending just now: try again, and look at its log")
        }
        ControlError::Broken(_) | ControlError::Refused(_) => None,
    };
    let failure = Failure::new(Exit::Failed, doing).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// An answer to another question, which no master gives.
pub(super) fn astray(doing: &str) -> Failure {
    Failure::new(Exit::Failed, doing).because("the master answered something else than was asked")
}
