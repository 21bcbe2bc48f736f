//! Requests of running jobs (pushes and claims), on their way to the channel.

use crate::guardian::handle::ChildId;
use crate::job::{JobId, LimitClaim};
use crate::producer_memory::{AnswerReservation, Reservation};
use crate::wire::{RequestId, RunId};

/// A request of a run.
#[derive(Debug)]
pub struct RunRequest {
    /// The run.
    pub run: RunId,
    /// The job of the run.
    pub id: JobId,
    /// The address of the response.
    pub reply: ReplyTo,
    /// The request itself.
    pub request: RequestKind,
    /// The memory of a push, reserved until the store has the jobs.
    pub memory: Option<Reservation>,
}

/// The address of a response, for [`Pool::respond`](super::Pool::respond).
#[derive(Debug)]
pub struct ReplyTo {
    pub(super) child: ChildId,
    pub(super) request: RequestId,
    /// The memory of the response, until the worker has read it.
    pub(super) memory: Option<AnswerReservation>,
}

/// The kinds of requests a run can make.
#[derive(Clone, Debug)]
pub enum RequestKind {
    /// Push jobs, each in its JSON form.
    Push {
        /// The target channel; the run's own when absent.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<String>,
    },
    /// Take a lock, a rate token or a breaker before the run continues.
    Claim(LimitClaim),
}
