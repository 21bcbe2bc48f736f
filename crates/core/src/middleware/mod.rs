//! Middleware: what stands around jobs.
//!
//! Any [`tower_layer::Layer`] goes around every job with `App::layer`, or around the jobs of one type
//! with [`JobService::with`] in [`Job::layers`](crate::Job::layers). A function goes there with
//! `App::middleware` or [`JobService::wrap`]. Middleware runs in the worker, around the handler.
//! The layers of this module decide whether a job runs now:
//!
//! | layer | lets a job run |
//! |---|---|
//! | [`NoOverlap`] | when fewer than so many jobs with its key run, in all masters of the channel |
//! | [`RateLimit`] | when fewer than so many jobs with its key began within some time, in all masters of the channel |
//! | [`CircuitBreaker`] | unless the last jobs with its key failed in a row, in this master |
//! | [`Skip`] | unless a condition holds |
//!
//! A job that may not run now is released: it goes back to the store without an attempt being counted, and is tried again
//! later. What a run was granted belongs to its master's lease: it is given back when the run ends, however it ends, and
//! when the master is lost, so nothing stays locked behind a crash.
//!
//! ```
//! use std::time::Duration;
//! use aint_queue::job::JobService;
//! use aint_queue::middleware::{NoOverlap, RateLimit};
//! use aint_queue::{App, AsyncJob, Context, JobError};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct SyncAccount { account: u64 }
//!
//! impl AsyncJob for SyncAccount {
//!     const NAME: &'static str = "sync_account";
//!
//!     async fn handle(self, _: Context) -> Result<(), JobError> { Ok(()) }
//!
//!     /// One at a time for each account.
//!     fn layers(service: JobService) -> JobService {
//!         service.with(NoOverlap::by(|call| Ok(call.parse::<Self>()?.account.to_string())))
//!     }
//! }
//!
//! // At most 100 jobs a second in all.
//! let app = App::new().async_job::<SyncAccount>().layer(RateLimit::new(100, Duration::from_secs(1)));
//! ```

mod limits;
mod skip;
mod tower;

pub use limits::{CircuitBreaker, NoOverlap, RateLimit};
pub use skip::Skip;

#[cfg(doc)]
use crate::job::JobService;
