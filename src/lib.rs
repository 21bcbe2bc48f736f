//! aint-queue: a job queue and multi-mode worker-pool runtime.

mod app;
pub mod builtin;
pub mod channel;
mod cli;
pub mod config;
pub mod fd;
pub mod guardian;
pub mod job;
pub mod master;
pub mod metrics;
pub mod pool;
pub mod queue;
pub mod snapshot;
pub mod store;
pub mod wire;
pub mod worker;

pub use app::{App, WORKER_ARGUMENT};
pub use config::Config;
pub use job::{AsyncJob, Context, Job, JobError};
pub use queue::{PushOptions, Queue};
