//! Traces from a producer over workers in other languages to jobs that follow, as a collector gets them.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod collector;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/receiver.rs"]
mod receiver;

mod collector_outages;
mod one_trace;
mod run_spans;
