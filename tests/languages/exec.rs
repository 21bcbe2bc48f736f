//! Exec handlers: the meaning of their exit status, in every language.

use std::fs;

use crate::example::{copy_of, effects};
use crate::fixture::until;

const REPORTS: [&str; 2] = ["-t", "reports"];

fn ends_as_its_status_says(example: &str) {
    let fixture = copy_of(example);
    let master = fixture.listen(&REPORTS);
    let push = |data: &str, more: &[&str]| fixture.push("monthly", data, &[&REPORTS[..], more].concat());
    let show = |id: u64| fixture.json(&["queue:show", &id.to_string(), "-t", "reports"]);
    let failed = |id: u64| until("it to fail", || Some(show(id)).filter(|job| job["state"] == "failed"));

    let never = failed(push(r#"{"year":"2026"}"#, &[]));
    assert_eq!((&never["reason"], &never["attempts"]), (&"final".into(), &1.into()), "{never}");
    let error = never["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(error.starts_with("exited with 65: no month in {") && error.contains("2026"), "{error}");

    // Released: the attempt does not count, although the job has only one.
    fs::write(fixture.file("books.open"), "").unwrap();
    let later = push(r#"{"month":"2026-10"}"#, &["--max-attempts", "1"]);
    until("it to be handed back", || (show(later)["state"] == "delayed").then_some(()));
    assert_eq!(show(later)["attempts"], 0);
    fs::remove_file(fixture.file("books.open")).unwrap();
    fixture.until("reports", "it to be done", |c| c.done == 1);
    let written = effects(&fixture, "reports.txt");
    assert_eq!(written.len(), 1);
    assert!(written[0].starts_with(&format!("{later} ")) && written[0].contains("2026-10"), "{written:?}");
    until("what it printed", || master.log().contains("attempt 1 of ").then_some(()));

    // An error of the program itself, which uses up the only attempt of the channel's policy.
    fs::remove_file(fixture.file("reports.txt")).unwrap();
    fs::create_dir(fixture.file("reports.txt")).unwrap();
    let error = failed(push(r#"{"month":"2026-10"}"#, &["--max-attempts", "1"]));
    assert_eq!(error["reason"], "exhausted", "{error}");
    assert!(error["errors"][0]["message"].as_str().unwrap().contains("reports.txt"), "{error}");
    assert!(master.stop().success());
}

#[test]
fn sh_exit_status_decides_outcome() {
    ends_as_its_status_says("sh");
}

#[test]
fn php_exit_status_decides_outcome() {
    ends_as_its_status_says("php");
}

#[test]
fn python_exit_status_decides_outcome() {
    ends_as_its_status_says("python");
}
