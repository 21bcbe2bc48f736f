//! Time limits: what runs too long is ended, with everything it started.

use std::time::{Duration, Instant};

use crate::site::{Master, Site, until, with_command};

/// Starts what is hardest to get rid of, each with a name of its own: a child in a session of its own, one
/// that was forked twice, one that ignores TERM; then takes its time.
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

/// A mark that no other test has.
pub fn mark() -> String {
    format!("{:07}", fastrand::u32(..10_000_000))
}

/// Waits until the whole tree is there; answers its processes.
pub fn whole_tree(mark: &str) -> Vec<i32> {
    until("the whole tree to be there", || {
        let found = with_command(&format!("sleep 1000.{mark}"));
        (found.len() >= 5).then_some(found)
    })
}

pub fn survivors(mark: &str) -> Vec<i32> {
    with_command(&format!("sleep 1000.{mark}"))
}

fn process_site() -> (Site, Master) {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"process\"\nmax_execute_seconds = 2\n");
    let master = site.listen(&[]);
    (site, master)
}

#[test]
fn a_job_over_its_limit_fails_in_time_and_the_next_one_starts_at_once() {
    let (site, master) = process_site();
    until("the spare worker", || (master.workers().len() == 2).then_some(()));
    let begun = Instant::now();
    let id = site.push("sleep", r#"{"ms":60000}"#, &["--max-attempts", "1"]);
    let next = site.push("noop", "{}", &[]);
    site.until("default", "the time-out", |c| c.failed == 1);
    assert!(begun.elapsed() < Duration::from_millis(2500), "it took {:?}", begun.elapsed());
    let ended = Instant::now();
    site.until("default", "the next job", |c| c.done == 1);
    assert!(ended.elapsed() < Duration::from_millis(500), "job {next} came {:?} later", ended.elapsed());

    let shown = site.json(&["queue:show", &id.to_string()]);
    assert_eq!(shown["reason"], "timeout", "{shown}");
    until("only idle workers to be left", || (master.workers().len() <= 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn a_time_out_leaves_nothing_of_the_jobs_tree() {
    let mark = mark();
    let site = Site::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process\"\ncommand = [\"./tree.sh\"]\nmax_execute_seconds = 1\n",
    );
    site.write("tree.sh", &tree_script(&mark));
    let master = site.listen(&[]);
    site.push("x", "{}", &[]);
    whole_tree(&mark);
    site.until("default", "the time-out", |c| c.failed == 1);
    assert_eq!(survivors(&mark), [0i32; 0]);
    assert!(master.stop().success());
}
