//! Pools that grow, shrink and mend themselves: the real binary, real workers, sampled while they work.
//!
//! The sizes are those for every change. `tests/campaign --test elastic` runs the full ones, on a machine that has
//! nothing else to do: there the times are those that are promised, here they are longer.

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

/// Whether the full sizes are asked for.
pub fn is_full() -> bool {
    std::env::var_os("AINT_QUEUE_CAMPAIGN").is_some_and(|size| size == "full")
}

/// The small size, or the full one.
pub fn size(small: u64, full: u64) -> u64 {
    if is_full() { full } else { small }
}

/// What is promised to take no longer than this; a busy machine gets more time.
pub fn time_limit(limit: Duration) -> Duration {
    if is_full() { limit } else { limit * 5 }
}
