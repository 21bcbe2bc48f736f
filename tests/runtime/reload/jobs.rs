//! Running jobs during a reload.

use crate::fixture::{Fixture, until};

use super::{PendingRequest, configure, fixture, lines, reload, report, served_by, serving, wait};

/// A Python worker for the jobs in its arguments that records its runs.
const WORKER: &str = r#"#!/usr/bin/env python3
import json, os, socket, sys
wire = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
def say(**frame):
    wire.sendall(json.dumps(frame).encode() + b"\n")
if os.path.exists("held"):
    open("waits", "w").close()
while os.path.exists("held"):
    __import__("time").sleep(0.02)
say(type="hello", protocol=1, slots=1, jobs=sys.argv[1:])
for line in wire.makefile("r"):
    frame = json.loads(line)
    if frame["type"] == "stop":
        break
    if frame["type"] == "run" and frame["job"] in sys.argv:
        with open("effects", "a") as effects:
            effects.write(f"{frame['job']} {frame['attempt']}\n")
        say(type="done", run=frame["run"])
    elif frame["type"] == "run":
        with open("refusals", "a") as refusals:
            refusals.write(f"{frame['job']}\n")
        say(type="failed", run=frame["run"], error="never heard of it", retry=False, unknown_job=True)
"#;

#[test]
fn job_unknown_to_old_generation_waits() {
    let settings = |jobs: &str| {
        format!(
            "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\ncommand = [\"./worker.py\", {jobs}]\nprotocol = \"wire\""
        )
    };
    let fixture = Fixture::sqlite(&settings("\"old\""));
    fixture.write("worker.py", WORKER);
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    configure(&fixture, &settings("\"old\", \"new\""));
    fixture.write("held", "");
    let asked = PendingRequest::reload(&fixture, "default");
    until("the new worker", || fixture.file("waits").exists().then_some(()));
    fixture.push("new", "{}", &[]);
    fixture.push("old", "{}", &[]);
    fixture.until("default", "the refusal of the old worker", |c| c.done == 1 && c.reserved == 0);
    assert_eq!(lines(&fixture, "refusals"), ["new"]);
    std::fs::remove_file(fixture.file("held")).unwrap();
    assert_eq!(asked.end()["ok"]["reloaded"]["generation"], 2);
    fixture.until("default", "the new job", |c| c.done == 2);
    assert_eq!(
        lines(&fixture, "effects"),
        ["old 1", "new 1"],
        "its first attempt is not counted before it runs"
    );
    // Without a reload no other worker can have a handler.
    let id = fixture.push("unheard_of", "{}", &[]);
    fixture.until("default", "it to fail", |c| c.failed == 1);
    assert_eq!(fixture.json(&["queue:show", &id.to_string()])["reason"], "unknown_job");
    assert!(master.stop().success());
}

#[test]
fn reload_releases_jobs_beyond_stop_wait() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\nmax_execute_seconds = 60\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 2);
    fixture.push("sleep", r#"{"ms":600}"#, &[]);
    let long = fixture.push("sleep", r#"{"ms":30000}"#, &[]);
    fixture.until("default", "both to run", |c| c.reserved == 2);
    let output = fixture.run(&["queue:reload"]);
    let shown = crate::fixture::text(&output.stdout);
    assert!(output.status.success(), "{}", crate::fixture::text(&output.stderr));
    assert!(
        shown.contains(
            "1 job did not finish within stop_wait_seconds and will run again; the interrupted attempt does not count."
        ),
        "{shown}"
    );
    assert!(serving(&fixture, "default").values().all(|generation| *generation == 2));
    fixture.until("default", "the long one to run again, the short one done", |c| {
        c.reserved == 1 && c.done == 1
    });
    let shown = fixture.json(&["queue:show", &long.to_string()]);
    assert_eq!((shown["attempts"].as_u64(), &shown["errors"]), (Some(0), &serde_json::json!([])), "{shown}");
    assert!(master.force_stop().success());
}

#[test]
fn job_finishing_during_release_counts_as_done() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 0.3\nstop_grace_seconds = 20\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\nmax_execute_seconds = 60\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    // The job ignores the request to end.
    fixture.push("hang", r#"{"ms":1200}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let answer = reload(&fixture);
    assert_eq!(answer["handed_back"], 0, "{answer}");
    fixture.until("default", "it", |c| c.done == 1);
    assert!(master.log().contains("interrupting them"));
    assert!(master.stop().success());
}

#[test]
fn long_job_does_not_block_process_reload_forever() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"process\"\nmax_execute_seconds = 100\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 2);
    fixture.push("sleep", r#"{"ms":90000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let begun = std::time::Instant::now();
    let answer = reload(&fixture);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!((&answer["generation"], &answer["handed_back"]), (&2.into(), &1.into()), "{answer}");
    assert!(master.force_stop().success());
}

#[test]
fn draining_worker_does_not_block_reload_forever() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 2\nmax_handle_number = 2\nmax_execute_seconds = 100\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    // The second job is the last one of its worker, which drains until the first one ends.
    fixture.push("sleep", r#"{"ms":90000}"#, &[]);
    fixture.push("noop", "{}", &[]);
    until("it to be replaced", || (report(&fixture, "default")["workers"]["draining"] == 1).then_some(()));
    served_by(&fixture, "default", 1);
    let begun = std::time::Instant::now();
    assert_eq!(reload(&fixture)["generation"], 2);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert!(master.force_stop().success());
}

#[test]
fn suspects_stay_isolated_through_reload() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 20\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 4\nmax_execute_seconds = 60\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    let suspect = fixture.push("sleep", r#"{"ms":2000}"#, &[]);
    fixture.push("crash", "{}", &["--max-attempts", "1"]);
    // Both jobs run again, each isolated.
    fixture.until("default", "the one that crashes to be found", |c| c.failed == 1);
    let isolated = until("the other one to run alone", || {
        let report = report(&fixture, "default");
        let rows = report["pool"]["rows"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["job"]["id"] == suspect && row["state"] == "busy")
    });
    served_by(&fixture, "default", 2);
    assert_eq!(reload(&fixture)["generation"], 2);
    assert!(
        serving(&fixture, "default").contains_key(&super::pid(&isolated["pid"])),
        "it is beside the plan"
    );
    fixture.until("default", "the suspect", |c| c.done == 1);

    // A stuck job holds its worker, whose other jobs may finish, but not the reload.
    let stuck = fixture.push("hang", r#"{"ms":60000}"#, &["--timeout", "1", "--max-attempts", "1"]);
    fixture.push("sleep", r#"{"ms":6000}"#, &[]);
    until("its worker to retire", || (report(&fixture, "default")["workers"]["retiring"] == 1).then_some(()));
    assert_eq!(reload(&fixture)["generation"], 3);
    assert_eq!(report(&fixture, "default")["workers"]["retiring"], 1, "the other job still runs");
    fixture.until("default", "its other job", |c| c.done == 2);
    fixture.until("default", "the stuck one", |c| c.failed == 2);
    assert_eq!(fixture.json(&["queue:show", &stuck.to_string()])["reason"], "timeout");
    assert!(master.stop().success());
}

#[test]
fn reload_command_says_why_it_waits() {
    let fixture = fixture("type = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    fixture.push("sleep", r#"{"ms":1200}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let log = std::fs::File::create(fixture.file("said")).unwrap();
    let mut command = fixture.command(&["queue:reload"]);
    let reloading = command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap();
    assert_eq!(wait(reloading), 0);
    assert_eq!(lines(&fixture, "said"), ["default: 1 old worker left to replace"]);
    assert!(master.stop().success());
}
