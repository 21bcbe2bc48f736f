//! Codec of the frames from the master to a worker.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use aint_queue_core::durations::millis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::frames::{FromMaster, RequestId, RunFrame, RunId, WireError, not_a_frame};
use crate::job::{FailReason, Failure, Response};

/// Appends a frame and its line break to `buffer`.
pub fn encode_to_worker(frame: &FromMaster<'_>, buffer: &mut Vec<u8>) {
    serde_json::to_writer(&mut *buffer, &WrittenFrame::from(frame))
        .expect("writing a frame to memory cannot fail");
    buffer.push(b'\n');
}

/// Parses one line from a master, without its line break.
///
/// # Errors
/// When the line is not a frame of a master.
pub fn decode_from_master(line: &[u8]) -> Result<FromMaster<'_>, WireError> {
    // Decode into a flat struct: serde cannot borrow a raw value in an internally tagged enum.
    let mut read: ReadFrame<'_> = serde_json::from_slice(line).map_err(|e| not_a_frame(e, line))?;
    let kind = std::mem::take(&mut read.kind);
    match (kind.as_ref(), read.payload) {
        ("run", Some(payload)) => Ok(FromMaster::Run(read.run_frame(payload))),
        ("failed", Some(payload)) => {
            let reason = read.reason.ok_or_else(|| not_a_frame("\"failed\" needs \"reason\"", line))?;
            let failure = Failure { reason, error: read.error.take().unwrap_or_default() };
            Ok(FromMaster::Failed(read.run_frame(payload), failure))
        }
        ("cancel", _) => {
            Ok(FromMaster::Cancel { run: read.run, grace: Duration::from_millis(read.grace_ms) })
        }
        ("answer", _) => Ok(FromMaster::Answer { ask: read.ask, answer: read.answer() }),
        ("stop", _) => Ok(FromMaster::Stop),
        (kind, _) => Err(not_a_frame(format!("unknown or incomplete \"{kind}\""), line)),
    }
}

/// JSON form of a frame to write.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WrittenFrame<'a> {
    Run(WrittenRun<'a>),
    Failed(WrittenRun<'a>),
    Cancel {
        run: RunId,
        grace_ms: u64,
    },
    Answer {
        ask: RequestId,
        #[serde(skip_serializing_if = "Option::is_none")]
        granted: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ids: Option<&'a [u64]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    },
    Stop,
}

#[derive(Serialize)]
struct WrittenRun<'a> {
    run: RunId,
    id: u64,
    job: &'a str,
    attempt: u32,
    max_attempts: u32,
    timeout_ms: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    payload: &'a RawValue,
}

impl<'a> WrittenRun<'a> {
    fn of(frame: &'a RunFrame<'a>, failure: Option<&'a Failure>) -> Self {
        Self {
            run: frame.run,
            id: frame.id,
            job: &frame.job,
            attempt: frame.attempt,
            max_attempts: frame.max_attempts,
            timeout_ms: frame.timeout_ms,
            headers: &frame.headers,
            reason: failure.map(|f| f.reason),
            error: failure.map(|f| f.error.as_str()),
            payload: frame.payload,
        }
    }
}

impl<'a> From<&'a FromMaster<'a>> for WrittenFrame<'a> {
    fn from(frame: &'a FromMaster<'a>) -> Self {
        match frame {
            FromMaster::Run(frame) => Self::Run(WrittenRun::of(frame, None)),
            FromMaster::Failed(frame, failure) => Self::Failed(WrittenRun::of(frame, Some(failure))),
            FromMaster::Cancel { run, grace } => Self::Cancel { run: *run, grace_ms: millis(*grace) },
            FromMaster::Answer { ask, answer } => {
                let (mut granted, mut wait_ms, mut ids, mut error) = (None, None, None, None);
                match answer {
                    Response::Granted => granted = Some(true),
                    Response::Wait(time) => (granted, wait_ms) = (Some(false), Some(millis(*time))),
                    Response::Pushed(pushed) => ids = Some(pushed.as_slice()),
                    Response::Error(why) => error = Some(why.as_str()),
                }
                Self::Answer { ask: *ask, granted, wait_ms, ids, error }
            }
            FromMaster::Stop => Self::Stop,
        }
    }
}

/// JSON form of a frame to read: the fields of all frame types.
#[derive(Deserialize)]
struct ReadFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    run: RunId,
    #[serde(default)]
    id: u64,
    #[serde(default, borrow)]
    job: Cow<'a, str>,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    max_attempts: u32,
    #[serde(default)]
    timeout_ms: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    reason: Option<FailReason>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    ask: RequestId,
    #[serde(default)]
    grace_ms: u64,
    #[serde(default)]
    granted: Option<bool>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    ids: Option<Vec<u64>>,
    #[serde(default, borrow, deserialize_with = "there")]
    payload: Option<&'a RawValue>,
}

impl<'a> ReadFrame<'a> {
    fn run_frame(self, payload: &'a RawValue) -> RunFrame<'a> {
        RunFrame {
            run: self.run,
            id: self.id,
            job: self.job,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            timeout_ms: self.timeout_ms,
            headers: Cow::Owned(self.headers),
            payload,
        }
    }

    fn answer(self) -> Response {
        match (self.error, self.ids, self.granted) {
            (Some(error), ..) => Response::Error(error),
            (None, Some(ids), _) => Response::Pushed(ids),
            (None, None, Some(true)) => Response::Granted,
            (None, None, _) => Response::Wait(Duration::from_millis(self.wait_ms)),
        }
    }
}

/// Deserialises a present value, `null` included: a plain `Option` would treat `null` as a missing field.
fn there<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}
