//! The real binary at work: masters, guardians, workers, signals, both stores.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/site.rs"]
mod site;

mod adversaries;
mod confine;
mod control;
mod deaths;
mod drain;
mod fresh;
mod limits;
mod memory;
mod outage;
mod output;
mod reload;
mod service_manager;
mod starts;
mod stdio;
mod stops;
mod unique;
mod watch;
