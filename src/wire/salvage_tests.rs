//! Damaged lines: a table per type of frame, and random damage.

use proptest::prelude::*;

use super::*;

/// The reading of a line that is one frame.
fn read(line: impl AsRef<[u8]>) -> ReadFrame {
    let mut frames = decode_from_worker(line.as_ref());
    let shown = String::from_utf8_lossy(line.as_ref()).into_owned();
    let first = frames.next().unwrap().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(frames.next().is_none(), "{shown}");
    first
}

/// The outcome of run 7, which a damaged line reports, and the warning.
fn ended(line: impl AsRef<[u8]>) -> (Outcome, String) {
    match read(&line) {
        ReadFrame::Damaged(FromWorker::Ended { run: 7, outcome }, defect) => (outcome, defect),
        other => panic!("{}: {other:?}", String::from_utf8_lossy(line.as_ref())),
    }
}

fn failed(error: &str, next: RetryDecision) -> Outcome {
    Outcome::Failed { error: error.to_owned(), next }
}

/// The end of a failed run with these details.
fn details(fields: &str) -> (Outcome, String) {
    ended(format!(r#"{{"type":"failed","run":7,{fields}}}"#))
}

#[test]
fn unreadable_retry_counts_as_true() {
    for retry in
        ["1.5", "-1", "\"5000\"", "1e400", "1e99", "-0.5", "[]", "{\"ms\":1}", "yes", "NaN", "\"false\"", ""]
    {
        let (outcome, defect) = details(&format!(r#""error":"no","retry":{retry}"#));
        assert_eq!(outcome, failed("no", RetryDecision::ByPolicy), "{retry}");
        assert!(defect.contains("\"retry\" takes true, false or whole milliseconds, not "), "{defect}");
    }
    let after = |ms| failed("no", RetryDecision::After(Duration::from_millis(ms)));
    assert_eq!(details(r#""error":"no","retry":5000.0"#).0, after(5000));
    assert_eq!(details(r#""error":"no","retry":5e3"#).0, after(5000));
    // A mistake elsewhere leaves the retry as it is.
    assert_eq!(details(r#""error":"no","retry":false,"took":NaN"#).0, failed("no", RetryDecision::Never));
    let unknown = details(r#""error":"no","retry":-1,"unknown_job":true"#).0;
    assert_eq!(unknown, failed("no", RetryDecision::UnknownJob));
    assert_eq!(details(r#""error":"no","unknown_job":1"#).0, failed("no", RetryDecision::ByPolicy));
}

#[test]
fn error_is_kept_as_far_as_it_can_be_read() {
    for (error, kept) in [
        (r#""a\ud83d""#, "a\u{fffd}"),
        (r#""\ud83d\ude00 \ude00""#, "\u{1f600} \u{fffd}"),
        (r#""a\qb""#, "a\\qb"),
        (r#""\u12""#, "\\u12"),
        ("\"a\tb\u{1}\"", "a\tb\u{1}"),
        (r#"{"message":"no"}"#, r#"{"message":"no"}"#),
        ("7", "7"),
        ("null", "failed without a message"),
    ] {
        let (outcome, _) = details(&format!(r#""error":{error},"retry":-1"#));
        assert_eq!(outcome, failed(kept, RetryDecision::ByPolicy), "{error}");
    }
    let (outcome, _) = ended(b"{\"type\":\"failed\",\"run\":7,\"error\":\"caf\xe9.txt\"}");
    assert_eq!(outcome, failed("caf\u{fffd}.txt", RetryDecision::ByPolicy));
    let long = details(&format!(r#""error":"{}","retry":-1"#, "é".repeat(MAX_ERROR))).0;
    assert_eq!(long, failed(&"é".repeat(MAX_ERROR / 2), RetryDecision::ByPolicy));
}

#[test]
fn cut_line_ends_its_run_when_the_number_is_whole() {
    let line = r#"{"type":"failed","run":7,"error":"line one"#;
    assert_eq!(ended(line).0, failed("line one", RetryDecision::ByPolicy));
    assert_eq!(ended(r#"{"type":"done","run":7,"#).0, Outcome::Done);
    for cut in [r#"{"type":"done","run":7"#, r#"{"type":"done","run":"#, r#"{"type":"don"#, "{"] {
        assert!(decode_from_worker(cut.as_bytes()).next().unwrap().is_err(), "{cut}");
    }
    let long = format!(r#"{{"type":"failed","run":7,"error":"{}"#, "x".repeat(2 << 20));
    let Ok(ReadFrame::Damaged(frame, defect)) = decode_cut_line(long.as_bytes()) else { panic!() };
    let outcome = failed(&"x".repeat(MAX_ERROR), RetryDecision::ByPolicy);
    assert_eq!(frame, FromWorker::Ended { run: 7, outcome });
    assert!(defect.contains("longer than"), "{defect}");
    assert!(decode_cut_line(b"{\"error\":\"xxxx").is_err());
}

#[test]
fn every_end_of_a_run_survives_damage() {
    let done = [
        r#"{"type":"done","run":7,"result":NaN}"#,
        r#"{"type":"done","run":7,"result":}"#,
        r#"{"type":"done","run":7,}"#,
        r#"{"type":"done","run":7.0}"#,
        r#"{"type":"done","run":8,"run":7}"#,
        r#"{"type":"done","run":7]"#.replace(']', ",]}").as_str(),
        r#"{"type":"done" "run":7}"#.replace("\" \"", "\",, \"").as_str(),
        r#"{"type":"done","run":7,"note":"he said "no""}"#,
        "\u{feff}{\"type\":\"done\",\"run\":7}",
        r#"{"type":"done","run":7} ok"#,
        r#"{"extra":'x',"type":"done","run":7}"#,
    ]
    .map(|line| ended(line).0);
    assert!(done.iter().all(|outcome| *outcome == Outcome::Done), "{done:?}");
    let deep = format!(r#"{{"type":"done","run":7,"trace":{}x{}}}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(ended(deep).0, Outcome::Done);
    for after in ["-1", "\"soon\"", "1.5", "1e400"] {
        let (outcome, defect) = ended(format!(r#"{{"type":"release","run":7,"after_ms":{after}}}"#));
        assert_eq!(outcome, Outcome::Released { after: Duration::ZERO }, "{after}");
        assert!(defect.contains("\"after_ms\" takes whole milliseconds, not "), "{defect}");
    }
    for line in [
        r#"{"type":"done","run":"7.5"}"#,
        r#"{"type":"done","run":"seven"}"#,
        r#"{"type":"done","run":""}"#,
        r#"{"type":"done","run":[7]}"#,
        r#"{"type":"done","run":{"id":7}}"#,
        r#"{"type":"done","run":true}"#,
        r#"{"type":"done","run":null}"#,
        r#"{"type":"done","run":"+7"}"#,
        r#"{"type":"done","run":"7"#,
        r#"{"type":"done","run":7.5}"#,
        r#"{"type":"done","run":-7}"#,
        r#"{"type":"done","run":1e400}"#,
        r#"{"type":7,"run":7}"#,
        r#"["done",7]"#,
        r#"{"type":"dance","run":7,"retry":-1}"#,
    ] {
        assert!(decode_from_worker(line.as_bytes()).next().unwrap().is_err(), "{line}");
    }
}

#[test]
fn number_of_a_run_is_read_in_every_clear_form() {
    for run in ["\"7\"", "7.0", "7e0", "\"007\"", "\" 7 \"", "\"7.0\"", "70e-1"] {
        let (outcome, defect) = ended(format!(r#"{{"type":"done","run":{run}}}"#));
        assert_eq!(outcome, Outcome::Done, "{run}");
        let named = defect.contains("\"run\" takes a whole number, not \"") || !run.starts_with('"');
        assert!(named, "{run}: {defect}");
    }
    for (fields, is_first) in [
        (r#""run":6,"run":7"#, false),
        (r#""run":7,"run":null"#, false),
        (r#""run":7,"run":"x""#, false),
        (r#""run":"6","run":"7""#, false),
        // No JSON: what follows may be part of a text.
        (r#""run":7,"error":"he said "run":6""#, true),
    ] {
        let (_, defect) = ended(format!(r#"{{"type":"failed",{fields}}}"#));
        let named = defect.contains("\"run\" ") && defect.contains("is given more than once");
        assert!(
            named
                || is_first
                || defect.contains("takes a whole number")
                || defect.contains("duplicate field"),
            "{fields}: {defect}"
        );
    }
    let (outcome, defect) = details(r#""error":"a","retry":false,"error":"b","retry":true"#);
    assert_eq!(outcome, failed("b", RetryDecision::ByPolicy));
    assert!(defect.contains("\"error\" is given more than once"), "{defect}");
    let request = r#"{"type":"claim","run":"7","ask":"3","lock":"k"}"#;
    assert!(matches!(read(request), ReadFrame::Refused { run: 7, ask: 3, .. }));
}

#[test]
fn damaged_request_is_refused_with_its_mistake() {
    let refused = |line: &[u8]| match read(line) {
        ReadFrame::Refused { run: 7, ask: 3, why } => why,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(line)),
    };
    for (fields, says) in [
        (r#""type":"claim","lock":"k","limit":"2""#, "\"limit\" takes a whole number, not \"2\""),
        (r#""type":"claim","lock":"k","limit":0"#, "\"limit\""),
        (r#""type":"claim","lock":7"#, "\"lock\" takes a text, not 7"),
        (r#""type":"claim","lock":"""#, "0 bytes; 1 to 256 are allowed"),
        (r#""type":"claim""#, "one of \"lock\", \"rate\" and \"breaker\""),
        (r#""type":"claim","rate":"k","count":1,"per_ms":-5"#, "\"per_ms\" takes a whole number, not -5"),
        (r#""type":"push","channel":5,"jobs":[]"#, "\"channel\" takes a text, not 5"),
        (r#""type":"push""#, "\"push\" needs \"jobs\""),
        (r#""type":"push","jobs":{}"#, "expected a sequence"),
        (r#""type":"push","jobs":[{"job":}]"#, "expected value"),
    ] {
        let why = refused(format!(r#"{{"run":7,"ask":3,{fields}}}"#).as_bytes());
        assert!(why.contains(says), "{fields}: {why}");
    }
    // Half a character is replaced; a payload in another encoding is not guessed.
    let half = br#"{"type":"claim","run":7,"ask":3,"lock":"a\ud83d"}"#;
    assert!(matches!(read(half), ReadFrame::Damaged(FromWorker::Claim { .. }, _)));
    refused(b"{\"type\":\"push\",\"run\":7,\"ask\":3,\"jobs\":[{\"job\":\"a\",\"payload\":\"caf\xe9\"}]}");
    let cut = br#"{"type":"push","run":7,"ask":3,"jobs":[{"job":"a","payload":"xxxx"#;
    assert!(matches!(decode_cut_line(cut), Ok(ReadFrame::Refused { run: 7, ask: 3, .. })));
    assert!(decode_from_worker(br#"{"type":"claim","run":7,"lock":"k"}"#).next().unwrap().is_err());
}

#[test]
fn damaged_progress_and_log_are_dropped() {
    for line in [
        r#"{"type":"progress","run":7,"percent":NaN}"#,
        r#"{"type":"progress","run":7,"percent":1e400}"#,
        r#"{"type":"progress","run":7,"percent":"50"}"#,
        r#"{"type":"progress","run":"7","percent":5}"#,
        r#"{"type":"progress"}"#,
        r#"{"type":"log","message":{"a":1}}"#,
        r#"{"type":"log","message":"x","level":3}"#,
        r#"{"type":"log"}"#,
    ] {
        assert!(matches!(read(line), ReadFrame::Dropped(_)), "{line}");
    }
    // Nothing is lost in a text that is read with U+FFFD.
    let log = read(br#"{"type":"log","run":7,"message":"a\ud83d"}"#);
    let ReadFrame::Damaged(FromWorker::Log { message, .. }, _) = log else { panic!("{log:?}") };
    assert_eq!(message, "a\u{fffd}");
}

#[test]
fn unreadable_hello_is_named_as_such() {
    for line in [
        r#"{"type":"hello","protocol":"1"}"#,
        r#"{"type":"hello","protocol":1,"slots":-4}"#,
        r#"{"type":"hello","protocol":1,"jobs":[7]}"#,
        r#"{"type":"hello"}"#,
    ] {
        let read = decode_from_worker(line.as_bytes()).next().unwrap();
        assert!(matches!(read, Err(WireError::UnreadableHello { .. })), "{line}: {read:?}");
    }
}

#[test]
fn frames_without_line_breaks_between_them_are_all_read() {
    let line = r#"{"type":"done","run":7}{"type":"failed","run":8,"retry":-1} {"type":"done","run":9}"#;
    let runs: Vec<_> = decode_from_worker(line.as_bytes())
        .map(|read| match read.unwrap() {
            ReadFrame::Damaged(FromWorker::Ended { run, .. }, _)
            | ReadFrame::Whole(FromWorker::Ended { run, .. }) => run,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(runs, [7, 8, 9]);
}

#[test]
fn long_line_of_many_objects_is_read_once() {
    // Quadratic work would keep the master from everything else.
    let line = "{}".repeat(100_000);
    assert_eq!(decode_from_worker(line.as_bytes()).filter(Result::is_err).count(), 100_000);
    let nested = "{\"a\":[".repeat(100_000);
    assert_eq!(decode_from_worker(nested.as_bytes()).count(), 1);
}

proptest! {
    /// Damage behind the number of the run: bytes replaced, removed, inserted, cut off.
    #[test]
    fn damaged_details_never_keep_a_run_from_ending(
        kind in 0usize..3,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let (head, details) = [
            (r#"{"type":"done","run":7,"#, r#""took_ms":12,"result":{"a":[1,"x"]}}"#),
            (r#"{"type":"failed","run":7,"#, r#""error":"mail\nbox \ud83d\ude00","retry":5000,"unknown_job":false}"#),
            (r#"{"type":"release","run":7,"#, r#""after_ms":1500}"#),
        ][kind];
        let mut tail = details.as_bytes().to_vec();
        for (place, byte, edit) in edits {
            let at = place.index(tail.len() + 1);
            // A line break would begin another line.
            let byte = if byte == b'\n' { b' ' } else { byte };
            match edit {
                0 => tail.insert(at, byte),
                1 => tail.truncate(at),
                2 if at < tail.len() => tail[at] = byte,
                3 if at < tail.len() => drop(tail.remove(at)),
                _ => {}
            }
        }
        let line = [head.as_bytes(), &tail].concat();
        let first = decode_from_worker(&line).next();
        let frame = match first {
            Some(Ok(ReadFrame::Whole(frame) | ReadFrame::Damaged(frame, _))) => frame,
            other => panic!("{}: {other:?}", String::from_utf8_lossy(&line)),
        };
        prop_assert!(matches!(frame, FromWorker::Ended { run: 7, .. }), "{:?}", frame);
    }
}
