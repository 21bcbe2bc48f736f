//! The HTTP listener of a real master, over real sockets.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[path = "../support/prometheus.rs"]
mod prometheus_server;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;

mod agreement;
mod client;
mod cut_files;
mod dashboard;
mod full_channel;
mod lifecycle;
mod limits;
mod load;
mod memory;
mod observed;
mod outage;
mod own_dashboard;
mod places;
mod producers;
mod prometheus;
mod pushes;
mod refusals;
