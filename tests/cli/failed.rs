//! `queue:failed`, `queue:show` of a failed job, `queue:reload-failed`.

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn failed_jobs_are_listed_page_by_page() {
    let mut fixture = Fixture::new();
    fixture.run(&["queue:failed"]);
    fixture.fail(&[("send_email", "first"), ("noop", "second\nline"), ("noop", "evil \x1b[2J\u{202e}")]);
    let page = fixture.run(&["queue:failed", "--limit", "2", "--json"]).out;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let next = page["next"].as_str().unwrap().to_owned();
    let rest = fixture.run(&["queue:failed", "--limit", "2", "--page-after", &next, "--json"]).out;
    let rest: serde_json::Value = serde_json::from_str(&rest).unwrap();
    assert_eq!((rest["jobs"].as_array().unwrap().len(), &rest["next"]), (1, &serde_json::Value::Null));

    let mut shown = Fixture::new();
    shown.fail(&[("send_email", "first"), ("noop", "second\nline"), ("noop", "evil \x1b[2J\u{202e}")]);
    shown.run(&["queue:failed"]);
    shown.run(&["queue:failed", "--page-after", "x"]);
    shown.run(&["queue:failed", "--limit", "0"]);
    assert_transcript!(shown);
}

#[test]
fn failed_job_shows_its_errors() {
    let mut fixture = Fixture::new();
    let id = fixture.fail(&[("send_email", "no route to host\nat line 3 \x07")])[0];
    fixture.run(&["queue:show", &id.to_string()]);
    fixture.run(&["queue:show", &id.to_string(), "--json"]);
    assert_transcript!(fixture);
}

#[test]
fn failed_jobs_are_reloaded_by_all_name_or_id() {
    let mut fixture = Fixture::new();
    let ids = fixture.fail(&[("a", "x"), ("b", "x"), ("b", "x"), ("c", "x")]);
    fixture.run(&["queue:reload-failed", "--job", "b"]);
    assert_eq!(fixture.status()["failed"], 2);
    let id = ids[0].to_string();
    fixture.run(&["queue:reload-failed", "--id", &id, "--id", &id, "--json"]);
    let said = fixture.run(&["queue:reload-failed", "--id", &id, "--id", "17"]);
    assert_eq!(said.code, 1);
    fixture.run(&["queue:retry", "all"]);
    fixture.run(&["queue:retry", "all"]);
    let status = fixture.status();
    assert_eq!((&status["waiting"], &status["failed"]), (&4.into(), &0.into()));
    assert_transcript!(fixture);
}

#[test]
fn pipe_gets_whole_errors_and_names() {
    let mut fixture = Fixture::new();
    let (error, name) = ("word ".repeat(60) + "end", "name_".repeat(12));
    fixture.fail(&[(&name, &error)]);
    let said = fixture.run(&["queue:failed"]);
    assert!(said.out.contains(&error) && said.out.contains(&name), "{}", said.out);
    let said = fixture.run(&["queue:jobs", "--state", "failed"]);
    assert!(said.out.contains(&name), "{}", said.out);
}
