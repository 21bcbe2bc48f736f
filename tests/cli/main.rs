//! The real binary, run as people run it: arguments in, exit code and both streams out.
//!
//! Each test has a directory and a store of its own. What the commands said is compared as one transcript per test, with
//! ids, times and paths filtered.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod bulk;
mod cancel;
mod clear;
mod config;
mod demo;
mod failed;
mod fixture;
mod general;
mod library;
mod operate;
mod push;
mod redis;
mod status;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test binary needs its own part of it")]
mod support;
mod sync;
