//! The part of aint-queue for producers and job handlers: jobs, queues, configuration, stores.
//!
//! Programs depend on `aint-queue`, which re-exports this crate. The hidden modules are for the engine in that package and
//! have no stability promise.

#[doc(hidden)]
pub mod access;
#[doc(hidden)]
pub mod condition;
pub mod config;
#[doc(hidden)]
pub mod dangling_link;
#[doc(hidden)]
pub mod durations;
#[doc(hidden)]
pub mod executor;
#[doc(hidden)]
pub mod in_process;
pub mod job;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod job_json;
#[doc(hidden)]
pub mod known_directories;
#[doc(hidden)]
pub mod limits;
mod log_macros;
pub mod middleware;
#[doc(hidden)]
pub mod mutex;
#[doc(hidden)]
pub mod otel;
pub mod queue;
#[doc(hidden)]
pub mod queue_set;
#[doc(hidden)]
pub mod retry;
pub mod store;
#[doc(hidden)]
pub mod suggest;
#[doc(hidden)]
pub mod trust;

pub use config::Config;
pub use job::{AsyncFailedFn, AsyncJob, Context, FailedFn, Failure, Job, JobError, Priority};
pub use queue::{PushOptions, Queue};
