//! The messages between a master and its operators, and the way of a command to a master.
//!
//! `protocol` has the requests and answers, `client` sends a request through the control socket of a channel. A master answers
//! in `master/control`.

mod client;
pub mod protocol;
mod socket;

pub use client::{Answered, ControlError, follow_output, send_request};
pub use protocol::{ControlRequest, ControlResponse, KnownOutput};
pub use socket::ControlSocket;
