//! The real binary: arguments in, exit code, standard output and standard error out.
//!
//! Each test has its own directory and store. The output of its commands is compared as one transcript, with ids, times and
//! paths replaced.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod bulk;
mod cancel;
mod clear;
mod completion;
mod config;
mod demo;
mod failed;
mod fixture;
mod general;
mod jobs;
mod library;
mod operate;
mod push;
mod redis;
mod status;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test binary needs its own part of it")]
mod support;
mod sync;
mod target;
mod width;
