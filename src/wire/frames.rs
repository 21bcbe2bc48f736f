//! The frames of the worker protocol and its limits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::job::{Failure, JobOptions, LimitClaim, MAX_PAYLOAD_BYTES, Outcome, Response};

/// Version of the protocol, sent in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest line in either direction in bytes, line break included: a payload of 1 MiB and 64 KiB for the other fields.
pub const MAX_LINE: usize = MAX_PAYLOAD_BYTES + (64 << 10);
/// Most open requests of a worker per slot; the master refuses further requests.
pub const MAX_OPEN_REQUESTS: usize = 16;
/// Most jobs of one push frame. Of a frame with more, only the first are kept: enough to refuse it.
pub const MAX_PUSHED_JOBS: usize = 500;
/// The environment variable that names the worker's socket.
pub const FD_VARIABLE: &str = "AINT_QUEUE_FD";
/// The environment variable with the number of jobs that a worker may run at once.
pub const SLOTS_VARIABLE: &str = "AINT_QUEUE_SLOTS";
/// The environment variable with the name of a worker's channel.
pub const CHANNEL_VARIABLE: &str = "AINT_QUEUE_CHANNEL";

/// Number of one delivery of a job to a worker; unique within a master.
pub type RunId = u64;

/// Number of one request of a worker; unique within the worker's life.
pub type RequestId = u64;

/// A frame from the master to a worker.
#[derive(Debug)]
pub enum FromMaster<'a> {
    /// Run a job.
    Run(RunFrame<'a>),
    /// Run the failed callback of a job that has failed for good. Sent only for jobs whose `hello` entry has a callback.
    Failed(RunFrame<'a>, Failure),
    /// End a run that timed out or was cancelled, and report its end.
    Cancel {
        /// The delivery to end.
        run: RunId,
        /// Time until the master kills the worker with all its runs, or replaces it.
        grace: Duration,
    },
    /// The response to a request of a worker.
    Answer {
        /// The request.
        ask: RequestId,
        /// The response.
        answer: Response,
    },
    /// Finish the running jobs, then exit.
    Stop,
}

/// A job that the master delivers to a worker.
#[derive(Debug)]
pub struct RunFrame<'a> {
    /// The delivery.
    pub run: RunId,
    /// Id of the job.
    pub id: u64,
    /// Name of the job.
    pub job: Cow<'a, str>,
    /// Number of the attempt, from 1; for a failed callback, the number of attempts made.
    pub attempt: u32,
    /// Most attempts of the job.
    pub max_attempts: u32,
    /// Time limit of the run in milliseconds; 0 for no limit.
    pub timeout_ms: u64,
    /// Headers set by the producer.
    pub headers: Cow<'a, BTreeMap<String, String>>,
    /// Payload of the job.
    pub payload: &'a RawValue,
}

/// A frame from a worker to the master.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The worker is ready for jobs; the first frame.
    Hello {
        /// Protocol version of the worker.
        protocol: u32,
        /// Number of jobs that the worker can run at once.
        slots: usize,
        /// Jobs with a handler in the worker; empty when the worker does not list them.
        jobs: Vec<JobSpec>,
    },
    /// A run has ended.
    Ended {
        /// The delivery.
        run: RunId,
        /// Outcome of the run.
        outcome: Outcome,
    },
    /// Progress of a run.
    Progress {
        /// The delivery.
        run: RunId,
        /// Percent, 0 to 100.
        percent: f64,
    },
    /// A line for the log.
    Log {
        /// The delivery that the line belongs to, if any.
        run: Option<RunId>,
        /// `error`, `warn`, `info` or `debug`.
        level: String,
        /// Text of the line.
        message: String,
    },
    /// A run pushes jobs; the response is [`Response::Pushed`].
    Push {
        /// The delivery.
        run: RunId,
        /// Number of the request.
        ask: RequestId,
        /// The channel to push to, if not the channel of the run.
        channel: Option<String>,
        /// Each job as a JSON object, in the form shared by all interfaces that push jobs; one more than [`MAX_PUSHED_JOBS`] when
        /// there are more.
        jobs: Vec<String>,
    },
    /// A run requests a lock, a rate or a breaker; the response is [`Response::Granted`] or [`Response::Wait`].
    Claim {
        /// The delivery.
        run: RunId,
        /// Number of the request.
        ask: RequestId,
        /// The lock, rate or breaker.
        claim: LimitClaim,
    },
}

/// A line from a worker, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadFrame {
    /// A frame without a mistake.
    Whole(FromWorker),
    /// A frame with a mistake that does not keep it from counting; the text is for a warning.
    Damaged(FromWorker, String),
    /// A push or claim with a mistake; the response is the error.
    Refused {
        /// The delivery.
        run: RunId,
        /// Number of the request.
        ask: RequestId,
        /// The mistake.
        why: String,
    },
    /// A progress or log frame with a mistake, which is dropped; the text is for a warning.
    Dropped(String),
}

impl ReadFrame {
    /// Whether the frame pushes jobs.
    #[must_use]
    pub fn is_push(&self) -> bool {
        matches!(self, Self::Whole(FromWorker::Push { .. }) | Self::Damaged(FromWorker::Push { .. }, _))
    }
}

/// A job with a handler in a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Name of the job.
    pub name: String,
    /// Options declared by the handler.
    pub options: JobOptions,
}

/// Error of a line that is not a valid frame.
#[derive(Debug, Error)]
pub enum WireError {
    /// The line is longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// The worker's first frame cannot be read: its jobs and slots are unknown.
    #[error("its hello cannot be read: {detail}")]
    UnreadableHello {
        /// The mistake.
        detail: String,
    },
    /// The line is not a frame of this protocol.
    #[error("not a frame: {detail}: {line:?}")]
    NotAFrame {
        /// The mistake.
        detail: String,
        /// The beginning of the line.
        line: String,
    },
}

impl WireError {
    /// The mistake, without the line.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::TooLong => self.to_string(),
            Self::UnreadableHello { detail } | Self::NotAFrame { detail, .. } => detail.clone(),
        }
    }
}

pub(super) fn not_a_frame(detail: impl ToString, line: &[u8]) -> WireError {
    let line = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    WireError::NotAFrame { detail: detail.to_string(), line }
}
