//! The worker protocol: the frames between a master and its workers, and their codec.
//!
//! Each frame is one JSON object on one line of one socket, in both directions. `docs/worker-protocol.md` specifies the
//! protocol for worker authors; no other module knows the field names. `run` numbers one delivery of a job to a worker,
//! so that a late result cannot end a later delivery. `ask` numbers a request that a worker makes during a run.
//!
//! `frames` has the types; `to_worker` and `to_master` are the codecs of the two directions, `lines` splits the stream,
//! `salvage` reads damaged lines, and `long_line` shortens those that are too long.

mod frames;
mod lines;
mod long_line;
mod salvage;
mod to_master;
mod to_worker;

pub use frames::{
    CHANNEL_VARIABLE, FD_VARIABLE, FromMaster, FromWorker, JobSpec, MAX_LINE, MAX_OPEN_REQUESTS,
    MAX_PUSHED_JOBS, PROTOCOL_VERSION, ReadFrame, RequestId, RunFrame, RunId, SLOTS_VARIABLE, WireError,
};
pub use lines::{Line, LineBuffer};
pub use long_line::LongLine;
pub use salvage::{decode_cut_line, decode_from_worker, may_continue};
pub use to_master::encode_to_master;
pub use to_worker::{decode_from_master, encode_to_worker};

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::job::{FailReason, Failure, JobOptions, LimitClaim, Outcome, Response, RetryDecision};
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
        whole(&buffer)
    }

    /// The frame of a line without a mistake.
    fn whole(line: &[u8]) -> FromWorker {
        match decode_from_worker(line).next() {
            Some(Ok(ReadFrame::Whole(frame))) => frame,
            other => panic!("{}: {other:?}", String::from_utf8_lossy(line)),
        }
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
                FromWorker::Claim { run, ask: 4, claim: LimitClaim::Rate { key: "k".into(), count: 2, burst: 2, per: SECOND } },
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
            decode_from_worker(&bytes).for_each(drop);
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
        let ended = |line: &str| match whole(line.as_bytes()) {
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
        let why = |line: &str| match decode_from_worker(line.as_bytes()).next() {
            Some(Err(error)) => error.to_string(),
            other => panic!("{line}: {other:?}"),
        };
        assert!(why("hello there").contains("hello there"));
        assert!(why(r#"{"type":"done"}"#).contains("needs \"run\""));
        assert!(why(r#"{"type":"dance","run":1}"#).contains("unknown type \"dance\""));
        assert!(why(r#"{"type":"done","run":-1}"#).contains("not a frame"));
        assert!(why(&"x".repeat(MAX_LINE)).contains("longer than"));
    }
}
