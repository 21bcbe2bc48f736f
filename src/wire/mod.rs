//! The worker protocol: the frames between a master and its workers, and their codec.
//!
//! One JSON object per line over one socket, in both directions. `docs/worker-protocol.md` specifies it for
//! worker authors; this is the only module that knows its spelling. `run` numbers one delivery of a job to a
//! worker, so that a late answer cannot end the next delivery. `ask` numbers what a worker asks while it runs a job.
//!
//! The types stand here; `to_worker` and `to_master` are the codec of the two directions, `lines` cuts the streams.

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

/// The protocol's version, spoken in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest line of either side, in bytes, line break included: a payload of 1 MiB and 64 KiB for what is around it.
pub const MAX_LINE: usize = MAX_PAYLOAD_BYTES + (64 << 10);
/// So many questions per slot a worker may have open; what it asks beyond that is refused.
pub const MAX_OPEN_REQUESTS: usize = 16;
/// The environment variable that names the worker's socket.
pub const FD_VARIABLE: &str = "AINT_QUEUE_FD";
/// The environment variable that tells a worker how many jobs it may be given at once.
pub const SLOTS_VARIABLE: &str = "AINT_QUEUE_SLOTS";
/// The environment variable that tells a worker its channel.
pub const CHANNEL_VARIABLE: &str = "AINT_QUEUE_CHANNEL";

/// One delivery of a job to a worker; unique within a master.
pub type RunId = u64;

/// One question of a worker; unique within the worker's life.
pub type RequestId = u64;

/// What a master says.
#[derive(Debug)]
pub enum FromMaster<'a> {
    /// Run a job.
    Run(RunFrame<'a>),
    /// A job has failed for good: run its failed callback. Sent only for jobs whose handler said in `hello` that it has one.
    Failed(RunFrame<'a>, Failure),
    /// The run's time is up: end it and answer.
    Cancel {
        /// Which delivery.
        run: RunId,
        /// How long the worker has before it is ended with all that is aboard, or replaced.
        grace: Duration,
    },
    /// The answer to something a worker asked.
    Answer {
        /// The question.
        ask: RequestId,
        /// What it is answered.
        answer: Response,
    },
    /// Finish what is aboard, take nothing more, exit.
    Stop,
}

/// A job on its way to a worker.
#[derive(Debug)]
pub struct RunFrame<'a> {
    /// This delivery.
    pub run: RunId,
    /// The job's number.
    pub id: u64,
    /// The job's name.
    pub job: Cow<'a, str>,
    /// Which attempt this is, from 1; of a failed job, how many there were.
    pub attempt: u32,
    /// How many attempts the job has.
    pub max_attempts: u32,
    /// Longest run in milliseconds; 0 for no limit.
    pub timeout_ms: u64,
    /// What the producer sent along.
    pub headers: Cow<'a, BTreeMap<String, String>>,
    /// The job's data.
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
        /// The jobs it has handlers for; empty when it does not say.
        jobs: Vec<JobSpec>,
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
    /// A run pushes jobs; the answer is [`Response::Pushed`].
    Push {
        /// Which delivery.
        run: RunId,
        /// The question's number.
        ask: RequestId,
        /// The channel to push into, if it is not the run's own.
        channel: Option<String>,
        /// Each job as a JSON object, in the form that every way into a channel understands.
        jobs: Vec<String>,
    },
    /// A run asks whether it may go on; the answer is [`Response::Granted`] or [`Response::Wait`].
    Claim {
        /// Which delivery.
        run: RunId,
        /// The question's number.
        ask: RequestId,
        /// What it asks for.
        claim: LimitClaim,
    },
}

/// A job that a worker has a handler for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// The job's name.
    pub name: String,
    /// What its handler wants.
    pub options: JobOptions,
}

/// Why a line from a worker is not a frame.
#[derive(Debug, Error)]
pub enum WireError {
    /// The line is longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes")]
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
