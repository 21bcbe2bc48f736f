//! The real binary at work: masters, guardians, workers, signals, both stores.

#[path = "../support/redis.rs"]
mod redis;
#[path = "../support/site.rs"]
mod site;

mod deaths;
mod drain;
mod limits;
mod output;
mod starts;
mod stops;
mod watch;
