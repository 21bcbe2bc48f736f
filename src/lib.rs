//! aint-queue: a job queue and multi-mode worker-pool runtime.

pub mod config;
pub mod fd;
pub mod guardian;
pub mod job;
pub mod pool;
pub mod store;
pub mod wire;

pub use job::{AsyncJob, Context, Job, JobError};
