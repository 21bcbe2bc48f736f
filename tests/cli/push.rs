//! `queue:push` of one job, and `queue:show`.

use crate::fixture::{Fixture, assert_transcript, holds_only};

#[test]
fn job_is_pushed_shown_and_counted() {
    let mut fixture = Fixture::with_channels(&["default"]);
    let id = fixture.push(&[
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
    fixture.run(&["queue:show", &id.to_string()]);
    fixture.run(&["queue:show", &id.to_string(), "--json"]);
    fixture.run(&["queue:status"]);
    assert_transcript!(fixture);
}

#[test]
fn push_options_are_stored_and_shown() {
    let mut fixture = Fixture::with_channels(&["default"]);
    let more: &[&[&str]] = &[
        &[
            "--priority",
            "high",
            "--unique",
            "a",
            "--unique-until",
            "start",
            "--expires",
            "1h",
            "--retry-until",
            "2h",
        ],
        &["--header", "tenant=7", "--header", "note=a=b \u{202e}", "--unique", "b", "--unique-for", "1h"],
    ];
    for more in more {
        let id = fixture.push(&[&["noop"], *more].concat());
        fixture.run(&["queue:show", &id.to_string()]);
        fixture.run(&["queue:show", &id.to_string(), "--json"]);
    }
    assert_transcript!(fixture);
}

#[test]
fn held_unique_key_returns_its_holder() {
    let mut fixture = Fixture::new();
    let first = fixture.push(&["noop", "--unique", "k"]);
    let second = fixture.push(&["noop", "--unique", "k"]);
    assert_eq!(first, second);
    fixture.run(&["queue:push", "noop", "--unique", "k", "--json"]);
    fixture.run(&["queue:push", "noop", "--json"]);
    assert_eq!(fixture.status()["waiting"], 2);
    assert_transcript!(fixture);
}

#[test]
fn future_start_delays_and_past_start_does_not() {
    let mut fixture = Fixture::new();
    fixture.push(&["noop", "--delay", "5m"]);
    let tomorrow = jiff::Zoned::now().tomorrow().unwrap();
    fixture.push(&["noop", "--at", &tomorrow.timestamp().to_string()]);
    fixture.push(&["noop", "--at", &tomorrow.strftime("%Y-%m-%d %H:%M").to_string()]);
    fixture.push(&["noop", "--at", "2001-01-01T00:00:00Z"]);
    let status = fixture.status();
    assert_eq!((&status["delayed"], &status["waiting"]), (&3.into(), &1.into()));
}

#[test]
fn payload_comes_from_file_or_stdin() {
    let mut fixture = Fixture::new();
    let exact = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    fixture.write("payload.json", &exact);
    let id = fixture.push(&["echo", "--data", "@payload.json"]);
    let shown = fixture.run(&["queue:show", &id.to_string(), "--json"]).out;
    assert!(shown.contains(&exact));
    assert_eq!(
        fixture.run_with_stdin(&["queue:push", "echo", "--data", "-"], b"{\n  \"message\": 1\n}").code,
        0
    );
}

#[test]
fn invalid_payload_is_refused_before_store_access() {
    let mut fixture = Fixture::new();
    fixture.write("large.json", format!("\"{}\"", "x".repeat((1 << 20) - 1)));
    fixture.write("binary.json", b"\"\xff\xfe\"");
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for data in ["{", "text", "", "1 2", &deep, "@large.json", "@binary.json", "@missing.json", "@."] {
        assert_eq!(fixture.run(&["queue:push", "echo", "--data", data]).code, 2, "{data}");
    }
    assert!(holds_only(&fixture.path("."), &["binary.json", "large.json"]));
    assert_transcript!(fixture);
}

#[test]
fn invalid_options_are_refused_by_name() {
    let mut fixture = Fixture::new();
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
        assert_eq!(fixture.run(&args).code, 2, "{args:?}");
    }
    assert!(holds_only(&fixture.path("."), &[]));
    assert_transcript!(fixture);
}

#[test]
fn missing_handler_warns_only_for_own_workers() {
    let mut fixture =
        Fixture::with_config("[channels.default]\n[channels.php.worker]\ncommand = [\"php\"]\n");
    assert!(
        fixture
            .run(&["queue:push", "send_email"])
            .err
            .contains("warning: this program has no handler for \"send_email\"")
    );
    assert_eq!(fixture.run(&["queue:push", "send_email", "-t", "php"]).err, "");
    assert_eq!(fixture.run(&["queue:push", "send_email", "-q"]).err, "");
}

#[test]
fn missing_job_is_reported() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(&["queue:show", "17"]).code, 1);
    assert_eq!(fixture.run(&["queue:show", "seventeen"]).code, 2);
    assert_transcript!(fixture);
}

#[test]
fn unprinted_id_says_that_the_job_was_pushed() {
    let fixture = Fixture::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = fixture.command(&["queue:push", "noop"]);
    let pushed = command.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8(pushed.stderr).unwrap();
    assert_eq!(pushed.status.code(), Some(1));
    assert!(said.contains("could not print that job") && said.contains("was pushed"), "{said}");
    assert!(said.contains("do not push it again"), "{said}");
}

#[test]
fn unknown_time_zone_is_an_error() {
    let mut fixture = Fixture::new();
    let id = fixture.push(&["noop", "--delay", "1h"]).to_string();
    let run = |args: &[&str]| {
        let output = fixture.command(args).env("TZ", "Mars/Olympus").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let local = "2030-01-01 09:00";
    for args in [
        &["queue:push", "noop", "--at", local][..],
        &["queue:push", "noop", "--expires", local],
        &["queue:failed", "--since", local],
        &["queue:retry", "--since", local],
        &["queue:flush", "--older-than", local, "--yes"],
        &["queue:status"],
        &["queue:jobs"],
        &["queue:failed"],
        &["queue:show", &id],
        &["queue:why"],
        &["queue:cancel", &id],
        &["queue:pause", "--for", "1h"],
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("TZ is \"Mars/Olympus\", which is no known time zone"), "{args:?}: {said}");
    }
    for args in [
        &["queue:push", "noop", "--at", "2030-01-01T09:00:00Z"][..],
        &["queue:failed", "--json", "--since", "1h"],
        &["queue:show", &id, "--json"],
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
}

#[test]
fn unwritten_result_of_a_change_is_repeated_on_stderr() {
    let mut fixture = Fixture::new();
    let jobs: Vec<_> = (0..4).map(|_| fixture.push(&["noop"]).to_string()).collect();
    fixture.write("jobs.jsonl", "{\"job\":\"noop\"}\n{\"job\":\"noop\"}\n");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = |args: &[&str]| {
        let mut command = fixture.command(args);
        let output = command.stdout(full()).stderr(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (args, result) in [
        (&["queue:push", "--file", "jobs.jsonl"][..], "pushed 2 jobs"),
        (&["queue:cancel", &jobs[0]], &jobs[0]),
        (&["queue:retry", &jobs[0]], "1 "),
        (&["queue:pause"], "paused"),
        (&["queue:resume", "--json"], "\"channel\""),
        (&["queue:clear", "--yes"], "6 "),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains("could not write the result to standard output"), "{args:?}: {said}");
        assert!(said.contains("do not repeat the command") && said.contains(result), "{args:?}: {said}");
    }
    // A command that only reads has nothing to repeat.
    let (code, said) = run(&["queue:status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not write to standard output") && !said.contains("do not repeat"), "{said}");
    let (code, said) = run(&["queue:push", "--help"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not write to standard output"), "{said}");
}
