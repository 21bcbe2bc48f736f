//! Snapshots: the state of a channel at a time, passed to handlers, and its history.
//!
//! `sampler` takes samples of a channel for its metrics and its history (`series`); `ticker` has it do so at the pace of the
//! viewers (`attention`). `values` reads both, and what `trends` remembers, for conditions of alert
//! rules. Once per interval the ticker passes a snapshot to the configured handlers (`handler`): the log (`log`)
//! and commands (`command`). Each handler has its own task and gets one snapshot at a time, so a handler that is slow, fails or
//! hangs misses snapshots but delays neither jobs nor other handlers.

mod attention;
mod command;
mod handler;
mod log;
mod sampler;
mod series;
mod ticker;
mod trends;
mod values;

pub use attention::Attention;
pub use handler::{HandlerError, MasterState, Snapshot, SnapshotHandler};
pub use sampler::{Sampled, Sampler};
pub use series::{Flow, Point, Recent, ScaledAt, Step, StoreValues, WorkerValues};
pub use ticker::{handlers, run};
pub use trends::Trends;
pub use values::{PastValues, PresentValues, failure_rate};
