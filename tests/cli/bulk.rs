//! `queue:push --file`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::fixture::{Fixture, assert_transcript, holds_only};
use crate::support::until;

fn lines(count: usize) -> String {
    (0..count).map(|i| format!("{{\"job\":\"noop\",\"payload\":{{\"n\":{i}}}}}\n")).collect()
}

#[test]
fn file_is_pushed_in_order() {
    let mut fixture = Fixture::new();
    fixture.write("jobs.jsonl", lines(1234));
    let said = fixture.run(&["queue:push", "--file", "jobs.jsonl", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&answer["pushed"], &answer["existing"]), (&1234.into(), &0.into()));
    assert_eq!(fixture.status()["waiting"], 1234);
    for (place, n) in [("first_id", "{\"n\":0}"), ("last_id", "{\"n\":1233}")] {
        let shown = fixture.run(&["queue:show", &answer[place].to_string(), "--json"]).out;
        assert!(shown.contains(n), "{shown}");
    }
}

#[test]
fn large_files_are_split_by_bytes() {
    let mut fixture = Fixture::new();
    let line = format!("{{\"job\":\"noop\",\"payload\":\"{}\"}}\n", "x".repeat((1 << 20) - 2));
    fixture.write("jobs.jsonl", line.repeat(9));
    assert_eq!(fixture.run(&["queue:push", "--file", "jobs.jsonl"]).code, 0);
    assert_eq!(fixture.status()["waiting"], 9);
}

#[test]
fn line_options_add_to_command_options() {
    let mut fixture = Fixture::new();
    let text = concat!(
        "{\"payload\":[1],\"unique\":\"k\"}\n",
        "\n",
        "{\"payload\":[2],\"unique\":\"k\"}\r\n",
        "{\"job\":\"echo\",\"delay\":\"1h\",\"max_attempts\":2}",
    );
    fixture.write("jobs.jsonl", text);
    fixture.run(&["queue:push", "noop", "--max-attempts", "9", "--file", "jobs.jsonl"]);
    let status = fixture.status();
    assert_eq!((&status["waiting"], &status["delayed"]), (&1.into(), &1.into()));
    assert_transcript!(fixture);
}

#[test]
fn bad_line_in_a_file_pushes_nothing() {
    let mut fixture = Fixture::new();
    let bad = [
        "nonsense",
        r#"{"job":"noop","payload":{"x":}}"#,
        r#"{"payload":1}"#,
        r#"{"job":"noop","prio":1}"#,
        r#"{"job":"noop","priority":1}"#,
        r#"{"job":"no op"}"#,
        r#"{"job":"noop","delay":"soon"}"#,
    ];
    for line in bad {
        fixture.write("jobs.jsonl", format!("{}{line}\n{}", lines(600), lines(3)));
        assert_eq!(fixture.run(&["queue:push", "--file", "jobs.jsonl"]).code, 2, "{line}");
    }
    fixture.write("jobs.jsonl", b"{\"job\":\"noop\"}\n\"\xff\"\n");
    fixture.run(&["queue:push", "--file", "jobs.jsonl"]);
    fixture.run(&["queue:push", "--file", "missing.jsonl"]);
    fixture.run(&["queue:push", "--file", "."]);
    assert!(holds_only(&fixture.path("."), &["jobs.jsonl"]));
    assert_transcript!(fixture);
}

#[test]
fn stdin_is_pushed_up_to_the_bad_line() {
    let mut fixture = Fixture::new();
    let input = format!("{}nonsense\n{}", lines(700), lines(5));
    assert_eq!(fixture.run_with_stdin(&["queue:push", "--file", "-"], input.as_bytes()).code, 1);
    assert_eq!(fixture.status()["waiting"], 700);
    assert_eq!(fixture.run_with_stdin(&["queue:push", "--file", "-"], b"nonsense\n").code, 2);
    assert_eq!(fixture.status()["waiting"], 700);
    assert_eq!(fixture.run_with_stdin(&["queue:push", "--file", "-"], b"").code, 0);
    assert_transcript!(fixture);
}

#[test]
fn jobs_on_slow_stdin_are_pushed_as_read() {
    let fixture = Fixture::new();
    let mut child = fixture
        .command(&["queue:push", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(2).as_bytes()).unwrap();
    // The pipe stays open, so the count is reached only if jobs are pushed before the end of the input.
    until("the first two jobs", || {
        assert!(child.try_wait().unwrap().is_none(), "it waits for more");
        Fixture::status_of(&fixture) == 2
    });
    stdin.write_all(lines(1).as_bytes()).unwrap();
    drop(stdin);
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("pushed 3 jobs to channel \"default\""), "{said}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn single_job_before_bad_line_is_singular() {
    let mut fixture = Fixture::new();
    let said = fixture.run_with_stdin(&["queue:push", "--file", "-"], b"{\"job\":\"noop\"}\n{\"jop\":1}\n");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("1 job was pushed up to line 1"), "{}", said.err);
}
