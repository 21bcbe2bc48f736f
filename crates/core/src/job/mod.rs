//! Jobs: the traits of handlers, the stored form of a job, the outcomes of a run.
//!
//! Plain data and two traits. This module uses no store, process or clock, and no other module of this crate but `durations`.

mod app_state;
mod context;
mod error;
mod handler;
mod id;
mod job_requests;
mod new_job;
mod outbox;
mod outcome;
mod output;
mod panic;
mod payload;
mod payload_mismatch;
mod push_options;
mod record;
mod registry;
mod service;
mod surrogates;
mod trace;
mod traits;

#[doc(hidden)]
pub use app_state::AppState;
pub use context::Context;
#[doc(hidden)]
pub use context::ContextParts;
pub use error::JobError;
#[doc(hidden)]
pub use error::error_chain;
pub use handler::RunFuture;
#[doc(hidden)]
pub use handler::{FailedCallback, HandlerFn, JobHandler, parse};
pub use id::{InvalidJobId, JobId, Timestamp};
#[doc(hidden)]
pub use job_requests::{JobRequest, RunHost};
pub use job_requests::{LimitClaim, LimitDecision, PendingResponse, RequestError, Response};
pub use new_job::{NewJob, NewJobError, Start};
pub use outbox::Outbox;
pub use outcome::{Failure, JobOptions, Outcome, RetryDecision};
pub use output::{
    JobOutput, MAX_OUTPUT_BYTES, MAX_OUTPUT_LINE_BYTES, MAX_OUTPUT_LINES, OutputLine, OutputStream,
};
#[doc(hidden)]
pub use panic::{CatchPanic, catch_panic, install_panic_hook};
#[doc(hidden)]
pub use payload::depth;
pub use payload::{MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, Payload, PayloadError};
pub use push_options::{Asynchronous, Blocking, PushOptions, Pushable};
pub use record::{
    AttemptError, ErrorKind, FailReason, Isolation, JobMeta, JobRecord, MAX_CRASHES, MAX_DELAY,
    MAX_ERROR_BYTES, MAX_ERRORS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_UNIQUE_KEY_BYTES, Priority, ProcessEnd,
    UniqueUntil, is_job_name, truncated,
};
pub use registry::{DuplicateJob, Registry};
pub use service::{JobCall, JobService};
#[doc(hidden)]
pub use surrogates::mend_surrogates;
#[doc(hidden)]
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext, TraceId, inherit_trace};
pub use traits::{AsyncFailedFn, AsyncJob, FailedFn, Job};
