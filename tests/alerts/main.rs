//! Receivers of alerts: real HTTP and SMTP servers on loopback that answer, refuse, hang, redirect and break off.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]
#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/wait.rs"]
mod wait;

mod chat;
mod fixture;
mod isolation;
mod mail;
mod program;
mod smtp_sink;
