//! Time limits: a job above its limit is ended with its whole process tree.

use std::time::{Duration, Instant};

use crate::fixture::random::unique_digits;
use crate::fixture::{Fixture, Master, until, with_command};

/// Starts processes that are hard to kill, each with its own name: a child in a new session, a twice-forked child and one that
/// ignores TERM; then sleeps.
pub fn tree_script(mark: &str) -> String {
    format!(
        r#"#!/bin/sh
setsid sleep 1000.{mark}1 &
( setsid sh -c 'sleep 1000.{mark}2 & exec sleep 1000.{mark}3' & ) &
( trap '' TERM; exec sleep 1000.{mark}4 ) &
trap '' TERM
sleep 1000.{mark}5
"#
    )
}

/// A mark unique to this test.
pub fn mark() -> String {
    unique_digits()
}

/// Waits until the whole tree runs; returns its processes.
pub fn spawned_tree(mark: &str) -> Vec<i32> {
    until("the whole tree", || {
        let found = with_command(&format!("sleep 1000.{mark}"));
        (found.len() >= 5).then_some(found)
    })
}

pub fn survivors(mark: &str) -> Vec<i32> {
    with_command(&format!("sleep 1000.{mark}"))
}

fn process_fixture() -> (Fixture, Master) {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"process\"\nmax_execute_seconds = 2\n");
    let master = fixture.listen(&[]);
    (fixture, master)
}

#[test]
fn timed_out_job_fails_and_next_starts_at_once() {
    let (fixture, master) = process_fixture();
    until("the spare worker", || (master.workers().len() == 2).then_some(()));
    let begun = Instant::now();
    let id = fixture.push("sleep", r#"{"ms":60000}"#, &["--max-attempts", "1"]);
    let next = fixture.push("noop", "{}", &[]);
    fixture.until("default", "the timeout", |c| c.failed == 1);
    assert!(begun.elapsed() < Duration::from_millis(3500), "it took {:?}", begun.elapsed());
    let ended = Instant::now();
    fixture.until("default", "the next job", |c| c.done == 1);
    assert!(ended.elapsed() < Duration::from_millis(500), "job {next} came {:?} later", ended.elapsed());

    let shown = fixture.json(&["queue:show", &id.to_string()]);
    assert_eq!(shown["reason"], "timeout", "{shown}");
    until("idle workers only", || (master.workers().len() <= 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn timeout_kills_the_jobs_tree() {
    let mark = mark();
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process\"\ncommand = [\"./tree.sh\"]\nmax_execute_seconds = 1\n",
    );
    fixture.write("tree.sh", &tree_script(&mark));
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    spawned_tree(&mark);
    fixture.until("default", "the timeout", |c| c.failed == 1);
    assert_eq!(survivors(&mark), [0i32; 0]);
    assert!(master.stop().success());
}

#[test]
fn time_out_says_whether_term_was_enough_and_the_last_output() {
    let channel = |name: &str, script: &str| {
        format!(
            "[channels.{name}]\nmax_attempts = 1\n[channels.{name}.worker]\ntype = \"process\"\n\
             max_execute_seconds = 0.5\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
        )
    };
    let fixture = Fixture::sqlite(
        &[
            channel("kind", "echo page 7 >&2; exec sleep 60"),
            channel("deaf", "trap '' TERM; while :; do sleep 1; done"),
        ]
        .concat(),
    );
    let master = fixture.listen(&["--all"]);
    for (name, how) in [
        ("kind", "ran longer than 500ms and was ended: SIGTERM was enough; its last output: page 7"),
        ("deaf", "ran longer than 500ms and was ended: SIGTERM was not enough, and it was killed"),
    ] {
        fixture.push("x", "{}", &["-t", name]);
        fixture.until(name, "the time limit", |c| c.failed == 1);
        let failed = fixture.ok(&["queue:failed", "-t", name, "--json"]);
        assert!(failed.contains(how), "{failed}");
        until("the log", || master.log().contains("\"job timed out\"").then_some(()));
    }
    assert!(master.stop().success());
}
