//! The worker protocol: the frames between a master and its workers, and their codec.
//!
//! Each frame is one JSON object on one line of one socket, in both directions. `docs/worker-protocol.md` specifies the
//! protocol for worker authors; no other module knows the field names. `run` numbers one delivery of a job to a worker,
//! so that a late result cannot end a later delivery. `ask` numbers a request that a worker makes during a run.
//!
//! This file has the types; `to_worker` and `to_master` are the codecs of the two directions, `lines` splits the stream.

mod lines;
mod to_master;
mod to_worker;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::job::{Failure, JobOptions, LimitClaim, MAX_PAYLOAD_BYTES, Outcome, Response};

pub use lines::{Line, LineBuffer};
pub use to_master::{decode_from_worker, encode_to_master};
pub use to_worker::{decode_from_master, encode_to_worker};

/// Version of the protocol, sent in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest line in either direction in bytes, line break included: a payload of 1 MiB and 64 KiB for the other fields.
pub const MAX_LINE: usize = MAX_PAYLOAD_BYTES + (64 << 10);
/// Most open requests of a worker per slot; the master treats more as a protocol violation.
pub const MAX_OPEN_REQUESTS: usize = 16;
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
        /// Each job as a JSON object, in the form shared by all interfaces that push jobs.
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
    /// The line is not a frame of this protocol.
    #[error("not a frame: {detail}: {line:?}")]
    NotAFrame {
        /// The mistake.
        detail: String,
        /// The beginning of the line.
        line: String,
    },
}

fn not_a_frame(detail: impl ToString, line: &[u8]) -> WireError {
    let line = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    WireError::NotAFrame { detail: detail.to_string(), line }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailReason, RetryDecision};
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn spec(name: &str, full: bool) -> JobSpec {
        let options = match full {
            true => JobOptions { max_attempts: Some(5), timeout: Some(SECOND), failed: true },
            false => JobOptions::default(),
        };
        JobSpec { name: name.to_owned(), options }
    }

    fn round_trip(frame: &FromWorker) -> FromWorker {
        let mut buffer = Vec::new();
        encode_to_master(frame, &mut buffer);
        assert_eq!(buffer.pop(), Some(b'\n'));
        assert!(!buffer.contains(&b'\n'));
        decode_from_worker(&buffer).unwrap()
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let next = prop_oneof![
            Just(RetryDecision::ByPolicy),
            Just(RetryDecision::Never),
            Just(RetryDecision::UnknownJob),
            (0..1u64 << 40).prop_map(|ms| RetryDecision::After(Duration::from_millis(ms))),
        ];
        prop_oneof![
            Just(Outcome::Done),
            (".{0,40}", next).prop_map(|(error, next)| Outcome::Failed { error, next }),
            (0..1u64 << 40).prop_map(|ms| Outcome::Released { after: Duration::from_millis(ms) }),
        ]
    }

    proptest! {
        #[test]
        fn worker_frames_round_trip(run in 0..u64::MAX / 2, outcome in outcomes(), text in ".{0,60}") {
            let frames = [
                FromWorker::Ended { run, outcome },
                FromWorker::Hello { protocol: 1, slots: 3, jobs: vec![spec(&text, false), spec("b", true)] },
                FromWorker::Log { run: Some(run), level: "warn".into(), message: text.clone() },
                FromWorker::Progress { run, percent: 12.5 },
                FromWorker::Push { run, ask: 3, channel: None, jobs: vec![r#"{"job":"a"}"#.into()] },
                FromWorker::Push { run, ask: 3, channel: Some(text), jobs: vec![] },
                FromWorker::Claim { run, ask: 4, claim: LimitClaim::Lock { key: "k".into(), limit: 2 } },
                FromWorker::Claim { run, ask: 4, claim: LimitClaim::Rate { key: "k".into(), count: 2, per: SECOND } },
                FromWorker::Claim {
                    run,
                    ask: 4,
                    claim: LimitClaim::Breaker { key: "k".into(), failures: 2, cooldown: SECOND },
                },
            ];
            for frame in frames {
                prop_assert_eq!(round_trip(&frame), frame);
            }
        }

        #[test]
        fn decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_from_worker(&bytes);
            let _ = decode_from_master(&bytes);
        }

        #[test]
        fn payload_text_round_trips(text in ".{0,60}", run in any::<u64>()) {
            let payload = serde_json::value::to_raw_value(&text).unwrap();
            let headers = BTreeMap::from([("traceparent".to_owned(), text)]);
            let frame = || RunFrame {
                run, id: 7, job: "a\\b".into(), attempt: 1, max_attempts: 3, timeout_ms: 0,
                headers: Cow::Borrowed(&headers), payload: &payload,
            };
            let failure = Failure { reason: FailReason::Timeout, error: "late".into() };
            for sent in [FromMaster::Run(frame()), FromMaster::Failed(frame(), failure.clone())] {
                let mut buffer = Vec::new();
                encode_to_worker(&sent, &mut buffer);
                buffer.pop();
                let (got, why) = match decode_from_master(&buffer).unwrap() {
                    FromMaster::Run(frame) => (frame, None),
                    FromMaster::Failed(frame, failure) => (frame, Some(failure)),
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(got.payload.get(), payload.get());
                prop_assert_eq!(got.run, run);
                prop_assert_eq!(&got.job, "a\\b");
                prop_assert_eq!(&*got.headers, &headers);
                prop_assert_eq!(why, matches!(sent, FromMaster::Failed(..)).then(|| failure.clone()));
            }
        }
    }

    #[test]
    fn response_round_trips() {
        let answers = [
            Response::Granted,
            Response::Wait(SECOND),
            Response::Pushed(vec![7, 8]),
            Response::Error("no".to_owned()),
        ];
        for answer in answers {
            let mut buffer = Vec::new();
            encode_to_worker(&FromMaster::Answer { ask: 9, answer: answer.clone() }, &mut buffer);
            let FromMaster::Answer { ask: 9, answer: got } =
                decode_from_master(buffer.trim_ascii_end()).unwrap()
            else {
                panic!("not an answer")
            };
            assert_eq!(got, answer);
        }
    }

    #[test]
    fn payload_may_be_null_but_not_missing() {
        let FromMaster::Run(frame) = decode_from_master(br#"{"type":"run","run":1,"payload":null}"#).unwrap()
        else {
            panic!("not a run")
        };
        assert_eq!(frame.payload.get(), "null");
        assert!(decode_from_master(br#"{"type":"run","run":1}"#).is_err());
    }

    #[test]
    fn hand_written_frames_are_accepted() {
        let ended = |line: &str| match decode_from_worker(line.as_bytes()).unwrap() {
            FromWorker::Ended { run: 5, outcome } => outcome,
            other => panic!("{other:?}"),
        };
        assert_eq!(ended(r#"{ "run": 5, "type": "done", "extra": [1] }"#), Outcome::Done);
        let failed = |error: &str, next| Outcome::Failed { error: error.into(), next };
        assert_eq!(ended(r#"{"type":"failed","run":5,"error":"x"}"#), failed("x", RetryDecision::ByPolicy));
        assert_eq!(
            ended(r#"{"type":"failed","run":5,"error":"x","retry":false}"#),
            failed("x", RetryDecision::Never)
        );
        assert_eq!(
            ended(r#"{"type":"failed","run":5,"retry":1500}"#),
            failed("failed without a message", RetryDecision::After(Duration::from_millis(1500)))
        );
        assert_eq!(ended(r#"{"type":"release","run":5}"#), Outcome::Released { after: Duration::ZERO });
    }

    #[test]
    fn invalid_frame_has_a_reason() {
        let why = |line: &str| decode_from_worker(line.as_bytes()).unwrap_err().to_string();
        assert!(why("hello there").contains("hello there"));
        assert!(why(r#"{"type":"done"}"#).contains("needs \"run\""));
        assert!(why(r#"{"type":"dance","run":1}"#).contains("unknown type \"dance\""));
        assert!(why(r#"{"type":"done","run":-1}"#).contains("not a frame"));
        assert!(
            why(r#"{"type":"claim","run":1,"ask":1}"#).contains("one of \"lock\", \"rate\" and \"breaker\"")
        );
        assert!(why(r#"{"type":"claim","run":1,"ask":1,"lock":"k","limit":0}"#).contains("\"limit\""));
        assert!(
            why(r#"{"type":"claim","run":1,"ask":1,"lock":""}"#).contains("0 bytes; 1 to 256 are allowed")
        );
        assert!(why(&"x".repeat(MAX_LINE)).contains("longer than"));
    }
}
