//! `queue:failed`, `queue:show` of a failed job, `queue:reload-failed`.

use crate::rig::{Rig, assert_transcript};

#[test]
fn failed_jobs_are_listed_page_by_page() {
    let mut rig = Rig::new();
    rig.run(&["queue:failed"]);
    rig.fail(&[("send_email", "first"), ("noop", "second\nline"), ("noop", "evil \x1b[2J\u{202e}")]);
    let page = rig.run(&["queue:failed", "--limit", "2", "--json"]).out;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let next = page["next"].as_str().unwrap().to_owned();
    let rest = rig.run(&["queue:failed", "--limit", "2", "--page-after", &next, "--json"]).out;
    let rest: serde_json::Value = serde_json::from_str(&rest).unwrap();
    assert_eq!((rest["jobs"].as_array().unwrap().len(), &rest["next"]), (1, &serde_json::Value::Null));

    let mut shown = Rig::new();
    shown.fail(&[("send_email", "first"), ("noop", "second\nline"), ("noop", "evil \x1b[2J\u{202e}")]);
    shown.run(&["queue:failed"]);
    shown.run(&["queue:failed", "--page-after", "x"]);
    shown.run(&["queue:failed", "--limit", "0"]);
    assert_transcript!(shown);
}

#[test]
fn a_failed_job_shows_its_errors() {
    let mut rig = Rig::new();
    let id = rig.fail(&[("send_email", "no route to host\nat line 3 \x07")])[0];
    rig.run(&["queue:show", &id.to_string()]);
    rig.run(&["queue:show", &id.to_string(), "--json"]);
    assert_transcript!(rig);
}

#[test]
fn failed_jobs_are_reloaded_all_or_by_name_or_by_id() {
    let mut rig = Rig::new();
    let ids = rig.fail(&[("a", "x"), ("b", "x"), ("b", "x"), ("c", "x")]);
    rig.run(&["queue:reload-failed", "--job", "b"]);
    assert_eq!(rig.status()["failed"], 2);
    let id = ids[0].to_string();
    rig.run(&["queue:reload-failed", "--id", &id, "--id", &id, "--json"]);
    let said = rig.run(&["queue:reload-failed", "--id", &id, "--id", "17"]);
    assert_eq!(said.code, 1);
    rig.run(&["queue:retry"]);
    rig.run(&["queue:retry"]);
    let status = rig.status();
    assert_eq!((&status["waiting"], &status["failed"]), (&4.into(), &0.into()));
    assert_transcript!(rig);
}
