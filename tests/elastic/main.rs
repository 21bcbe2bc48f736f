//! Pools that grow, shrink and recover: the program under test with real workers, sampled while they work.
//!
//! `cargo test` runs small sizes and allows more time than is promised. `tests/campaign --test elastic` runs full sizes on an
//! idle machine and asserts the promised times.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;

mod crash_loop;
mod demand;
mod memory;
mod reload;
mod samples;
mod stuck;

use std::time::Duration;

/// Whether the tests run in full size.
pub fn is_full() -> bool {
    std::env::var_os("AINT_QUEUE_CAMPAIGN").is_some_and(|size| size == "full")
}

/// The size of a test: `small`, or `full` in full size.
pub fn size(small: u64, full: u64) -> u64 {
    if is_full() { full } else { small }
}

/// The time limit of a test: the promised one in full size, more on a machine that is busy with other tests.
pub fn time_limit(limit: Duration) -> Duration {
    if is_full() { limit } else { limit * 5 }
}
