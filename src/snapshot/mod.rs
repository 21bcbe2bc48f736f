//! Snapshots: the counts of a channel at a time, passed to handlers.
//!
//! `ticker` reads the counts once per interval and passes them to the configured handlers (`handler`): the log (`log`) and
//! commands (`command`). Each handler has its own task and gets one snapshot at a time, so a handler that is slow, fails or
//! hangs misses snapshots but delays neither jobs nor other handlers.

mod command;
mod handler;
mod log;
mod ticker;

pub use handler::{HandlerError, Snapshot, SnapshotHandler};
pub use ticker::{handlers, record, run};
