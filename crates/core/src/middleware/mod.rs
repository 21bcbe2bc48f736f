//! Middleware around jobs.
//!
//! `App::layer` wraps every job into a [`tower_layer::Layer`], [`JobService::with`] in
//! [`Job::layers`](crate::Job::layers) the jobs of one type. `App::middleware` and
//! [`JobService::wrap`] take plain functions. Middleware runs in the worker, around the handler. The layers of this module
//! decide whether a job runs now:
//!
//! | layer | lets a job run |
//! |---|---|
//! | [`NoOverlap`] | while fewer than `limit` jobs with its key run, in all masters of the channel |
//! | [`RateLimit`] | while fewer than `count` jobs with its key started within the period, in all masters of the channel |
//! | [`CircuitBreaker`] | unless the last jobs with its key failed in a row, in this master |
//! | [`Skip`] | unless a condition holds |
//!
//! A refused job is released: it returns to the store without a counted attempt and runs later. Granted limits belong to the
//! lease of the master: they are returned at every end of the run, and when the master is lost, so no lock survives a
//! crash.
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
//!     async fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
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
