//! A command over several channels: one that fails does not keep it from the others.

use serde_json::Value;

use super::{Exit, Failure, Session};
use crate::config::Channel;
use crate::master::{self, Answer, ControlError, Request};

/// What was done in one channel: a line for people, an object for programs.
pub(super) struct Done {
    pub(super) words: String,
    pub(super) json: Value,
}

/// Does something in each channel and tells of it. Programs get an array, whatever failed.
pub(super) fn channel(
    session: &Session,
    channels: &[&Channel],
    mut act: impl FnMut(&Channel) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for channel in channels {
        match act(channel) {
            Ok(Done { words, json }) => {
                done.push(json);
                if !session.json() {
                    session.print(&format!("{words}\n"))?;
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    if session.json() {
        session.print_json(&done)?;
    }
    let last = failures.pop();
    failures.iter().for_each(|failure| session.report(failure));
    last.map_or(Ok(()), Err)
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

/// Asks the master of a channel for what it does at once. `doing` finishes "could not ...".
pub(super) fn ask(channel: &Channel, doing: &str, request: Request) -> Result<Answer, Failure> {
    if !master::presence(channel).running {
        return Err(Failure::new(Exit::Running, doing)
            .because("its master is not running on this machine")
            .hint("queue:listen starts one; queue:status tells whether one runs"));
    }
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
