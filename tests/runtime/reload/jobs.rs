//! What runs while another generation takes over.

use crate::site::{Site, until};

use super::{Asked, configure, lines, reload, report, served_by, serving, site, wait};

/// A worker in Python that knows the jobs its arguments name and notes who ran what.
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
fn a_job_that_only_the_new_generation_knows_waits_for_it() {
    let settings = |jobs: &str| {
        format!(
            "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\ncommand = [\"./worker.py\", {jobs}]\nprotocol = \"wire\""
        )
    };
    let site = Site::sqlite(&settings("\"old\""));
    site.write("worker.py", WORKER);
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    configure(&site, &settings("\"old\", \"new\""));
    site.write("held", "");
    let asked = Asked::reload(&site, "default");
    until("the new worker", || site.file("waits").exists().then_some(()));
    site.push("new", "{}", &[]);
    site.push("old", "{}", &[]);
    site.until("default", "the old worker to go on, and to have refused", |c| c.done == 1 && c.reserved == 0);
    assert_eq!(lines(&site, "refusals"), ["new"]);
    std::fs::remove_file(site.file("held")).unwrap();
    assert_eq!(asked.end()["ok"]["reloaded"]["generation"], 2);
    site.until("default", "the new job", |c| c.done == 2);
    assert_eq!(
        lines(&site, "effects"),
        ["old 1", "new 1"],
        "its first attempt is not counted before it runs"
    );
    // Without a reload nobody can be waited for.
    let id = site.push("unheard_of", "{}", &[]);
    site.until("default", "it to fail", |c| c.failed == 1);
    assert_eq!(site.json(&["queue:show", &id.to_string()])["reason"], "unknown_job");
    assert!(master.stop().success());
}

#[test]
fn jobs_may_finish_within_the_stop_wait_and_longer_ones_are_handed_back_uncounted() {
    let site = Site::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\nmax_execute_seconds = 60\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 2);
    site.push("sleep", r#"{"ms":600}"#, &[]);
    let long = site.push("sleep", r#"{"ms":30000}"#, &[]);
    site.until("default", "both to run", |c| c.reserved == 2);
    let output = site.run(&["queue:reload"]);
    let shown = crate::site::text(&output.stdout);
    assert!(output.status.success(), "{}", crate::site::text(&output.stderr));
    assert!(
        shown.contains(
            "1 job did not finish within stop_wait_seconds and will run again, not counted as an attempt."
        ),
        "{shown}"
    );
    assert!(serving(&site, "default").values().all(|generation| *generation == 2));
    site.until("default", "the long one to run again, the short one done", |c| {
        c.reserved == 1 && c.done == 1
    });
    let shown = site.json(&["queue:show", &long.to_string()]);
    assert_eq!((shown["attempts"].as_u64(), &shown["errors"]), (Some(0), &serde_json::json!([])), "{shown}");
    assert!(master.force_stop().success());
}

#[test]
fn one_that_finishes_while_it_is_told_to_end_has_not_been_handed_back() {
    let site = Site::sqlite(
        "[channels.default]\nstop_wait_seconds = 0.3\nstop_grace_seconds = 20\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\nmax_execute_seconds = 60\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    // It does not listen to the request to end.
    site.push("hang", r#"{"ms":1200}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    let told = reload(&site);
    assert_eq!(told["handed_back"], 0, "{told}");
    site.until("default", "it", |c| c.done == 1);
    assert!(master.log().contains("interrupting them"));
    assert!(master.stop().success());
}

#[test]
fn a_long_job_of_a_process_per_job_holds_nobody_up_for_ever() {
    let site = Site::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"process\"\nmax_execute_seconds = 100\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 2);
    site.push("sleep", r#"{"ms":90000}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    let begun = std::time::Instant::now();
    let told = reload(&site);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!((&told["generation"], &told["handed_back"]), (&2.into(), &1.into()), "{told}");
    assert!(master.force_stop().success());
}

#[test]
fn a_worker_that_drains_for_another_reason_holds_nobody_up_for_ever() {
    let site = Site::sqlite(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.3\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 2\nmax_handle_number = 2\nmax_execute_seconds = 100\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    // The second job is the last one of its worker, which is replaced and waits for the first.
    site.push("sleep", r#"{"ms":90000}"#, &[]);
    site.push("noop", "{}", &[]);
    until("it to be replaced", || (report(&site, "default")["workers"]["draining"] == 1).then_some(()));
    served_by(&site, "default", 1);
    let begun = std::time::Instant::now();
    assert_eq!(reload(&site)["generation"], 2);
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert!(master.force_stop().success());
}

#[test]
fn suspects_go_on_alone_and_a_stuck_job_holds_nobody_up() {
    let site = Site::sqlite(
        "[channels.default]\nstop_wait_seconds = 20\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 4\nmax_execute_seconds = 60\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    let suspect = site.push("sleep", r#"{"ms":2000}"#, &[]);
    site.push("crash", "{}", &["--max-attempts", "1"]);
    // Both run again, each alone.
    site.until("default", "the one that crashes to be found", |c| c.failed == 1);
    let isolated = until("the other one to run alone", || {
        let report = report(&site, "default");
        let rows = report["pool"]["rows"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["job"]["id"] == suspect && row["state"] == "busy")
    });
    served_by(&site, "default", 2);
    assert_eq!(reload(&site)["generation"], 2);
    assert!(serving(&site, "default").contains_key(&super::pid(&isolated["pid"])), "it is beside the plan");
    site.until("default", "the suspect", |c| c.done == 1);

    // One that does not end keeps its worker, with company that may finish, and not the reload.
    let stuck = site.push("hang", r#"{"ms":60000}"#, &["--timeout", "1", "--max-attempts", "1"]);
    site.push("sleep", r#"{"ms":6000}"#, &[]);
    until("its worker to retire", || (report(&site, "default")["workers"]["retiring"] == 1).then_some(()));
    assert_eq!(reload(&site)["generation"], 3);
    assert_eq!(report(&site, "default")["workers"]["retiring"], 1, "its other job goes on");
    site.until("default", "its other job", |c| c.done == 2);
    site.until("default", "the stuck one", |c| c.failed == 2);
    assert_eq!(site.json(&["queue:show", &stuck.to_string()])["reason"], "timeout");
    assert!(master.stop().success());
}

#[test]
fn the_command_says_what_it_waits_for() {
    let site = site("type = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1");
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    site.push("sleep", r#"{"ms":1200}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    let log = std::fs::File::create(site.file("said")).unwrap();
    let mut command = site.command(&["queue:reload"]);
    let reloading = command.stderr(log).stdout(std::process::Stdio::null()).spawn().unwrap();
    assert_eq!(wait(reloading), 0);
    assert_eq!(lines(&site, "said"), ["default: 1 old worker to be replaced"]);
    assert!(master.stop().success());
}
