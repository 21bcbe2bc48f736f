//! One of three workers does what no worker should. It harms the jobs it has, at most, and nobody else's.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::site::{Counts, Master, Site, until};

const JOBS: u64 = 300;

/// What came of the jobs of a channel of which one worker is bad.
struct Outcome {
    site: Site,
    master: Master,
    counts: Counts,
}

fn with_one_that(misdeed: &str) -> Outcome {
    let site = Site::sqlite(&format!(
        r#"
[channels.default]
backoff = {{ kind = "fixed", base = 0.05 }}
[channels.default.worker]
type = "process-pool"
command = ["python3", "adversary.py", "{misdeed}"]
min_worker_number = 3
max_execute_seconds = 1
"#
    ));
    site.write("adversary.py", include_str!("adversary.py"));
    let master = site.listen(&[]);
    until("all three workers", || (idle(&site) == 3).then_some(()));
    let begun = Instant::now();
    site.push_lines("default", (0..JOBS).map(|n| format!(r#"{{"job":"x","payload":{n}}}"#)));
    // Two good workers need 5 ms for each: what the bad one does not hold is done long before its time is up.
    until("the jobs of the good workers", || {
        let (effects, given) = (numbers(&site, "effects"), numbers(&site, "given"));
        let mine: HashSet<_> = effects.iter().chain(&given).collect();
        // Under load its time may be up first; then a good one has its job too.
        (mine.len() as u64 >= JOBS - unread(misdeed)).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "{misdeed}: it took {:?}", begun.elapsed());
    let counts = site.until("default", "every job to end", |c| c.done + c.failed == JOBS);
    Outcome { site, master, counts }
}

/// How many jobs are aboard the bad worker without its knowledge.
fn unread(misdeed: &str) -> u64 {
    u64::from(misdeed == "never_reads")
}

fn idle(site: &Site) -> u64 {
    let metrics = site.ok(&["queue:status", "--metrics"]);
    let line = r#"aint_queue_workers{channel="default",state="idle"} "#;
    metrics.lines().find_map(|l| l.strip_prefix(line)).map_or(0, |n| n.parse().unwrap())
}

fn numbers(site: &Site, file: &str) -> Vec<u64> {
    let text = fs::read_to_string(site.file(file)).unwrap_or_default();
    // The last line may be on its way.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.parse().ok()).collect()
}

impl Outcome {
    fn log(&self) -> Vec<serde_json::Value> {
        let log = self.master.log();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// The process ids that a warning blames.
    fn blamed(&self) -> BTreeSet<u64> {
        let log = self.log();
        let warnings = log.iter().filter(|line| line["level"] == "WARN");
        warnings.filter_map(|line| line["pid"].as_u64()).collect()
    }

    /// Whoever the bad worker was not given has run exactly once, and only the bad worker is blamed.
    fn harmed_nobody_else(self) -> Self {
        let (effects, given) = (numbers(&self.site, "effects"), numbers(&self.site, "given"));
        let mut once = HashSet::new();
        for n in &effects {
            assert!(once.insert(*n), "{n} was run twice by workers that do as they should");
        }
        let lost: Vec<_> = (0..JOBS).filter(|n| !once.contains(n) && !given.contains(n)).collect();
        assert!(lost.is_empty(), "never run: {lost:?}");
        let bad: BTreeSet<u64> = numbers(&self.site, "pids").into_iter().collect();
        assert!(self.blamed().is_subset(&bad), "{:?} are blamed, {bad:?} were bad", self.blamed());
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
fn one_that_prints_what_looks_like_frames() {
    let outcome = with_one_that("look_alikes").harmed_nobody_else().all_done();
    assert_eq!(outcome.blamed(), BTreeSet::new());
    outcome.ends();
}

#[test]
fn one_that_dies_within_a_frame() {
    with_one_that("half_a_frame").harmed_nobody_else().ends();
}

#[test]
fn one_that_answers_the_runs_of_others() {
    let outcome = with_one_that("others_runs").harmed_nobody_else();
    assert!(!outcome.blamed().is_empty());
    outcome.ends();
}

#[test]
fn one_that_answers_twice() {
    let outcome = with_one_that("twice").harmed_nobody_else().all_done();
    assert!(!outcome.blamed().is_empty());
    outcome.ends();
}

#[test]
fn one_that_answers_when_its_time_is_up() {
    with_one_that("late").harmed_nobody_else().ends();
}

#[test]
fn one_that_sends_a_huge_line() {
    let outcome = with_one_that("huge_line").harmed_nobody_else();
    assert!(!outcome.blamed().is_empty());
    outcome.ends();
}

#[test]
fn one_that_sends_a_line_without_end() {
    let outcome = with_one_that("endless_line").harmed_nobody_else();
    assert!(!outcome.blamed().is_empty());
    outcome.ends();
}

#[test]
fn one_that_logs_without_end() {
    with_one_that("chatter").harmed_nobody_else().ends();
}

#[test]
fn one_that_asks_and_never_reads_the_answers() {
    let outcome = with_one_that("asks_and_never_reads").harmed_nobody_else();
    assert!(!outcome.blamed().is_empty());
    let status = fs::read_to_string(format!("/proc/{}/status", outcome.master.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let most: u64 = most.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(most < 64 << 10, "the master took {most} KiB");
    outcome.ends();
}

#[test]
fn one_that_falls_silent_within_a_line() {
    with_one_that("half_a_line_and_silence").harmed_nobody_else().ends();
}

#[test]
fn one_that_closes_its_socket_and_lives_on() {
    with_one_that("closed_socket").harmed_nobody_else().ends();
}

#[test]
fn one_that_never_reads() {
    with_one_that("never_reads").harmed_nobody_else().ends();
}
