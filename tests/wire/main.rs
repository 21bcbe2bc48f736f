//! The worker protocol as text files: transcripts are replayed to a real worker, single frames are decoded, and the
//! documentation quotes the same files.
//!
//! Lines of a file begin with `> ` (master to worker), `< ` (worker to master) or `# ` (comment). A file with both directions
//! is a transcript. In other files `# = …` states the meaning of the line above, `# ! …` the error of decoding it.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod documents;
mod jobs;
mod script;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/wait.rs"]
mod wait;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use aint_queue::engine::wire::{
    FromMaster, FromWorker, JobSpec, ReadFrame, RunFrame, decode_from_master, decode_from_worker,
    encode_to_worker,
};
use aint_queue::job::{LimitClaim, Outcome, Response, RetryDecision};
use script::{Line, Script};
use worker::Worker;

/// Runs the tests, or a worker when started as one, like every program with an [`App`](aint_queue::App).
fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first.starts_with("__")) {
        return jobs::serve();
    }
    let cases: [(&str, fn()); 6] = [
        ("worker_replays_every_transcript", worker_replays_every_transcript),
        ("every_worker_line_has_its_written_meaning", every_worker_line_has_its_written_meaning),
        ("worker_exits_when_its_master_disconnects", worker_exits_when_its_master_disconnects),
        ("documents::quoted_files_match_the_documentation", documents::quoted_files_match_the_documentation),
        (
            "documents::specification_shows_every_protocol_fixture",
            documents::specification_shows_every_protocol_fixture,
        ),
        ("documents::links_between_documents_resolve", documents::links_between_documents_resolve),
    ];
    let trials = cases.map(|(name, case)| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// Replays the master's lines of a transcript to a worker and compares the worker's lines.
fn replay(script: &Script) {
    let Some(FromWorker::Hello { slots, .. }) = script.worker_lines().next().map(decode) else {
        panic!("{}: the worker speaks first, and says hello", script.name);
    };
    let mut worker = Worker::start(slots);
    let mut told_to_stop = false;
    for (number, line) in &script.lines {
        let place = format!("{}:{number}", script.name);
        match line {
            Line::Master(frame) => {
                told_to_stop |= frame == r#"{"type":"stop"}"#;
                worker.send(frame);
            }
            Line::Worker(expected) => {
                let said =
                    worker.receive().unwrap_or_else(|| panic!("{place}: the worker said nothing more"));
                compare(&place, expected, &said);
            }
            Line::Note(_) => {}
        }
    }
    assert!(told_to_stop, "{}: a transcript ends with the end of its worker", script.name);
    assert_eq!(worker.receive(), None, "{}: the worker has more to say", script.name);
    assert!(worker.exits_cleanly(), "{}: the worker did not exit with 0", script.name);
}

/// Lines must match byte by byte, except that the hello of a transcript need not list every job of the binary.
fn compare(place: &str, expected: &str, said: &str) {
    match (decode(expected), decode(said)) {
        (
            FromWorker::Hello { protocol, slots, jobs },
            FromWorker::Hello { protocol: p, slots: s, jobs: said_jobs },
        ) => {
            assert_eq!((protocol, slots), (p, s), "{place}");
            let missing: Vec<_> = jobs.iter().filter(|job| !said_jobs.contains(job)).collect();
            assert!(missing.is_empty(), "{place}: {missing:?} are not in {said}");
        }
        _ => assert_eq!(expected, said, "{place}"),
    }
}

fn decode(line: &str) -> FromWorker {
    match decode_from_worker(line.as_bytes()).next() {
        Some(Ok(ReadFrame::Whole(frame))) => frame,
        other => panic!("{line}: {other:?}"),
    }
}

/// A line of a worker in words: its meaning, the warning, and the error.
fn understood(line: &str) -> String {
    let read = |read| match read {
        Ok(ReadFrame::Whole(frame)) => format!("= {}", meaning(&frame)),
        Ok(ReadFrame::Damaged(frame, why)) => format!("= {}; warning: {why}", meaning(&frame)),
        Ok(ReadFrame::Refused { run, ask, why }) => format!("= ask {ask} of run {run} is refused: {why}"),
        Ok(ReadFrame::Dropped(why)) => format!("= warning: {why}"),
        Err(error) => format!("! {error}"),
    };
    decode_from_worker(line.as_bytes()).map(read).collect::<Vec<_>>().join("; then ")
}

/// The meaning of a worker's frame in words.
fn meaning(frame: &FromWorker) -> String {
    match frame {
        FromWorker::Hello { slots, jobs, .. } => {
            let names: Vec<_> = jobs.iter().map(job_spec).collect();
            let named =
                if names.is_empty() { String::new() } else { format!(", named {}", names.join(", ")) };
            format!("ready for {slots} job{} at once{named}", if *slots == 1 { "" } else { "s" })
        }
        FromWorker::Ended { run, outcome: Outcome::Done } => format!("run {run} is done"),
        FromWorker::Ended { run, outcome: Outcome::Failed { error, next } } => {
            let next = match next {
                RetryDecision::ByPolicy => "retried by the channel's policy".to_owned(),
                RetryDecision::After(delay) => format!("retried after {delay:?}"),
                RetryDecision::Never => "not retried".to_owned(),
                RetryDecision::UnknownJob => {
                    "not retried, the worker has no handler for this name".to_owned()
                }
            };
            format!("run {run} failed: {error:?}; {next}")
        }
        FromWorker::Ended { run, outcome: Outcome::Released { after } } => {
            format!("run {run} is released, attempt not counted, to run again after {after:?}")
        }
        FromWorker::Ended { outcome, .. } => panic!("a worker cannot report {outcome:?}"),
        FromWorker::Push { run, ask, channel, jobs } => {
            let place = channel.as_ref().map_or(String::new(), |channel| format!(" to channel {channel}"));
            format!("ask {ask} of run {run}: push{place} {}", jobs.join(" and "))
        }
        FromWorker::Claim { run, ask, claim } => format!("ask {ask} of run {run}: {}", claimed(claim)),
        FromWorker::Progress { run, percent } => format!("run {run} is at {percent} %"),
        FromWorker::Log { run, level, message } => {
            let of = run.map(|run| format!(" of run {run}")).unwrap_or_default();
            format!("log{of}, {level}: {message}")
        }
    }
}

/// The meaning of a master's line in words; checks that encoding the frame gives the same line.
fn order(place: &str, said: &str) -> String {
    let frame = decode_from_master(said.as_bytes()).unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut spelled = Vec::new();
    encode_to_worker(&frame, &mut spelled);
    assert_eq!(format!("{said}\n"), String::from_utf8(spelled).unwrap(), "{place}");
    match &frame {
        FromMaster::Run(run) => {
            format!("run {}: attempt {} of {} of {}", run.run, run.attempt, run.max_attempts, delivery(run))
        }
        FromMaster::Failed(run, failure) => format!(
            "run {}: the failed callback, {:?} after {} attempts of {}, of {}; {}",
            run.run,
            failure.reason.as_str(),
            run.attempt,
            run.max_attempts,
            delivery(run),
            failure.error
        ),
        FromMaster::Cancel { run, grace } => format!("end run {run} within {grace:?}"),
        FromMaster::Answer { ask, answer } => match answer {
            Response::Granted => format!("ask {ask} is granted"),
            Response::Wait(time) => format!("ask {ask} is not granted; retry after {time:?}"),
            Response::Pushed(ids) => format!("ask {ask}: the jobs are pushed, with the ids {ids:?}"),
            Response::Error(why) => format!("ask {ask} is refused: {why}"),
        },
        FromMaster::Stop => "finish the running jobs and exit".to_owned(),
    }
}

/// A delivered job in words.
fn delivery(run: &RunFrame<'_>) -> String {
    let limit = match run.timeout_ms {
        0 => "without a time limit".to_owned(),
        ms => format!("at most {:?}", Duration::from_millis(ms)),
    };
    let headers: String = run.headers.iter().map(|(name, value)| format!("{name}: {value} and ")).collect();
    format!("the job {}, {}, {limit}, with {headers}{}", run.id, run.job, run.payload)
}

/// A job of `hello` in words.
fn job_spec(JobSpec { name, options }: &JobSpec) -> String {
    let attempts = options.max_attempts.map(|n| format!("{n} attempts"));
    let limit = options.timeout.map(|limit| match limit {
        Duration::ZERO => "without a time limit".to_owned(),
        limit => format!("{limit:?} at most"),
    });
    let callback = options.failed.then(|| "with a failed callback".to_owned());
    match [attempts, limit, callback].into_iter().flatten().collect::<Vec<_>>() {
        wants if wants.is_empty() => name.clone(),
        wants => format!("{name} ({})", wants.join(", ")),
    }
}

/// A claim in words.
fn claimed(claim: &LimitClaim) -> String {
    match claim {
        LimitClaim::Lock { key, limit } => {
            let holders = if *limit == 1 { "holder" } else { "holders" };
            format!("lock {key}, at most {limit} {holders}")
        }
        LimitClaim::Rate { key, count, burst: 1, per } => format!("rate {key}, at most {count} in {per:?}"),
        LimitClaim::Rate { key, count, burst, per } => {
            format!("rate {key}, at most {count} in {per:?}, {burst} at once")
        }
        LimitClaim::Breaker { key, failures, cooldown } => {
            format!("breaker {key}, open for {cooldown:?} after {failures} failures in a row")
        }
    }
}

fn worker_replays_every_transcript() {
    let transcripts: Vec<_> = script::all().into_iter().filter(Script::is_transcript).collect();
    assert!(transcripts.len() >= 6, "found too few transcripts");
    for script in &transcripts {
        replay(script);
    }
}

fn every_worker_line_has_its_written_meaning() {
    let (mut explained, mut wrong) = (0, Vec::new());
    for script in script::all().iter().filter(|script| !script.is_transcript()) {
        for pair in script.lines.windows(2) {
            let [(_, said), (number, below)] = pair else { continue };
            let place = format!("{}:{number}", script.name);
            let found = match said {
                Line::Worker(said) => understood(said),
                Line::Master(said) => format!("= {}", order(&place, said)),
                Line::Note(_) => continue,
            };
            let Line::Note(written) = below else { panic!("{place}: the line above is not explained") };
            if *written != found {
                wrong.push(format!("{place}: # {found}"));
            }
            explained += 1;
        }
    }
    assert!(wrong.is_empty(), "these mean something else:\n{}", wrong.join("\n"));
    assert!(explained >= 20, "the explained lines are where this test looks: {explained}");
}

fn worker_exits_when_its_master_disconnects() {
    let mut worker = Worker::start(1);
    assert!(matches!(worker.receive().as_deref().map(decode), Some(FromWorker::Hello { .. })));
    worker.close_socket();
    assert!(worker.exits_cleanly());
}
