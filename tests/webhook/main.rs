//! Jobs as signed requests: real masters, real sockets, a real HTTP server at the other end.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[path = "../support/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/site.rs"]
mod site;

mod addresses;
mod answers;
mod channel;
mod crowd;
mod examples;
mod limits;
mod secrets;
mod signatures;
mod tls;
