//! The real binary: masters, guardians, workers, signals, both stores.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../alerts/smtp_sink.rs"]
mod smtp_sink;

mod adversarial_workers;
mod alert_reloads;
mod alerts;
mod broken_config;
mod check;
mod clock;
mod conditions;
mod control;
mod drain;
mod foreign_entries;
mod heartbeats;
mod idle;
mod interrupted_clear;
mod kept_jobs;
mod kills;
mod log_file;
mod masters;
mod monitoring;
mod other_store;
mod outage;
mod output;
mod permissions;
mod privileges;
mod program_change;
mod push_floods;
mod reexec;
mod reload;
mod room;
mod secrets;
mod service_manager;
mod shutdown;
mod snapshot_handlers;
mod startup;
mod stdio;
mod strangers;
mod stuck_log;
mod timeouts;
mod top;
mod unique_keys;
