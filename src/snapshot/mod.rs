//! Snapshots: the counts of a channel at a time, passed to handlers.
//!
//! `ticker` takes samples of a channel for its metrics, at the pace of its viewers (`attention`). Once per
//! interval it passes the counts to the configured handlers (`handler`): the log (`log`) and commands (`command`). Each handler
//! has its own task and gets one snapshot at a time, so a handler that is slow, fails or hangs misses snapshots but delays neither
//! jobs nor other handlers.

mod attention;
mod command;
mod handler;
mod log;
mod ticker;

pub use attention::Attention;
pub use handler::{HandlerError, Snapshot, SnapshotHandler};
pub use ticker::{SampledChannel, handlers, run};
