//! Frames from the master, as owned data.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::job::{Failure, JobId, Payload, Response};
use crate::wire::{FromMaster, RequestId, RunFrame, RunId};

/// A frame from the master.
pub(super) enum Incoming {
    Run(StartRun),
    Cancel(RunId, Duration),
    Answer(RequestId, Response),
    Stop,
}

/// Data of a run to start.
pub(super) struct StartRun {
    pub(super) run: RunId,
    pub(super) id: JobId,
    pub(super) job: String,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) timeout_ms: u64,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) failure: Option<Failure>,
    pub(super) payload: Payload,
}

impl StartRun {
    fn of(frame: RunFrame<'_>, failure: Option<Failure>) -> Self {
        let RunFrame { run, id, job, attempt, max_attempts, timeout_ms, headers, payload } = frame;
        let payload = Payload::from_raw(payload);
        let (id, job, headers) = (JobId(id), job.into_owned(), headers.into_owned());
        Self { run, id, job, attempt, max_attempts, timeout_ms, headers, failure, payload }
    }
}

impl From<FromMaster<'_>> for Incoming {
    fn from(frame: FromMaster<'_>) -> Self {
        match frame {
            FromMaster::Run(frame) => Self::Run(StartRun::of(frame, None)),
            FromMaster::Failed(frame, failure) => Self::Run(StartRun::of(frame, Some(failure))),
            FromMaster::Cancel { run, grace } => Self::Cancel(run, grace),
            FromMaster::Answer { ask, answer } => Self::Answer(ask, answer),
            FromMaster::Stop => Self::Stop,
        }
    }
}
