//! The control socket: how commands talk to a running master.
//!
//! Each channel has a Unix socket in its run directory, mode 0600. The master accepts its own user and root only. `protocol` has
//! the messages, `server` and `connection_limit` the connections, `handlers` the answers, `client` the side of a command.

mod client;
mod connection_limit;
mod handlers;
mod protocol;
mod server;

pub use client::{Answered, ControlError, follow_output, send_request};
pub(super) use handlers::{ChannelHandlers, MasterShared};
pub use protocol::{ControlRequest, ControlResponse, KnownOutput};
pub(super) use server::{SocketFile, bind, serve};
