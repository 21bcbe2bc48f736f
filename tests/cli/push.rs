//! `queue:push` of one job, and `queue:show`.

use crate::rig::{Rig, assert_transcript, holds_only};

#[test]
fn a_job_is_pushed_shown_and_counted() {
    let mut rig = Rig::with_channels(&["default"]);
    let id = rig.push(&[
        "sleep",
        "--data",
        r#"{"ms": 500, "note": "a \u001b[31m trap"}"#,
        "--max-attempts",
        "7",
        "--timeout",
        "1m30s",
        "--unique",
        "nightly",
    ]);
    rig.run(&["queue:show", &id.to_string()]);
    rig.run(&["queue:show", &id.to_string(), "--json"]);
    rig.run(&["queue:status"]);
    assert_transcript!(rig);
}

#[test]
fn priority_expiry_headers_and_ways_of_being_unique_are_pushed_and_shown() {
    let mut rig = Rig::with_channels(&["default"]);
    let more: &[&[&str]] = &[
        &["--priority", "high", "--unique", "a", "--unique-until", "start", "--expires", "1h"],
        &["--header", "tenant=7", "--header", "note=a=b \u{202e}", "--unique", "b", "--unique-for", "1h"],
    ];
    for more in more {
        let id = rig.push(&[&["noop"], *more].concat());
        rig.run(&["queue:show", &id.to_string()]);
        rig.run(&["queue:show", &id.to_string(), "--json"]);
    }
    assert_transcript!(rig);
}

#[test]
fn a_unique_key_answers_with_the_job_that_holds_it() {
    let mut rig = Rig::new();
    let first = rig.push(&["noop", "--unique", "k"]);
    let second = rig.push(&["noop", "--unique", "k"]);
    assert_eq!(first, second);
    rig.run(&["queue:push", "noop", "--unique", "k", "--json"]);
    rig.run(&["queue:push", "noop", "--json"]);
    assert_eq!(rig.status()["waiting"], 2);
    assert_transcript!(rig);
}

#[test]
fn a_job_for_later_is_delayed_and_one_for_the_past_is_not() {
    let mut rig = Rig::new();
    rig.push(&["noop", "--delay", "5m"]);
    let tomorrow = jiff::Zoned::now().tomorrow().unwrap();
    rig.push(&["noop", "--at", &tomorrow.timestamp().to_string()]);
    rig.push(&["noop", "--at", &tomorrow.strftime("%Y-%m-%d %H:%M").to_string()]);
    rig.push(&["noop", "--at", "2001-01-01T00:00:00Z"]);
    let status = rig.status();
    assert_eq!((&status["delayed"], &status["waiting"]), (&3.into(), &1.into()));
}

#[test]
fn a_payload_may_come_from_a_file_or_from_standard_input() {
    let mut rig = Rig::new();
    let exact = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    rig.write("payload.json", &exact);
    let id = rig.push(&["echo", "--data", "@payload.json"]);
    let shown = rig.run(&["queue:show", &id.to_string(), "--json"]).out;
    assert!(shown.contains(&exact));
    assert_eq!(rig.feed(&["queue:push", "echo", "--data", "-"], b"{\n  \"message\": 1\n}").code, 0);
}

#[test]
fn a_payload_that_breaks_a_rule_is_refused_before_the_store_is_touched() {
    let mut rig = Rig::new();
    rig.write("large.json", format!("\"{}\"", "x".repeat((1 << 20) - 1)));
    rig.write("binary.json", b"\"\xff\xfe\"");
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for data in ["{", "text", "", "1 2", &deep, "@large.json", "@binary.json", "@missing.json", "@."] {
        assert_eq!(rig.run(&["queue:push", "echo", "--data", data]).code, 2, "{data}");
    }
    assert!(holds_only(&rig.path("."), &["binary.json", "large.json"]));
    assert_transcript!(rig);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let mut rig = Rig::new();
    let long = "k".repeat(257);
    let wrong: &[&[&str]] = &[
        &["a b"],
        &["noop", "--delay", "soon"],
        &["noop", "--delay", "-5"],
        &["noop", "--delay", "11y"],
        &["noop", "--at", "tomorrow"],
        &["noop", "--at", "2999-01-01"],
        &["noop", "--at", "2099-01-01", "--delay", "1"],
        &["noop", "--max-attempts", "0"],
        &["noop", "--unique", ""],
        &["noop", "--unique", &long],
        &["noop", "--unique-until", "start"],
        &["noop", "--unique", "k", "--unique-until", "never"],
        &["noop", "--unique", "k", "--unique-until", "start", "--unique-for", "1h"],
        &["noop", "--unique", "k", "--unique-for", "0"],
        &["noop", "--priority", "urgent"],
        &["noop", "--expires", "soon"],
        &["noop", "--expires", "2999-01-01"],
        &["noop", "--header", "tenant"],
        &["noop", "--header", "Tenant=7"],
        &[],
    ];
    for args in wrong {
        let args: Vec<_> = ["queue:push"].iter().chain(*args).copied().collect();
        assert_eq!(rig.run(&args).code, 2, "{args:?}");
    }
    assert!(holds_only(&rig.path("."), &[]));
    assert_transcript!(rig);
}

#[test]
fn a_name_without_a_handler_here_is_a_warning_only_where_this_program_runs_the_jobs() {
    let mut rig = Rig::with_config("[channels.default]\n[channels.php.worker]\ncommand = [\"php\"]\n");
    assert!(rig.run(&["queue:push", "send_email"]).err.contains("warning: no handler for \"send_email\""));
    assert_eq!(rig.run(&["queue:push", "send_email", "-t", "php"]).err, "");
    assert_eq!(rig.run(&["queue:push", "send_email", "-q"]).err, "");
}

#[test]
fn a_job_that_is_not_there_is_said_to_be_missing() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(&["queue:show", "17"]).code, 1);
    assert_eq!(rig.run(&["queue:show", "seventeen"]).code, 2);
    assert_transcript!(rig);
}
