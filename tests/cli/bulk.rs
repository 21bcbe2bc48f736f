//! `queue:push --file`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::rig::{Rig, assert_transcript, holds_only};

fn lines(count: usize) -> String {
    (0..count).map(|i| format!("{{\"job\":\"noop\",\"payload\":{{\"n\":{i}}}}}\n")).collect()
}

#[test]
fn a_file_is_pushed_in_its_order() {
    let mut rig = Rig::new();
    rig.write("jobs.jsonl", lines(1234));
    let said = rig.run(&["queue:push", "--file", "jobs.jsonl", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&answer["pushed"], &answer["existing"]), (&1234.into(), &0.into()));
    assert_eq!(rig.status()["waiting"], 1234);
    for (place, n) in [("first_id", "{\"n\":0}"), ("last_id", "{\"n\":1233}")] {
        let shown = rig.run(&["queue:show", &answer[place].to_string(), "--json"]).out;
        assert!(shown.contains(n), "{shown}");
    }
}

#[test]
fn payloads_beyond_the_bytes_of_one_call_are_split() {
    let mut rig = Rig::new();
    let line = format!("{{\"job\":\"noop\",\"payload\":\"{}\"}}\n", "x".repeat((1 << 20) - 2));
    rig.write("jobs.jsonl", line.repeat(9));
    assert_eq!(rig.run(&["queue:push", "--file", "jobs.jsonl"]).code, 0);
    assert_eq!(rig.status()["waiting"], 9);
}

#[test]
fn lines_may_have_options_and_share_those_of_the_command() {
    let mut rig = Rig::new();
    let text = concat!(
        "{\"payload\":[1],\"unique\":\"k\"}\n",
        "\n",
        "{\"payload\":[2],\"unique\":\"k\"}\r\n",
        "{\"job\":\"echo\",\"delay\":\"1h\",\"max_attempts\":2}",
    );
    rig.write("jobs.jsonl", text);
    rig.run(&["queue:push", "noop", "--max-attempts", "9", "--file", "jobs.jsonl"]);
    let status = rig.status();
    assert_eq!((&status["waiting"], &status["delayed"]), (&1.into(), &1.into()));
    assert_transcript!(rig);
}

#[test]
fn one_bad_line_in_a_file_leaves_the_channel_untouched() {
    let mut rig = Rig::new();
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
        rig.write("jobs.jsonl", format!("{}{line}\n{}", lines(600), lines(3)));
        assert_eq!(rig.run(&["queue:push", "--file", "jobs.jsonl"]).code, 2, "{line}");
    }
    rig.write("jobs.jsonl", b"{\"job\":\"noop\"}\n\"\xff\"\n");
    rig.run(&["queue:push", "--file", "jobs.jsonl"]);
    rig.run(&["queue:push", "--file", "missing.jsonl"]);
    rig.run(&["queue:push", "--file", "."]);
    assert!(holds_only(&rig.path("."), &["jobs.jsonl"]));
    assert_transcript!(rig);
}

#[test]
fn standard_input_is_pushed_up_to_the_bad_line_and_the_message_says_how_far() {
    let mut rig = Rig::new();
    let input = format!("{}nonsense\n{}", lines(700), lines(5));
    assert_eq!(rig.feed(&["queue:push", "--file", "-"], input.as_bytes()).code, 1);
    assert_eq!(rig.status()["waiting"], 700);
    assert_eq!(rig.feed(&["queue:push", "--file", "-"], b"nonsense\n").code, 2);
    assert_eq!(rig.status()["waiting"], 700);
    assert_eq!(rig.feed(&["queue:push", "--file", "-"], b"").code, 0);
    assert_transcript!(rig);
}

#[test]
fn jobs_on_a_slow_pipe_are_pushed_as_they_come() {
    let rig = Rig::new();
    let mut child = rig
        .command(&["queue:push", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(2).as_bytes()).unwrap();
    // The pipe stays open: only a push before its end lets the count come true.
    let mut status = Rig::status_of(&rig);
    while status != 2 {
        assert!(child.try_wait().unwrap().is_none(), "it waits for more");
        status = Rig::status_of(&rig);
    }
    stdin.write_all(lines(1).as_bytes()).unwrap();
    drop(stdin);
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("pushed 3 jobs to channel \"default\""), "{said}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_single_job_before_the_bad_line_is_told_as_one() {
    let mut rig = Rig::new();
    let said = rig.feed(&["queue:push", "--file", "-"], b"{\"job\":\"noop\"}\n{\"jop\":1}\n");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("1 job was pushed up to line 1"), "{}", said.err);
}
