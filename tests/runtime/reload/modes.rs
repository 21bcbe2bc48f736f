//! Reloads in every mode, and the program of a new generation.

use crate::fixture::until;

use super::{configure, fixture, lines, program, reload, report, served_by, serving};

/// A worker that records a variable at each start.
const NOTES: &str = "echo \"$MARK\" >> marks";

#[test]
fn warm_processes_belong_to_new_generation() {
    let settings = |mark: u32| {
        format!(
            "type = \"process\"\ncommand = [\"./w{mark}.sh\"]\nprotocol = \"wire\"\nenv = {{ MARK = \"{mark}\" }}"
        )
    };
    let fixture = fixture(&settings(1));
    program(&fixture, "w1.sh", NOTES);
    program(&fixture, "w2.sh", NOTES);
    let master = fixture.listen(&[]);
    // A serving worker and a spare one.
    let old = served_by(&fixture, "default", 2);
    configure(&fixture, &format!("[channels.default.worker]\n{}", settings(2)));
    assert_eq!(reload(&fixture)["generation"], 2);
    let new = served_by(&fixture, "default", 2);
    assert!(new.keys().all(|pid| !old.contains_key(pid)) && new.values().all(|n| *n == 2), "{new:?}");
    for done in 1..=3 {
        fixture.push("noop", "{}", &[]);
        fixture.until("default", "its job", |c| c.done == done);
    }
    let marks = lines(&fixture, "marks");
    assert_eq!(marks[..2], ["1", "1"]);
    assert!(marks[2..].iter().all(|mark| mark == "2"), "{marks:?}");
    assert!(master.stop().success());
}

#[test]
fn empty_pool_checks_new_generation_and_stays_empty() {
    let base = "type = \"process-pool\"\nmin_worker_number = 0\nmax_worker_number = 2\ncool_down_seconds = 0\nflex_interval = 0.05\n";
    let fixture = fixture(base);
    let master = fixture.listen(&[]);
    let answer = reload(&fixture);
    assert_eq!(answer["generation"], 2);
    assert!(
        answer["workers"][0]["old"].is_null() && answer["workers"][0]["new"]["generation"] == 2,
        "{answer}"
    );
    until("it to be empty again", || (master.workers().is_empty()).then_some(()));
    // A reload tests the program although no worker is needed.
    configure(
        &fixture,
        &format!("[channels.default.worker]\n{base}command = [\"false\"]\nprotocol = \"wire\""),
    );
    let (code, said) = super::refused(&fixture);
    assert!(code == 1 && said.contains("exited with 1 before it was ready"), "{said}");
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "its job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn exec_mode_runs_new_program_for_next_job() {
    let settings = |command: &str| {
        format!(
            "type = \"process-pool\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\nprotocol = \"exec\"\nmax_worker_number = 2"
        )
    };
    let fixture =
        fixture(&settings("echo old >> marks; while [ -e held ]; do sleep 0.02; done; echo end >> marks"));
    fixture.write("held", "");
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    until("it to begin", || (lines(&fixture, "marks") == ["old"]).then_some(()));
    configure(&fixture, &format!("[channels.default.worker]\n{}", settings("echo new >> marks")));
    let answer = reload(&fixture);
    assert_eq!((&answer["generation"], &answer["workers"]), (&2.into(), &serde_json::json!([])));
    fixture.push("x", "{}", &[]);
    fixture.until("default", "the next job", |c| c.done == 1);
    std::fs::remove_file(fixture.file("held")).unwrap();
    fixture.until("default", "the one that was running", |c| c.done == 2);
    assert_eq!(lines(&fixture, "marks"), ["old", "new", "end"]);
    assert!(master.stop().success());
}

#[test]
fn multi_slot_worker_hands_over_while_jobs_end() {
    let fixture = fixture("type = \"coroutine\"\nmax_coroutine = 10");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    fixture.push_lines("default", (0..5).map(|_| r#"{"job":"sleep","payload":{"ms":700}}"#.to_owned()));
    fixture.until("default", "them to run", |c| c.reserved == 5);
    configure(&fixture, "[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 20");
    let reloading = fixture.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    until("the new one", || serving(&fixture, "default").values().any(|n| *n == 2).then_some(()));
    // Running and new jobs share the slots.
    fixture.push_lines("default", (0..15).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    fixture.until("default", "those to come", |c| c.done >= 15);
    assert_eq!(super::wait(reloading), 0);
    fixture.until("default", "all", |c| c.done == 20);
    assert_eq!(report(&fixture, "default")["workers"]["idle"], 1);
    assert!(master.stop().success());
}
