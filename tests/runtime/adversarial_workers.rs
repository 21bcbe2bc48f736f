//! One of three workers breaks the rules. It may harm its own jobs, but no others.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::fixture::{Counts, Fixture, Master, until};

const JOBS: u64 = 300;

/// The result of a channel with one bad worker.
struct Outcome {
    fixture: Fixture,
    master: Master,
    counts: Counts,
}

fn with_bad_worker(behaviour: &str) -> Outcome {
    let fixture = Fixture::sqlite(&format!(
        r#"
[channels.default]
backoff = {{ kind = "fixed", base = 0.05 }}
[channels.default.worker]
type = "process-pool"
command = ["python3", "adversary.py", "{behaviour}"]
min_worker_number = 3
max_worker_number = 3
max_execute_seconds = {}
"#,
        execute_seconds(behaviour)
    ));
    fixture.write("adversary.py", include_str!("adversary.py"));
    let master = fixture.listen(&[]);
    until("three idle workers", || (idle(&fixture) == 3).then_some(()));
    let begun = Instant::now();
    fixture.push_lines("default", (0..JOBS).map(|n| format!(r#"{{"job":"x","payload":{n}}}"#)));
    // Two good workers need 5 ms per job: they finish all other jobs long before the bad worker's timeout.
    until("the jobs of the good workers", || {
        let (effects, given) = (numbers(&fixture, "effects"), numbers(&fixture, "given"));
        let mine: HashSet<_> = effects.iter().chain(&given).collect();
        // Under load the timeout may come first; then a good worker gets the bad worker's job too.
        (mine.len() as u64 >= JOBS - unread(behaviour)).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "{behaviour}: it took {:?}", begun.elapsed());
    let counts = fixture.until("default", "every job to end", |c| c.done + c.failed == JOBS);
    Outcome { fixture, master, counts }
}

/// The timeout of jobs: out of reach where the channel must end the worker for its messages, short where nothing else ends it.
fn execute_seconds(behaviour: &str) -> u64 {
    let ended_for_messages = ["others_runs", "twice", "huge_line", "endless_line", "asks_and_never_reads"];
    if ended_for_messages.contains(&behaviour) { 20 } else { 1 }
}

/// Jobs that the bad worker holds without knowing.
fn unread(behaviour: &str) -> u64 {
    u64::from(behaviour == "never_reads")
}

fn idle(fixture: &Fixture) -> u64 {
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    let line = r#"aint_queue_workers{channel="default",state="idle"} "#;
    metrics.lines().find_map(|l| l.strip_prefix(line)).map_or(0, |n| n.parse().unwrap())
}

fn numbers(fixture: &Fixture, file: &str) -> Vec<u64> {
    let text = fs::read_to_string(fixture.file(file)).unwrap_or_default();
    // The last line may not be written yet.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
}

impl Outcome {
    fn log(&self) -> Vec<serde_json::Value> {
        let log = self.master.log();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// The process ids in warnings.
    fn failed_jobs(&self) -> BTreeSet<u64> {
        let log = self.log();
        let warnings = log.iter().filter(|line| line["level"] == "WARN");
        warnings.filter_map(|line| line["pid"].as_u64()).collect()
    }

    /// Checks that the good workers ran every other job exactly once, and that warnings name only the bad worker.
    fn assert_no_other_harm(self) -> Self {
        let (effects, given) = (numbers(&self.fixture, "effects"), numbers(&self.fixture, "given"));
        let mut once = HashSet::new();
        for n in &effects {
            assert!(once.insert(*n), "good workers ran {n} twice");
        }
        let lost: Vec<_> = (0..JOBS).filter(|n| !once.contains(n) && !given.contains(n)).collect();
        assert!(lost.is_empty(), "never run: {lost:?}");
        let bad: BTreeSet<u64> = numbers(&self.fixture, "pids").into_iter().collect();
        assert!(
            self.failed_jobs().is_subset(&bad),
            "{:?} are failed_jobs, {bad:?} were bad",
            self.failed_jobs()
        );
        assert_eq!(self.counts.total, JOBS);
        self
    }

    /// No job failed.
    fn all_done(self) -> Self {
        assert_eq!(self.counts.done, JOBS, "{}", self.master.log());
        self
    }

    fn ends(self) {
        assert!(self.master.stop().success());
    }
}

#[test]
fn worker_printing_fake_frames() {
    let outcome = with_bad_worker("look_alikes").assert_no_other_harm().all_done();
    assert_eq!(outcome.failed_jobs(), BTreeSet::new());
    outcome.ends();
}

#[test]
fn worker_dying_within_a_frame() {
    with_bad_worker("half_a_frame").assert_no_other_harm().ends();
}

#[test]
fn worker_settling_foreign_runs() {
    let outcome = with_bad_worker("others_runs").assert_no_other_harm();
    assert!(!outcome.failed_jobs().is_empty());
    outcome.ends();
}

#[test]
fn worker_settling_twice() {
    let outcome = with_bad_worker("twice").assert_no_other_harm().all_done();
    assert!(!outcome.failed_jobs().is_empty());
    outcome.ends();
}

#[test]
fn worker_settling_at_its_timeout() {
    with_bad_worker("late").assert_no_other_harm().ends();
}

#[test]
fn worker_sending_a_huge_line() {
    let outcome = with_bad_worker("huge_line").assert_no_other_harm();
    assert!(!outcome.failed_jobs().is_empty());
    outcome.ends();
}

#[test]
fn worker_sending_an_endless_line() {
    let outcome = with_bad_worker("endless_line").assert_no_other_harm();
    assert!(!outcome.failed_jobs().is_empty());
    outcome.ends();
}

#[test]
fn worker_logging_endlessly() {
    with_bad_worker("chatter").assert_no_other_harm().ends();
}

#[test]
fn worker_never_reading_responses() {
    let outcome = with_bad_worker("asks_and_never_reads").assert_no_other_harm();
    assert!(!outcome.failed_jobs().is_empty());
    let status = fs::read_to_string(format!("/proc/{}/status", outcome.master.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let most: u64 = most.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(most < 64 << 10, "the master took {most} KiB");
    outcome.ends();
}

#[test]
fn worker_hanging_within_a_line() {
    with_bad_worker("half_a_line_and_silence").assert_no_other_harm().ends();
}

#[test]
fn worker_closing_its_socket() {
    with_bad_worker("closed_socket").assert_no_other_harm().ends();
}

#[test]
fn worker_never_reading() {
    with_bad_worker("never_reads").assert_no_other_harm().ends();
}

#[test]
fn damaged_ends_of_runs_count_and_cannot_flood_the_log() {
    const WORKER: &str = r#"#!/bin/sh
printf '{"type":"hello","protocol":1,"slots":1}\n' >&3
while read -r frame <&3; do
    run=${frame#*\"run\":}; run=${run%%,*}
    case $run in [0-9]*) printf '{"type":"done","run":0,"run":"%s"}\n' "$run" >&3 ;; esac
done
"#;
    let worker =
        "type = \"process-pool\"\ncommand = [\"./worker\"]\nmin_worker_number = 1\nmax_worker_number = 1\n";
    let fixture = Fixture::sqlite(&format!("[channels.default.worker]\n{worker}max_execute_seconds = 60\n"));
    fixture.write("worker", WORKER);
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..JOBS).map(|_| r#"{"job":"x"}"#.to_owned()));
    fixture.until("default", "every job to end", |c| c.done == JOBS);
    let log = master.log();
    let count = |text: &str| log.matches(text).count();
    // Ten, then at 16, 32, 64, 128 and 256.
    assert_eq!(count("damaged frame of a worker: "), 15);
    assert_eq!(count("damaged frames of workers without a line of their own"), 1, "once a minute");
    assert!(master.stop().success());
}
