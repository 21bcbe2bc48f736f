//! Requests of commands to the master of a channel on this machine.

use super::{Exit, Failure};
use crate::channel::ChannelStatus;
use crate::config::Channel;
use crate::master::{self, ControlError, ControlRequest, ControlResponse};

/// A channel's master on this machine, with its answer to a request. The process id is unknown in another pid namespace.
#[derive(Debug)]
pub(super) enum MasterState<T> {
    /// No master is running.
    NotRunning,
    /// A master is running but did not answer the request.
    NotResponding { pid: Option<i32>, error: ControlError },
    /// The master answered.
    Responding { pid: Option<i32>, answer: T },
}

impl<T> MasterState<T> {
    pub(super) fn is_running(&self) -> bool {
        !matches!(self, Self::NotRunning)
    }

    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::NotRunning => None,
            Self::NotResponding { pid, .. } | Self::Responding { pid, .. } => *pid,
        }
    }

    pub(super) fn answer(&self) -> Option<&T> {
        if let Self::Responding { answer, .. } = self { Some(answer) } else { None }
    }

    /// Why a running master did not answer.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::NotResponding { error: ControlError::Unexpected, .. } => {
                Some("it sent an unexpected response".to_owned())
            }
            Self::NotResponding { error, .. } => Some(error.to_string()),
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
    let presence = master::presence(channel);
    if !presence.running {
        return MasterState::NotRunning;
    }
    match master::send_request(&master::socket_path(channel), request, progress, take) {
        Ok(answer) => MasterState::Responding { pid: presence.pid, answer },
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
    match query(channel, request, progress, take) {
        MasterState::NotRunning => Err(not_running(doing)),
        MasterState::NotResponding { error, .. } => Err(failure(doing, error)),
        MasterState::Responding { answer, .. } => Ok(answer),
    }
}

/// Fails when no master of the channel runs on this machine.
pub(super) fn require_master(channel: &Channel, doing: &str) -> Result<(), Failure> {
    if master::presence(channel).running {
        return Ok(());
    }
    Err(not_running(doing))
}

fn not_running(doing: &str) -> Failure {
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
        ControlError::Disconnected(_) | ControlError::Refused(_) | ControlError::Unexpected => "",
    };
    Failure::new(Exit::Failed, doing).because(error).hint(hint)
}
