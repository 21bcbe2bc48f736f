//! `demo` without a terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::Fixture;

#[test]
fn demo_counts_every_job_on_a_narrow_terminal() {
    let mut fixture = Fixture::new();
    let said = fixture.run(&["demo"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for text in ["\"default\" (process-pool)", "\"mail\" (coroutine)", "\"reports\" (process)", "poison"] {
        assert!(said.out.contains(text), "no {text} in {}", said.out);
    }
    for line in said.out.lines().chain(said.err.lines()) {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    assert!(crate::fixture::holds_only(&fixture.path("."), &[]), "the store of the demo is elsewhere");
}

#[test]
fn interrupted_demo_leaves_nothing() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&["demo"]);
    command.env("TMPDIR", fixture.path(".")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    // The first progress line appears once jobs are running.
    assert!(said.next().is_some());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let last = said.map_while(Result::ok).last().unwrap();
    assert!(last.contains("it was interrupted"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(crate::fixture::holds_only(&fixture.path("."), &[]), "the directory of the demo is gone");
}
