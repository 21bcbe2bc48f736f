//! Errors of a master's start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::run_dir::{LockError, RunDirError};
use crate::guardian::AccountError;
use crate::store::StoreError;

/// The reason why channels cannot be served.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The run directory is unusable.
    #[error("could not use the run directory of channel \"{channel}\"")]
    RunDir {
        /// The channel.
        channel: String,
        /// The cause.
        #[source]
        source: RunDirError,
    },
    /// Another master serves the channel, or its lock is unusable.
    #[error("could not become the master of channel \"{channel}\"")]
    Lock {
        /// The channel.
        channel: String,
        /// The cause.
        #[source]
        source: LockError,
    },
    /// The program of a channel's jobs does not exist or is not executable.
    #[error("could not find the program of channel \"{channel}\": {why}")]
    Program {
        /// The channel.
        channel: String,
        /// The problem and the remedy.
        why: String,
    },
    /// The configured user or group of a channel's workers is unusable.
    #[error("could not start workers of channel \"{channel}\"")]
    Account {
        /// The channel.
        channel: String,
        /// The cause.
        #[source]
        source: AccountError,
    },
    /// The store of a channel cannot be opened.
    #[error("could not use the store of channel \"{channel}\"")]
    Store {
        /// The channel.
        channel: String,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// A handler of snapshots cannot be registered under its name.
    #[error("could not use the name \"{name}\" of a snapshot handler of this program: {why}")]
    SnapshotHandler {
        /// The name.
        name: String,
        /// The problem or the remedy.
        why: &'static str,
    },
    /// The control socket cannot be bound.
    #[error("could not open the control socket \"{path}\"")]
    Control {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The address of a listener is taken or not one of this machine.
    #[error("could not listen on {address} ({key})")]
    Address {
        /// The key of the configuration that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A channel's actor panicked: a bug of this program.
    #[error("a bug of aint-queue ended a channel; please report it with the log")]
    Panicked,
    /// A system call failed that every master needs.
    #[error("could not start")]
    System(#[source] io::Error),
}
