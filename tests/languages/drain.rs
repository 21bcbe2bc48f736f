//! No job is lost, and a job runs twice only if its worker was killed.

use std::collections::HashSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::example::{NODE, NODE_TASKS, PHP, PYTHON, PYTHON_TASKS, copy_of, effects};
use crate::fixture::random::seeded;
use crate::fixture::{Fixture, Master, until};

const OUTBOX: &str = "outbox.txt";

fn push_mails(fixture: &Fixture, channel: &str, mails: usize) {
    let line = |n| format!(r#"{{"job":"send_mail","payload":{{"to":"{n}@example.com"}}}}"#);
    fixture.push_lines(channel, (0..mails).map(line));
}

/// Number of distinct mails sent.
fn distinct(sent: &[String], by: impl Fn(&str) -> &str) -> usize {
    sent.iter().map(|line| by(line)).collect::<HashSet<_>>().len()
}

fn id(line: &str) -> &str {
    line.split_once(' ').unwrap().0
}

fn address(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

fn drains((example, channel): (&str, &str)) {
    const MAILS: usize = 5000;
    let fixture = copy_of(example);
    push_mails(&fixture, channel, MAILS);
    let master = fixture.listen(&["-t", channel]);
    let counts = fixture.until(channel, "all to end", |c| c.done + c.failed == MAILS as u64);
    assert_eq!((counts.done, counts.total), (MAILS as u64, MAILS as u64), "{}", master.log());
    let sent = effects(&fixture, OUTBOX);
    assert_eq!(sent.len(), MAILS, "each ran once");
    assert_eq!((distinct(&sent, id), distinct(&sent, address)), (MAILS, MAILS));
    assert!(master.stop().success());
}

/// Kills a worker each time more mails were sent: first each of the initial workers, then any worker.
fn kill_at_random(fixture: &Fixture, master: &Master, mails: usize) -> usize {
    let mut first = until("the workers", || Some(master.workers()).filter(|workers| workers.len() == 3));
    let mut random = seeded("kill_at_random");
    random.shuffle(&mut first);
    let mut killed = 0;
    for wanted in (1..10).map(|tenth| mails / 10 * tenth) {
        until("more mails", || (effects(fixture, OUTBOX).len() >= wanted).then_some(()));
        let worker = first.pop().or_else(|| random.choice(master.workers()));
        // A replaced worker may already have ended.
        killed += usize::from(worker.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()));
    }
    assert!(first.is_empty() && killed >= 3, "{killed}");
    killed
}

fn survives((example, channel): (&str, &str)) {
    const MAILS: usize = 1000;
    let fixture = copy_of(example);
    let master = fixture.listen(&["-t", channel]);
    push_mails(&fixture, channel, MAILS);
    let killed = kill_at_random(&fixture, &master, MAILS);
    let counts = fixture.until(channel, "all to end", |c| c.done + c.failed == MAILS as u64);
    assert_eq!((counts.done, counts.total), (MAILS as u64, MAILS as u64), "{}", master.log());
    let sent = effects(&fixture, OUTBOX);
    assert_eq!((distinct(&sent, id), distinct(&sent, address)), (MAILS, MAILS), "none is lost");
    assert!(
        sent.len() <= MAILS + killed,
        "only a killed worker's job runs again: {} of {killed}",
        sent.len()
    );
    assert!(master.stop().success());
}

#[test]
fn php_drains_5_000_jobs() {
    drains(PHP);
}

#[test]
fn python_drains_5_000_jobs() {
    drains(PYTHON);
}

#[test]
fn asyncio_python_drains_5_000_jobs() {
    drains(PYTHON_TASKS);
}

#[test]
fn node_drains_5_000_jobs() {
    drains(NODE);
}

#[test]
fn concurrent_node_drains_5_000_jobs() {
    drains(NODE_TASKS);
}

#[test]
fn killed_php_workers_lose_nothing() {
    survives(PHP);
}

#[test]
fn killed_python_workers_lose_nothing() {
    survives(PYTHON);
}

#[test]
fn killed_node_workers_lose_nothing() {
    survives(NODE);
}
