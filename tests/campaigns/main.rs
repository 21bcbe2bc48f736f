//! Faults in numbers. `cargo test` runs a size that fits into every change; `tests/campaign` runs the full one, on a machine
//! that has nothing else to do, and prints the figures.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;

mod kills;
mod measurements;
mod pid_one;
mod signals;
