//! aint-queue: a job queue and multi-mode worker-pool runtime.

pub mod channel;
pub mod config;
mod fd;
pub mod guardian;
pub mod job;
pub mod metrics;
pub mod pool;
pub mod store;
pub mod wire;
pub mod worker;

pub use job::{AsyncJob, Context, Job, JobError};
