//! A channel end to end: a store in memory, a real guardian, real worker processes.

#![expect(unreachable_pub, reason = "a test program has no outside; pub marks what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod cancellation;
mod faulty_store;
mod fixture;
mod max_handle_number;
mod misbehaving_workers;
mod modes;
mod outages;
mod quiet;
mod reload;
mod run_outcomes;
mod unique_keys;
