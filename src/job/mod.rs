//! Jobs: what a handler sees, what the store keeps, how a run can end.
//!
//! Plain data and two traits. Nothing here talks to a store, a process or a clock, and nothing
//! here uses another module of this crate.

mod handle;
mod id;
mod outcome;
mod payload;
mod record;
mod registry;

pub use handle::{AsyncJob, Context, Job, JobError};
pub use id::{JobId, Timestamp};
pub use outcome::{Failure, JobOptions, Next, Outcome};
pub use payload::{MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, Payload, PayloadError};
pub use record::{
    AttemptError, ErrorKind, FailReason, MAX_CRASHES, MAX_DELAY, MAX_ERROR_BYTES, MAX_ERRORS,
    MAX_HEADER_BYTES, MAX_HEADERS, MAX_UNIQUE_KEY_BYTES, Meta, NewJob, NewJobError, Priority, Record, Start,
    UniqueUntil, bounded, is_job_name,
};
pub(crate) use registry::Handler;
pub use registry::{DuplicateJob, Registry};
