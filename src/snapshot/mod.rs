//! Snapshots: the state of a channel at a time, passed to handlers, and its history.
//!
//! `sampler` takes samples of a channel for its metrics and its history (`series`); `ticker` has it do so at the pace of the
//! viewers (`attention`). `values` reads both, and what `trends` remembers, for conditions of alert
//! rules. Once per interval the ticker passes a snapshot to the handlers (`handler`), which run on a thread of
//! their own (`handler_thread`), each one of the program on another (`registered_handler`); `handler_status` has their results. Each
//! handler has its own task and gets one snapshot at a time, so a handler that is slow, fails or hangs misses snapshots but delays
//! neither jobs nor other handlers.

mod attention;
mod handler;
mod handler_status;
mod handler_thread;
mod registered_handler;
mod sampler;
mod series;
mod ticker;
mod trends;
mod values;

pub use attention::Attention;
pub use handler::{AnyHandler, HandlerError, MasterState, NamedHandler, Snapshot, SnapshotHandler};
pub use handler_status::{HandlerStatus, HandlerStatuses};
pub use handler_thread::HandlerThread;
pub use registered_handler::{REGISTERED_THREAD, name_fault, on_own_thread};
pub use sampler::{Sampled, Sampler};
pub use series::{Flow, Point, Recent, ScaledAt, Step, StoreValues, WorkerValues};
pub use ticker::{Handlers, run};
pub use trends::Trends;
pub use values::{PastValues, PresentValues, failure_rate};
