//! Replaced workers, and the report of the command.

use crate::fixture::{Fixture, text, until};

use super::{PendingRequest, TWO_WORKERS, fixture, lines, pid, program, reload, report, served_by, serving};

#[test]
fn replacements_are_reported_as_text_and_json() {
    let fixture = fixture(TWO_WORKERS);
    let master = fixture.listen(&[]);
    let first = served_by(&fixture, "default", 2);
    assert!(first.values().all(|generation| *generation == 1));

    let answer = reload(&fixture);
    let second = serving(&fixture, "default");
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(second.keys().all(|pid| !first.contains_key(pid)) && second.values().all(|n| *n == 2));
    assert_eq!(
        (&answer["channel"], &answer["generation"], &answer["handed_back"]),
        (&"default".into(), &2.into(), &0.into())
    );
    assert_eq!((&answer["restart"], &answer["program_replaced"]), (&serde_json::json!([]), &false.into()));
    let side = |side: &str| -> std::collections::BTreeMap<i32, u64> {
        let rows = answer["workers"].as_array().unwrap().iter();
        rows.map(|row| (pid(&row[side]["pid"]), row[side]["generation"].as_u64().unwrap())).collect()
    };
    assert_eq!((side("old"), side("new")), (first, second.clone()));

    let output = fixture.run(&["queue:reload"]);
    let (said, shown) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success() && !said.contains("error") && !said.contains("warning"), "{said}");
    assert!(shown.starts_with("Channel \"default\" is reloaded: generation 3 is serving.\n"), "{shown}");
    let third = serving(&fixture, "default");
    for (pid, generation) in second.iter().chain(&third) {
        assert!(
            shown.contains(&format!("│ {pid}")) && shown.contains(&format!("│ {generation} ")),
            "{shown}"
        );
    }
    let status = fixture.ok(&["queue:status", "--workers"]);
    assert!(status.contains("│ 3 "), "{status}");
    assert_eq!(report(&fixture, "default")["pool"]["reload"], serde_json::Value::Null);
    assert!(master.log().contains("\"message\":\"reloaded\""));
    assert!(master.stop().success());
}

#[test]
fn concurrent_reload_requests_become_one_more() {
    let fixture = fixture(&format!("{TWO_WORKERS}command = [\"./worker.sh\"]\nprotocol = \"wire\""));
    program(&fixture, "worker.sh", "");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 2);
    // The first worker of the next generation is held before its hello.
    program(&fixture, "worker.sh", "while [ -e held ]; do sleep 0.02; done");
    fixture.write("held", "");
    let asked: Vec<_> = (0..20).map(|_| PendingRequest::reload(&fixture, "default").begun()).collect();
    let command = fixture.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    let waits = report(&fixture, "default")["pool"]["reload"].clone();
    assert_eq!(
        (&waits["generation"], &waits["proved"], &waits["old"]),
        (&2.into(), &false.into(), &2.into())
    );
    assert_eq!(serving(&fixture, "default").len(), 2, "the old workers still serve");
    std::fs::remove_file(fixture.file("held")).unwrap();
    let generations: Vec<_> = asked
        .into_iter()
        .map(|asked| asked.end()["ok"]["reloaded"]["generation"].as_u64().expect("it was reloaded"))
        .collect();
    assert_eq!(generations[0], 2, "{generations:?}");
    assert!(generations[1..].iter().all(|generation| *generation == 3), "{generations:?}");
    assert_eq!(super::wait(command), 0);
    assert!(serving(&fixture, "default").values().all(|generation| (3..=4).contains(generation)));
    assert!(master.stop().success());
}

#[test]
fn reload_of_one_channel_keeps_other_workers() {
    let fixture =
        Fixture::sqlite(&format!("[channels.one.worker]\n{TWO_WORKERS}[channels.two.worker]\n{TWO_WORKERS}"));
    let master = fixture.listen(&["--all"]);
    let (one, two) = (served_by(&fixture, "one", 2), served_by(&fixture, "two", 2));
    fixture.ok(&["queue:reload", "-t", "one"]);
    assert_eq!(serving(&fixture, "two"), two);
    assert!(serving(&fixture, "one").keys().all(|pid| !one.contains_key(pid)));
    let answer = fixture.json(&["queue:reload", "--all"]);
    let generations: Vec<_> =
        answer.as_array().unwrap().iter().map(|answer| answer["generation"].clone()).collect();
    assert_eq!(generations, [3, 2], "{answer}");
    fixture.ok(&["queue:stop", "-t", "one"]);
    // A channel without a master does not hide the others.
    let output = fixture.run(&["queue:reload", "-t", "one", "-t", "two"]);
    assert_eq!(output.status.code(), Some(1), "done only in part");
    assert!(text(&output.stdout).contains("Channel \"two\" is reloaded: generation 3 is serving."));
    assert!(text(&output.stderr).contains("could not reload channel \"one\": its master is not running"));
    assert_eq!(fixture.json(&["queue:reload", "--all"]).as_array().unwrap().len(), 1);
    assert!(master.stop().success());
    assert_eq!(fixture.run(&["queue:reload", "--all"]).status.code(), Some(3), "no master is running");
}

#[test]
fn rolling_replacement_stays_within_surge() {
    let fixture = fixture(
        "type = \"process-pool\"\nmin_worker_number = 4\nmax_worker_number = 4\ncommand = [\"./worker.sh\"]\nprotocol = \"wire\"",
    );
    // Each worker records its start.
    program(&fixture, "worker.sh", "echo born >> births");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 4);
    let mut asked = PendingRequest::reload(&fixture, "default");
    let mut most = 0;
    until("the end of the reload", || {
        most = most.max(master.workers().len());
        serving(&fixture, "default").values().all(|generation| *generation == 2)
            && report(&fixture, "default")["pool"]["reload"].is_null()
    });
    while asked.line().get("progress").is_some() {}
    assert!(most <= 5, "{most} workers at once");
    assert_eq!(serving(&fixture, "default").len(), 4);
    assert_eq!(lines(&fixture, "births").len(), 8, "no worker is started twice");
    until("the end of the old workers", || (master.workers().len() == 4).then_some(()));
    assert!(master.stop().success());
}
