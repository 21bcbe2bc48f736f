//! The worker protocol: the frames between a master and its workers, and their codec.
//!
//! One JSON object per line over one socket, in both directions. `docs/worker-protocol.md` specifies it for
//! worker authors; this is the only module that knows its spelling. `run` numbers one delivery of a job to a
//! worker, so that a late answer cannot end the next delivery.

mod lines;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::job::{Next, Outcome, bounded};

pub use lines::{Line, LineBuffer};

/// The protocol's version, spoken in `hello`.
pub const PROTOCOL: u32 = 1;
/// Longest line a worker may send, in bytes, line break included: 64 KiB.
pub const MAX_WORKER_LINE: usize = 64 << 10;
/// The environment variable that names the worker's socket.
pub const FD_VARIABLE: &str = "AINT_QUEUE_FD";
/// The environment variable that tells a worker how many jobs it may be given at once.
pub const SLOTS_VARIABLE: &str = "AINT_QUEUE_SLOTS";
/// The environment variable that tells a worker its channel.
pub const CHANNEL_VARIABLE: &str = "AINT_QUEUE_CHANNEL";

/// One delivery of a job to a worker; unique within a master.
pub type RunId = u64;

/// What a master says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromMaster<'a> {
    /// Run a job.
    Run(#[serde(borrow)] RunFrame<'a>),
    /// The run's time is up: end it and answer.
    Cancel {
        /// Which delivery.
        run: RunId,
    },
    /// Finish what is aboard, take nothing more, exit.
    Stop,
}

/// A job on its way to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunFrame<'a> {
    /// This delivery.
    pub run: RunId,
    /// The job's number.
    pub id: u64,
    /// The job's name.
    #[serde(borrow)]
    pub job: std::borrow::Cow<'a, str>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many attempts the job has.
    pub max_attempts: u32,
    /// Longest run in milliseconds; 0 for no limit.
    pub timeout_ms: u64,
    /// The job's data.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// Ready for jobs; the first frame.
    Hello {
        /// The protocol version the worker speaks.
        protocol: u32,
        /// How many jobs it can run at once.
        slots: usize,
        /// The job names it has handlers for; empty when it does not say.
        jobs: Vec<String>,
    },
    /// A run has ended.
    Ended {
        /// Which delivery.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// How far a run is, in percent.
    Progress {
        /// Which delivery.
        run: RunId,
        /// 0 to 100.
        percent: f64,
    },
    /// A line for the log.
    Log {
        /// The delivery it belongs to, if any.
        run: Option<RunId>,
        /// `error`, `warn`, `info` or `debug`.
        level: String,
        /// The text.
        message: String,
    },
}

/// Why a line from a worker is not a frame.
#[derive(Debug, Error)]
pub enum WireError {
    /// The line is longer than [`MAX_WORKER_LINE`].
    #[error("the line is longer than {MAX_WORKER_LINE} bytes")]
    TooLong,
    /// The line is not a frame of this protocol.
    #[error("not a frame: {detail}: {line:?}")]
    NotAFrame {
        /// What is wrong.
        detail: String,
        /// The beginning of the line.
        line: String,
    },
}

/// Appends a frame and its line break to `buffer`.
pub fn encode_to_worker(frame: &FromMaster<'_>, buffer: &mut Vec<u8>) {
    serde_json::to_writer(&mut *buffer, frame).expect("writing a frame to memory cannot fail");
    buffer.push(b'\n');
}

/// Parses one line from a master, without its line break.
///
/// # Errors
/// When the line is not a frame a master sends.
pub fn decode_from_master(line: &[u8]) -> Result<FromMaster<'_>, WireError> {
    // An internally tagged enum cannot borrow a raw value, so the flat form is read first.
    let flat: FlatFromMaster<'_> = serde_json::from_slice(line).map_err(|e| not_a_frame(e, line))?;
    match (flat.kind.as_ref(), flat.payload) {
        ("run", Some(payload)) => Ok(FromMaster::Run(RunFrame {
            run: flat.run,
            id: flat.id,
            job: flat.job,
            attempt: flat.attempt,
            max_attempts: flat.max_attempts,
            timeout_ms: flat.timeout_ms,
            payload,
        })),
        ("cancel", _) => Ok(FromMaster::Cancel { run: flat.run }),
        ("stop", _) => Ok(FromMaster::Stop),
        (kind, _) => Err(not_a_frame(format!("unknown or incomplete \"{kind}\""), line)),
    }
}

/// Appends a frame and its line break to `buffer`.
pub fn encode_to_master(frame: &FromWorker, buffer: &mut Vec<u8>) {
    if let FromWorker::Ended { run, outcome: Outcome::Done } = frame {
        // By far the most frequent frame.
        buffer.extend_from_slice(DONE_PREFIX);
        buffer.extend_from_slice(run.to_string().as_bytes());
        buffer.extend_from_slice(b"}\n");
        return;
    }
    serde_json::to_writer(&mut *buffer, &FlatFromWorker::from(frame))
        .expect("writing a frame to memory cannot fail");
    buffer.push(b'\n');
}

/// Parses one line from a worker, without its line break.
///
/// # Errors
/// When the line is too long or not a frame a worker sends.
pub fn decode_from_worker(line: &[u8]) -> Result<FromWorker, WireError> {
    if line.len() >= MAX_WORKER_LINE {
        return Err(WireError::TooLong);
    }
    if let Some(run) = plain_done(line) {
        return Ok(FromWorker::Ended { run, outcome: Outcome::Done });
    }
    let flat: FlatFromWorker = serde_json::from_slice(line).map_err(|e| not_a_frame(e, line))?;
    flat.try_into().map_err(|detail: String| not_a_frame(detail, line))
}

const DONE_PREFIX: &[u8] = br#"{"type":"done","run":"#;

/// The run of a `done` frame in its canonical spelling.
fn plain_done(line: &[u8]) -> Option<RunId> {
    let digits = line.strip_prefix(DONE_PREFIX)?.strip_suffix(b"}")?;
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

#[derive(Deserialize)]
struct FlatFromMaster<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    run: RunId,
    #[serde(default)]
    id: u64,
    #[serde(default, borrow)]
    job: std::borrow::Cow<'a, str>,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    max_attempts: u32,
    #[serde(default)]
    timeout_ms: u64,
    #[serde(default, borrow, deserialize_with = "there")]
    payload: Option<&'a RawValue>,
}

/// A value that is there, `null` too: an `Option` by itself takes `null` for a field that is missing.
fn there<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

#[derive(Default, Serialize, Deserialize)]
struct FlatFromWorker {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_job: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `false`: never again; `true`: by the channel's policy; a number: after that many milliseconds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Retry {
    Whether(bool),
    AfterMs(u64),
}

impl From<&FromWorker> for FlatFromWorker {
    fn from(frame: &FromWorker) -> Self {
        let flat = |kind: &str, run: Option<RunId>| Self { kind: kind.into(), run, ..Self::default() };
        match frame {
            FromWorker::Hello { protocol, slots, jobs } => Self {
                protocol: Some(*protocol),
                slots: Some(*slots),
                jobs: Some(jobs.clone()),
                ..flat("hello", None)
            },
            FromWorker::Progress { run, percent } => {
                Self { percent: Some(*percent), ..flat("progress", Some(*run)) }
            }
            FromWorker::Log { run, level, message } => {
                Self { level: Some(level.clone()), message: Some(message.clone()), ..flat("log", *run) }
            }
            FromWorker::Ended { run, outcome } => match outcome {
                Outcome::Failed { error, next } => Self {
                    error: Some(bounded(error, MAX_WORKER_LINE / 8).to_owned()),
                    retry: match next {
                        Next::ByPolicy => None,
                        Next::After(delay) => Some(Retry::AfterMs(millis(*delay))),
                        Next::Never | Next::UnknownJob => Some(Retry::Whether(false)),
                    },
                    unknown_job: (*next == Next::UnknownJob).then_some(true),
                    ..flat("failed", Some(*run))
                },
                Outcome::Released { after } => {
                    Self { after_ms: Some(millis(*after)), ..flat("release", Some(*run)) }
                }
                // The other endings are judged by the master; a worker cannot say them.
                _ => flat("done", Some(*run)),
            },
        }
    }
}

impl TryFrom<FlatFromWorker> for FromWorker {
    type Error = String;

    fn try_from(flat: FlatFromWorker) -> Result<Self, String> {
        let run = flat.run.ok_or_else(|| format!("\"{}\" needs \"run\"", bounded(&flat.kind, 32)));
        match flat.kind.as_str() {
            "hello" => Ok(Self::Hello {
                protocol: flat.protocol.ok_or("\"hello\" needs \"protocol\"")?,
                slots: flat.slots.unwrap_or(1),
                jobs: flat.jobs.unwrap_or_default(),
            }),
            "done" => Ok(Self::Ended { run: run?, outcome: Outcome::Done }),
            "failed" => {
                let next = match flat.retry {
                    _ if flat.unknown_job == Some(true) => Next::UnknownJob,
                    None | Some(Retry::Whether(true)) => Next::ByPolicy,
                    Some(Retry::Whether(false)) => Next::Never,
                    Some(Retry::AfterMs(ms)) => Next::After(Duration::from_millis(ms)),
                };
                let error = flat.error.unwrap_or_else(|| "failed without a message".to_owned());
                Ok(Self::Ended { run: run?, outcome: Outcome::Failed { error, next } })
            }
            "release" => {
                let after = Duration::from_millis(flat.after_ms.unwrap_or(0));
                Ok(Self::Ended { run: run?, outcome: Outcome::Released { after } })
            }
            "progress" => Ok(Self::Progress {
                run: run?,
                percent: flat.percent.ok_or("\"progress\" needs \"percent\"")?,
            }),
            "log" => Ok(Self::Log {
                run: flat.run,
                level: flat.level.unwrap_or_else(|| "info".to_owned()),
                message: flat.message.ok_or("\"log\" needs \"message\"")?,
            }),
            other => Err(format!("unknown type \"{}\"", bounded(other, 32))),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn not_a_frame(detail: impl ToString, line: &[u8]) -> WireError {
    let line = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    WireError::NotAFrame { detail: detail.to_string(), line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(frame: &FromWorker) -> FromWorker {
        let mut buffer = Vec::new();
        encode_to_master(frame, &mut buffer);
        assert_eq!(buffer.pop(), Some(b'\n'));
        assert!(!buffer.contains(&b'\n'));
        decode_from_worker(&buffer).unwrap()
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let next = prop_oneof![
            Just(Next::ByPolicy),
            Just(Next::Never),
            Just(Next::UnknownJob),
            (0..1u64 << 40).prop_map(|ms| Next::After(Duration::from_millis(ms))),
        ];
        prop_oneof![
            Just(Outcome::Done),
            (".{0,40}", next).prop_map(|(error, next)| Outcome::Failed { error, next }),
            (0..1u64 << 40).prop_map(|ms| Outcome::Released { after: Duration::from_millis(ms) }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_worker_says_arrives_as_said(run in 0..u64::MAX / 2, outcome in outcomes(), text in ".{0,60}") {
            let frames = [
                FromWorker::Ended { run, outcome },
                FromWorker::Hello { protocol: 1, slots: 3, jobs: vec![text.clone()] },
                FromWorker::Log { run: Some(run), level: "warn".into(), message: text },
                FromWorker::Progress { run, percent: 12.5 },
            ];
            for frame in frames {
                prop_assert_eq!(round_trip(&frame), frame);
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_from_worker(&bytes);
            let _ = decode_from_master(&bytes);
        }

        #[test]
        fn a_payload_arrives_as_the_text_it_was(text in ".{0,60}", run in any::<u64>()) {
            let payload = serde_json::value::to_raw_value(&text).unwrap();
            let frame = FromMaster::Run(RunFrame {
                run, id: 7, job: "a\\b".into(), attempt: 1, max_attempts: 3, timeout_ms: 0, payload: &payload,
            });
            let mut buffer = Vec::new();
            encode_to_worker(&frame, &mut buffer);
            buffer.pop();
            let FromMaster::Run(run_frame) = decode_from_master(&buffer).unwrap() else { panic!("not a run") };
            prop_assert_eq!(run_frame.payload.get(), payload.get());
            prop_assert_eq!(run_frame.run, run);
            prop_assert_eq!(run_frame.job, "a\\b");
        }
    }

    #[test]
    fn a_payload_may_be_null_but_not_missing() {
        let FromMaster::Run(frame) = decode_from_master(br#"{"type":"run","run":1,"payload":null}"#).unwrap()
        else {
            panic!("not a run")
        };
        assert_eq!(frame.payload.get(), "null");
        assert!(decode_from_master(br#"{"type":"run","run":1}"#).is_err());
    }

    #[test]
    fn what_people_write_by_hand_is_understood() {
        let ended = |line: &str| match decode_from_worker(line.as_bytes()).unwrap() {
            FromWorker::Ended { run: 5, outcome } => outcome,
            other => panic!("{other:?}"),
        };
        assert_eq!(ended(r#"{ "run": 5, "type": "done", "extra": [1] }"#), Outcome::Done);
        let failed = |error: &str, next| Outcome::Failed { error: error.into(), next };
        assert_eq!(ended(r#"{"type":"failed","run":5,"error":"x"}"#), failed("x", Next::ByPolicy));
        assert_eq!(ended(r#"{"type":"failed","run":5,"error":"x","retry":false}"#), failed("x", Next::Never));
        assert_eq!(
            ended(r#"{"type":"failed","run":5,"retry":1500}"#),
            failed("failed without a message", Next::After(Duration::from_millis(1500)))
        );
        assert_eq!(ended(r#"{"type":"release","run":5}"#), Outcome::Released { after: Duration::ZERO });
    }

    #[test]
    fn what_is_no_frame_says_why() {
        let why = |line: &str| decode_from_worker(line.as_bytes()).unwrap_err().to_string();
        assert!(why("hello there").contains("hello there"));
        assert!(why(r#"{"type":"done"}"#).contains("needs \"run\""));
        assert!(why(r#"{"type":"dance","run":1}"#).contains("unknown type \"dance\""));
        assert!(why(r#"{"type":"done","run":-1}"#).contains("not a frame"));
        assert!(why(&"x".repeat(MAX_WORKER_LINE)).contains("longer than"));
    }
}
