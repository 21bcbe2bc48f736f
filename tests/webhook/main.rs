//! Webhooks: real masters, real sockets, a real HTTP server as the receiver.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/receiver.rs"]
mod receiver;

mod addresses;
mod channel;
mod concurrency;
mod examples;
mod responses;
mod secrets;
mod signatures;
mod time_limits;
mod tls;
