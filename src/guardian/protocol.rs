//! The messages between a master and its guardian, in both directions.
//!
//! Each message is one JSON object in one datagram of a SOCK_SEQPACKET socketpair. Both ends are always the same
//! executable, so the protocol has no version. Descriptors are attached to the datagram that refers to them.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::{ChildEvent, ChildId};
use super::privileges::Privileges;

/// Longest request, in bytes. A datagram must fit the socket's send buffer, 208 KiB by default on Linux.
pub(crate) const MAX_REQUEST: usize = 128 << 10;
/// Longest report, in bytes.
pub(crate) const MAX_REPORT: usize = 8 << 10;

/// A message from the master to its guardian.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Start a program. Attached descriptors: standard output, standard error, then standard input and the worker
    /// socket if the request has them.
    Spawn(Box<SpawnRequest>),
    /// SIGTERM to the child's process group.
    Terminate {
        /// The child.
        child: ChildId,
    },
    /// SIGKILL to the child's whole tree.
    Kill {
        /// The child.
        child: ChildId,
    },
    /// Keep the attached descriptor open.
    Hold {
        /// Name under which it is held.
        name: String,
    },
    /// The master lives. Sent while runs are under the guardian, several times within the limit.
    Beat {
        /// The longest silence of the master before its children are ended; `None` when no runs are left.
        silence_limit: Option<Duration>,
    },
    /// Close a held descriptor.
    Release {
        /// Name under which it is held.
        name: String,
    },
}

/// The program of a [`Request::Spawn`], without its descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub(crate) child: ChildId,
    /// Id of the lock that the child belongs to; the first part of its cookie.
    pub(crate) scope: String,
    /// User, niceness and resource limits of the child.
    pub(crate) privileges: Privileges,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: bool,
    pub(crate) wire: bool,
}

impl SpawnRequest {
    /// Number of descriptors attached to the request.
    pub(crate) fn fds(&self) -> usize {
        2 + usize::from(self.stdin) + usize::from(self.wire)
    }
}

/// A message from the guardian to its master.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The guardian is set up; the first report.
    Ready,
    /// A change in the life of a child.
    Child { child: ChildId, event: ChildEvent },
    /// A line for the master's log.
    Log { message: String },
}

/// Encodes a message as the bytes of one datagram; `None` when it contains a path that is not UTF-8.
pub(crate) fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(message).ok()
}

/// Decodes a message from the bytes of one datagram.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardian::handle::Exit;
    use crate::guardian::privileges::Limit;

    #[test]
    fn spawn_request_round_trips() {
        let frame = SpawnRequest {
            scope: String::new(),
            privileges: Privileges {
                nice: Some(-5),
                limits: vec![(Limit::Core, 0)],
                ..Privileges::default()
            },
            child: ChildId(u64::MAX),
            argv: vec!["sh".into(), "-c".into(), "echo \"ä\n\"".into()],
            env: vec![("A".into(), "=\u{1}".into())],
            cwd: Some("/tmp".into()),
            stdin: true,
            wire: false,
        };
        let bytes = encode(&Request::Spawn(frame.into())).unwrap();
        let Request::Spawn(back) = decode(&bytes).unwrap() else { panic!("not a spawn request") };
        assert_eq!((back.child, back.fds()), (ChildId(u64::MAX), 3));
        assert_eq!((back.privileges.nice, &back.privileges.limits[..]), (Some(-5), &[(Limit::Core, 0)][..]));
        assert_eq!(back.argv[2], "echo \"ä\n\"");
        assert_eq!(back.env, [("A".to_owned(), "=\u{1}".to_owned())]);
    }

    #[test]
    fn every_report_round_trips() {
        let of_child = |event| Report::Child { child: ChildId(7), event };
        for report in [
            Report::Ready,
            of_child(ChildEvent::Spawned { pid: 2 }),
            of_child(ChildEvent::SpawnFailed { error: "no".into(), errno: 2 }),
            of_child(ChildEvent::Exited(Exit::Code(255))),
            of_child(ChildEvent::Exited(Exit::Signal(9))),
            of_child(ChildEvent::Exited(Exit::CoreDumped(11))),
            of_child(ChildEvent::Interrupted(Exit::Signal(9))),
            Report::Log { message: "…".into() },
        ] {
            assert_eq!(decode::<Report>(&encode(&report).unwrap()).unwrap(), report);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(decode::<Request>(b"{\"type\":\"dance\"}").is_err());
        assert!(decode::<Request>(b"").is_err());
    }
}
