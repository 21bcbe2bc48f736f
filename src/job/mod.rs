//! Jobs: what a handler sees, what the store keeps, how a run can end.
//!
//! Plain data and two traits. Nothing here talks to a store, a process or a clock, and nothing
//! here uses another module of this crate.

mod ask;
mod context;
mod error;
mod handle;
mod id;
mod new;
mod outbox;
mod outcome;
mod panic;
mod payload;
mod push;
mod record;
mod registry;
mod service;
mod state;

pub use ask::{Answer, AskError, Asking, Claim, Claimed};
pub(crate) use ask::{Ask, Link};
pub(crate) use context::About;
pub use context::Context;
pub use error::JobError;
pub(crate) use error::explained;
pub use handle::{AsyncFailedFn, AsyncJob, FailedFn, Job};
pub use id::{JobId, NotAnId, Timestamp};
pub use new::{NewJob, NewJobError, Start};
pub use outbox::Outbox;
pub use outcome::{Failure, JobOptions, Next, Outcome};
pub(crate) use panic::{Caught, caught, remember_panics};
pub use payload::{MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, Payload, PayloadError};
pub use push::{Asynchronous, Blocking, PushOptions, Pushable};
pub use record::{
    AttemptError, ErrorKind, FailReason, MAX_CRASHES, MAX_DELAY, MAX_ERROR_BYTES, MAX_ERRORS,
    MAX_HEADER_BYTES, MAX_HEADERS, MAX_UNIQUE_KEY_BYTES, Meta, Priority, Record, UniqueUntil, bounded,
    is_job_name,
};
pub(crate) use registry::{Callback, Handler, Runner, parse};
pub use registry::{DuplicateJob, Registry};
pub use service::{JobCall, JobService, Running};
pub(crate) use state::State;
