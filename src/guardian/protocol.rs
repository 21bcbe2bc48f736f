//! Every message between a master and its guardian, in both directions.
//!
//! One JSON object per datagram of a SOCK_SEQPACKET socketpair; both ends are always the same executable, so
//! there is no version to agree on. Descriptors travel with the datagram that names them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::handle::{ChildId, Exit};
use super::privileges::Privileges;

/// Longest request, in bytes. A datagram has to fit the socket's send buffer, 208 KiB where nobody changed it.
pub(crate) const MAX_REQUEST: usize = 128 << 10;
/// Longest report, in bytes.
pub(crate) const MAX_REPORT: usize = 8 << 10;

/// What a master asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Start a program. With it come standard output and error, then standard input and the wire if present.
    Spawn(SpawnRequest),
    /// SIGTERM to the child's process group.
    Terminate {
        /// Which child.
        child: u64,
    },
    /// SIGKILL to the child's whole tree.
    Kill {
        /// Which child.
        child: u64,
    },
    /// Keep the descriptor that comes with this open.
    Hold {
        /// Under this name.
        name: String,
    },
    /// Close a held descriptor.
    Release {
        /// Its name.
        name: String,
    },
}

/// A program to start, without its descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub(crate) child: u64,
    /// What it belongs to; stands first in its cookie.
    pub(crate) scope: String,
    /// What it is started as.
    pub(crate) privileges: Privileges,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: bool,
    pub(crate) wire: bool,
}

impl SpawnRequest {
    /// How many descriptors come with it.
    pub(crate) fn fds(&self) -> usize {
        2 + usize::from(self.stdin) + usize::from(self.wire)
    }
}

/// What a guardian says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The first word: it is in place.
    Ready,
    /// A child runs.
    Spawned { child: u64, pid: i32 },
    /// A child could not be started.
    SpawnFailed { child: u64, error: String, errno: i32 },
    /// A child ended by itself, and its tree is gone.
    Exited { child: u64, code: i32 },
    /// A child was ended by a signal, and its tree is gone.
    Killed { child: u64, signal: i32 },
    /// Something people should know.
    Log { message: String },
}

impl Report {
    /// A child's end.
    pub(crate) fn ended(child: ChildId, exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Exited { child: child.0, code },
            Exit::Signal(signal) => Self::Killed { child: child.0, signal },
        }
    }
}

/// A message as the bytes of one datagram; `None` when it holds a path that is not text.
pub(crate) fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(message).ok()
}

/// A message from the bytes of one datagram.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            child: u64::MAX,
            argv: vec!["sh".into(), "-c".into(), "echo \"ä\n\"".into()],
            env: vec![("A".into(), "=\u{1}".into())],
            cwd: Some("/tmp".into()),
            stdin: true,
            wire: false,
        };
        let bytes = encode(&Request::Spawn(frame)).unwrap();
        let Request::Spawn(back) = decode(&bytes).unwrap() else { panic!("it was a spawn") };
        assert_eq!((back.child, back.fds()), (u64::MAX, 3));
        assert_eq!((back.privileges.nice, &back.privileges.limits[..]), (Some(-5), &[(Limit::Core, 0)][..]));
        assert_eq!(back.argv[2], "echo \"ä\n\"");
        assert_eq!(back.env, [("A".to_owned(), "=\u{1}".to_owned())]);
    }

    #[test]
    fn every_report_round_trips() {
        for report in [
            Report::Ready,
            Report::Spawned { child: 1, pid: 2 },
            Report::SpawnFailed { child: 1, error: "no".into(), errno: 2 },
            Report::ended(ChildId(7), Exit::Code(255)),
            Report::ended(ChildId(7), Exit::Signal(9)),
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
