//! Requests of commands to the master of a channel on this machine.

use super::other_store::OtherStore;
use super::{Exit, Failure, sanitize};
use crate::access::Denied;
use crate::channel::ChannelStatus;
use crate::config::Channel;
use crate::control::{Answered, ControlError, ControlRequest, ControlResponse, ControlSocket, KnownOutput};
use crate::job::JobId;
use crate::master;
use crate::pool::OutputPage;
use crate::store::StoreIdentity;

/// A channel's master on this machine, with its answer to a request. The process id is unknown in another pid namespace.
#[derive(Debug)]
pub(super) enum MasterState<T> {
    /// No master is running.
    NotRunning,
    /// This user may not see whether a master is running.
    Hidden(Denied),
    /// A master is running but did not answer the request.
    NotResponding { pid: Option<i32>, error: ControlError },
    /// A master is running in the run directory of the channel, but for another store. Nothing was asked.
    Elsewhere(OtherStore),
    /// The master answered.
    Responding { pid: Option<i32>, answer: T, place: ServedPlace },
}

/// The store of a master that answered, compared with the meaning of its paths and of the command.
#[derive(Clone, Debug, Default)]
pub(super) struct ServedPlace {
    /// The store in the answer.
    pub(super) store: Option<StoreIdentity>,
    /// Differences that the master itself sees.
    differences: Vec<String>,
    /// The other store that the command means.
    pub(super) other: Option<OtherStore>,
}

impl ServedPlace {
    /// All differences, for people.
    pub(super) fn differences(&self) -> Vec<String> {
        let other = self.other.iter().map(|other| format!("{}: {}", other.clause(), other.remedy()));
        other.chain(self.differences.iter().cloned()).collect()
    }
}

impl<T> MasterState<T> {
    pub(super) fn is_running(&self) -> bool {
        !matches!(self, Self::NotRunning | Self::Hidden(_) | Self::Elsewhere(_))
    }

    /// Whether a permission of this user keeps the answer from it.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Hidden(_) | Self::NotResponding { error: ControlError::Denied(_), .. })
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::NotRunning | Self::Hidden(_) | Self::Elsewhere(_) => None,
            Self::NotResponding { pid, .. } | Self::Responding { pid, .. } => *pid,
        }
    }

    pub(super) fn answer(&self) -> Option<&T> {
        if let Self::Responding { answer, .. } = self { Some(answer) } else { None }
    }

    /// The differences between what the master serves and what this command means.
    pub(super) fn differences(&self) -> Vec<String> {
        match self {
            Self::Elsewhere(other) => vec![format!("{}: {}", other.clause(), other.remedy())],
            Self::Responding { place, .. } => place.differences(),
            Self::NotRunning | Self::Hidden(_) | Self::NotResponding { .. } => Vec::new(),
        }
    }

    /// Compares the store in the answer of the master with the one that the command has open.
    pub(super) fn compare(&mut self, channel: &Channel, meant: Option<StoreIdentity>) {
        if let Self::Responding { pid, place, .. } = self
            && place.other.is_none()
        {
            place.other = OtherStore::of_reply(channel, *pid, place.store.clone(), meant);
        }
    }

    /// Why a running master did not answer.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::NotResponding { error: ControlError::Unexpected, .. } => {
                Some("it sent an unexpected response".to_owned())
            }
            Self::Hidden(denied) => Some(sanitize::line(&denied.to_string()).into_owned()),
            Self::NotResponding { error, .. } => Some(sanitize::line(&error.to_string()).into_owned()),
            _ => None,
        }
    }
}

/// Sends a request to the master of a channel, if one is running. `progress` gets the status of the channel while the master
/// works on the request; `take` takes the answer out of the response.
pub(super) fn query<T>(
    channel: &Channel,
    request: ControlRequest,
    progress: impl FnMut(&ChannelStatus),
    take: impl FnOnce(ControlResponse) -> Option<T>,
) -> MasterState<T> {
    query_by(channel, request, |socket| crate::control::send_request(socket, request, progress, take))
}

/// Follows the output of a running job through its master, which must be running. `lines` gets the lines as they come.
/// `doing` completes the phrase "could not ...".
pub(super) fn follow(
    channel: &Channel,
    doing: &str,
    id: JobId,
    lines: impl FnMut(&OutputPage),
) -> Result<KnownOutput, Failure> {
    let request = ControlRequest::Output { id, follow: true };
    answered(doing, query_by(channel, request, |socket| crate::control::follow_output(socket, id, lines)))
}

fn query_by<T>(
    channel: &Channel,
    request: ControlRequest,
    send: impl FnOnce(&ControlSocket) -> Result<Answered<T>, ControlError>,
) -> MasterState<T> {
    let presence = master::presence(channel);
    if let Some(denied) = presence.denied {
        return MasterState::Hidden(denied);
    }
    if !presence.running {
        return MasterState::NotRunning;
    }
    let other = OtherStore::of(channel, &presence);
    if let Some(other) = other.as_ref().filter(|other| !other.allows(request)) {
        return MasterState::Elsewhere(other.clone());
    }
    if let Some(distrust) = presence.distrust {
        return MasterState::NotResponding { pid: presence.pid, error: ControlError::Distrusted(distrust) };
    }
    match send(&master::control_socket(channel)) {
        Ok(Answered { answer, store, differences }) => {
            let place = ServedPlace { store, differences, other };
            MasterState::Responding { pid: presence.pid, answer, place }
        }
        // The master may have exited between the presence check and the request.
        Err(_) if !master::presence(channel).running => MasterState::NotRunning,
        Err(error) => MasterState::NotResponding { pid: presence.pid, error },
    }
}

/// As [`query`], for a command that needs the answer. `doing` completes the phrase "could not ...".
pub(super) fn ask<T>(
    channel: &Channel,
    doing: &str,
    request: ControlRequest,
    progress: impl FnMut(&ChannelStatus),
    take: impl FnOnce(ControlResponse) -> Option<T>,
) -> Result<T, Failure> {
    answered(doing, query(channel, request, progress, take))
}

fn answered<T>(doing: &str, state: MasterState<T>) -> Result<T, Failure> {
    match state {
        MasterState::NotRunning => Err(not_running(doing)),
        MasterState::Hidden(denied) => Err(hidden(doing, denied)),
        MasterState::Elsewhere(other) => Err(other.failure(doing)),
        MasterState::NotResponding { error, .. } => Err(failure(doing, error)),
        MasterState::Responding { answer, .. } => Ok(answer),
    }
}

/// Fails when no master of the channel runs on this machine, or when it serves another store than the channel means. Returns
/// the difference if the master is one of this configuration.
pub(super) fn require_master(channel: &Channel, doing: &str) -> Result<Option<OtherStore>, Failure> {
    let presence = master::presence(channel);
    if let Some(denied) = presence.denied {
        return Err(hidden(doing, denied));
    }
    if !presence.running {
        return Err(not_running(doing));
    }
    match OtherStore::of(channel, &presence) {
        Some(other) if !other.is_own => Err(other.failure(doing)),
        other => Ok(other),
    }
}

/// The failure of a command for all masters of this machine when there is none.
pub(super) fn no_master(doing: &str) -> Failure {
    Failure::new(Exit::Running, doing)
        .because("no master of a declared channel is running on this machine")
        .hint("queue:listen starts a master; queue:status shows whether one is running")
}

/// The failure of a command whose user may not see whether a master is running.
pub(super) fn hidden(doing: &str, denied: Denied) -> Failure {
    Failure::new(Exit::Failed, doing).because(denied)
}

/// The failure of a command that needs a master of its channel.
pub(super) fn not_running(doing: &str) -> Failure {
    Failure::new(Exit::Running, doing)
        .because("its master is not running on this machine")
        .hint("queue:listen starts a master; queue:status shows whether one is running")
}

/// The failure of a request to a master, with a remedy.
pub(super) fn failure(doing: &str, error: ControlError) -> Failure {
    let hint = match &error {
        ControlError::UnknownRequest | ControlError::Undecodable(_) => {
            "restart it with this version: queue:stop, then queue:listen"
        }
        ControlError::TimedOut(_) => "check the log of the master, and queue:status",
        ControlError::NotListening { .. } => "it may be starting or stopping: try again, or check its log",
        ControlError::Disconnected(_)
        | ControlError::Refused(_)
        | ControlError::Denied(_)
        | ControlError::Unexpected
        | ControlError::Stranger { .. }
        | ControlError::Distrusted(_)
        | ControlError::TooLong => "",
    };
    let failure = Failure::new(Exit::Failed, doing).hint(hint);
    match error {
        // The text of a master has no lines of its own on the terminal.
        ControlError::Refused(why) => {
            failure.because(ControlError::Refused(sanitize::line(&why).into_owned()))
        }
        error => failure.because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_master_stays_on_its_line() {
        let forged = || ControlError::Refused("no\nerror: \x1b[2Jall is well".to_owned());
        let shown = failure("stop", forged()).to_string();
        assert_eq!(shown, "could not stop: the master refused: no\\nerror: \\u{1b}[2Jall is well");
        let state: MasterState<()> = MasterState::NotResponding { pid: None, error: forged() };
        assert!(!state.error().unwrap().contains(['\n', '\x1b']));
    }
}
