//! The master's side of the control socket.
//!
//! Each channel has a Unix socket in its run directory, mode 0600. The master accepts its own user and root only. `server` and
//! `connection_limit` have the connections, `handlers` the answers to the messages of `control`.

mod connection_limit;
mod handlers;
mod server;

pub(super) use handlers::{ChannelHandlers, MasterShared};
pub(super) use server::{RequestHandler, SocketFile, bind, serve};
