//! Lists of jobs and the removal of failed ones: `queue:jobs`, `queue:forget`, `queue:flush`, filters of `queue:failed`.

use serde_json::json;

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn jobs_are_listed_by_state() {
    let mut fixture = Fixture::new();
    fixture.run(&["queue:jobs"]);
    fixture.fail(&[("send_email", "no route")]);
    fixture.push(&["noop"]);
    fixture.push(&["noop", "--priority", "low"]);
    fixture.push(&["echo", "--data", r#"{"to":"Bob"}"#, "--delay", "1h"]);
    fixture.run(&["queue:jobs"]);
    fixture.run(&["queue:jobs", "--state", "failed,delayed"]);
    fixture.run(&["queue:jobs", "--state", "failed", "--state", "reserved", "--job", "noop"]);
    fixture.run(&["queue:jobs", "--grep", "bob", "--json"]);
    fixture.run(&["queue:jobs", "--state", "done"]);
    assert_transcript!(fixture);
}

#[test]
fn pages_of_jobs_continue_over_states() {
    let mut fixture = Fixture::new();
    let expected: Vec<_> = [&["noop"][..], &["noop"], &["noop", "--delay", "1h"], &["noop", "--delay", "2h"]]
        .iter()
        .map(|args| fixture.push(args).to_string())
        .collect();
    let foreign = fixture.run(&["queue:jobs", "--state", "waiting", "--page-after", "failed:5.17"]);
    assert_eq!(foreign.code, 2);
    assert!(foreign.err.contains("its state is not among the listed ones"), "{}", foreign.err);
    for limit in ["1", "2", "3"] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut args = vec!["queue:jobs", "--json", "--limit", limit];
            if let Some(after) = &after {
                args.extend(["--page-after", after]);
            }
            let page: serde_json::Value = serde_json::from_str(&fixture.run(&args).out).unwrap();
            found.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].to_string()));
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
}

#[test]
fn failed_jobs_are_selected_by_reason_time_name_and_text() {
    let mut fixture = Fixture::new();
    fixture.fail(&[("a", "no route to host"), ("b", "No Such user"), ("b", "timeout")]);
    let listed = |fixture: &mut Fixture, args: &[&str]| {
        let args: Vec<_> = ["queue:failed", "--json"].iter().chain(args).copied().collect();
        let page: serde_json::Value = serde_json::from_str(&fixture.run(&args).out).unwrap();
        page["jobs"].as_array().unwrap().len()
    };
    assert_eq!(listed(&mut fixture, &[]), 3);
    assert_eq!(listed(&mut fixture, &["--job", "b"]), 2);
    assert_eq!(listed(&mut fixture, &["--grep", "no such"]), 1);
    assert_eq!(listed(&mut fixture, &["--reason", "exhausted"]), 3);
    assert_eq!(listed(&mut fixture, &["--reason", "timeout"]), 0);
    assert_eq!(listed(&mut fixture, &["--since", "1h"]), 3);
    assert_eq!(listed(&mut fixture, &["--older-than", "1h"]), 0);
    assert_eq!(listed(&mut fixture, &["--older-than", "2100-01-01"]), 3);
    let mut shown = Fixture::new();
    shown.run(&["queue:failed", "--reason", "timeout"]);
    shown.run(&["queue:failed", "--reason", "time-out"]);
    shown.run(&["queue:failed", "--since", "soon"]);
    assert_transcript!(shown);
}

#[test]
fn failed_jobs_are_forgotten_by_id() {
    let mut fixture = Fixture::new();
    let ids = fixture.fail(&[("a", "x"), ("b", "x"), ("c", "x")]);
    let (first, second) = (ids[0].to_string(), ids[1].to_string());
    let waiting = fixture.push(&["noop"]).to_string();
    fixture.run(&["queue:forget", &first, &second, "--dry-run"]);
    assert_eq!(fixture.status()["failed"], 3);
    fixture.run(&["queue:forget", &first, &first]);
    assert_eq!(fixture.status()["failed"], 2);
    assert_eq!(fixture.run(&["queue:forget", &second, &waiting, "--json"]).code, 1);
    let status = fixture.status();
    assert_eq!((&status["failed"], &status["waiting"]), (&1.into(), &1.into()));
    assert_eq!(fixture.run(&["queue:forget"]).code, 2);
    assert_transcript!(fixture);
}

#[test]
fn flush_removes_what_its_options_select() {
    let mut fixture = Fixture::with_config(
        "[defaults]\npid_path = \"run\"\ndriver.path = \"../aint-queue.db\"\n[channels.default]\n[channels.mail]\n",
    );
    fixture.fail_in("default", &[("a", "x"), ("b", "x"), ("b", "y")]);
    fixture.fail_in("mail", &[("b", "x")]);
    assert_eq!(fixture.run(&["queue:flush", "--job", "b"]).code, 2, "no terminal, no confirmation");
    fixture.run(&["queue:flush", "--job", "b", "--dry-run"]);
    fixture.run(&["queue:flush", "--older-than", "7d", "--yes"]);
    assert_eq!(fixture.status()["failed"], 3);
    fixture.run(&["queue:flush", "--job", "b", "--yes", "--json"]);
    assert_eq!(fixture.status()["failed"], 1);
    fixture.run(&["queue:failed", "--all", "--json"]);
    fixture.run(&["queue:flush", "--all", "--yes"]);
    assert_eq!(fixture.status()["failed"], 0);
    assert_transcript!(fixture);
}

#[test]
fn dry_runs_change_nothing() {
    let mut fixture = Fixture::new();
    fixture.fail(&[("a", "x"), ("b", "timeout")]);
    fixture.push(&["noop"]);
    let counts = |fixture: &mut Fixture| {
        let mut status = fixture.status();
        status.as_object_mut().unwrap().remove("front_waiting_seconds");
        status
    };
    let before = counts(&mut fixture);
    fixture.run(&["queue:retry", "all", "--dry-run"]);
    fixture.run(&["queue:retry", "--grep", "time", "--dry-run", "--json"]);
    fixture.run(&["queue:clear", "--state", "any", "--dry-run"]);
    fixture.run(&["queue:clear", "--dry-run", "--json"]);
    assert_eq!(counts(&mut fixture), before);
    // An empty text from a script selects nothing, not everything.
    for command in ["queue:retry", "queue:flush", "queue:failed", "queue:jobs"] {
        assert_eq!(fixture.run(&[command, "--grep", "", "--yes"]).code, 2, "{command}");
    }
    fixture.run(&["queue:retry", "--grep", "time"]);
    assert_eq!(fixture.status()["failed"], 1);
    assert_transcript!(fixture);
}

#[test]
fn search_reads_bounded_pages() {
    let fixture = Fixture::new();
    let mut lines: Vec<_> = (0..6_000).map(|n| format!("{{\"job\":\"bulk\",\"payload\":{n}}}")).collect();
    lines.push("{\"job\":\"rare\",\"payload\":{\"to\":\"Ann\"}}".to_owned());
    fixture.write("many.jsonl", lines.join("\n") + "\n");
    let run = |args: &[&str]| fixture.command(args).output().unwrap();
    let file = fixture.path("many.jsonl");
    assert!(run(&["queue:push", "--file", file.to_str().unwrap()]).status.success());
    let search = |args: &[&str]| -> serde_json::Value {
        let output = run(&[&["queue:jobs", "--state", "waiting", "--json", "--search"], args].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut found = search(&["ANN"]);
    assert_eq!((&found["jobs"], &found["of"]), (&json!([]), &json!(6_001)));
    let mut scanned = found["scanned"].as_u64().unwrap();
    assert!((500..=5_000).contains(&scanned), "{found}");
    while let Some(next) = found["next"].as_str().map(str::to_owned) {
        found = search(&["ANN", "--page-after", &next]);
        scanned += found["scanned"].as_u64().unwrap();
    }
    assert_eq!((scanned, found["jobs"].as_array().unwrap().len()), (6_001, 1));
    let bulk = search(&["bulk"]);
    assert_eq!((bulk["jobs"].as_array().unwrap().len(), &bulk["scanned"]), (50, &json!(50)));
    // Parts of an id find a job too.
    let id = bulk["jobs"][7]["id"].to_string();
    assert_eq!(search(&[&id])["jobs"][0]["id"].to_string(), id);
    let shown = String::from_utf8(run(&["queue:jobs", "--search", "ann"]).stdout).unwrap();
    assert!(
        shown
            .contains("of 6001 jobs of channel \"default\": 0 jobs found.\nNext page: --page-after waiting:"),
        "{shown}"
    );
}
