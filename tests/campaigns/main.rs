//! Repeated faults, with figures. `cargo test` runs a few rounds of each; `tests/campaign` runs the full size on an idle machine
//! and prints the figures.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;

mod alerts;
mod kills;
mod measurements;
mod pid_one;
mod signals;
