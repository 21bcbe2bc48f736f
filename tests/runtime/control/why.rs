//! `queue:why`: every reason, with a real master.

use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{on_both, report, running};
use crate::fixture::{Fixture, text, until};

const POOL: &str = r#"
[channels.default]
backoff = { kind = "fixed", base = 3600 }
timeout_grace_ms = 1500
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
max_worker_number = 1
max_execute_seconds = 20
"#;
const LONG_JOB: &str = r#"{"ms":600000}"#;

fn why(fixture: &Fixture, id: u64) -> Value {
    fixture.json(&["queue:why", &id.to_string()])
}

/// The reason and its sentence without the name of the job.
fn reason_and_text(fixture: &Fixture, id: u64) -> (String, String) {
    let why = why(fixture, id);
    assert_eq!(why["id"], id);
    let sentence = why["sentence"].as_str().unwrap();
    assert!(sentence.starts_with(&format!("Job {id} (")) && sentence.ends_with('.'), "{sentence}");
    let sentence = sentence.split_once(") ").expect("the name is in brackets").1;
    (why["reason"].as_str().unwrap().to_owned(), sentence.to_owned())
}

#[track_caller]
fn assert_reason(fixture: &Fixture, id: u64, reason: &str, part: &str) {
    let (word, sentence) = reason_and_text(fixture, id);
    assert!(word == reason && sentence.contains(part), "{word}: {sentence}");
}

fn of_channel(fixture: &Fixture) -> (String, String) {
    let why = fixture.json(&["queue:why"]);
    let part = |key: &str| why[key].as_str().unwrap().to_owned();
    (part("reason"), part("sentence"))
}

#[test]
fn why_follows_a_job_through_its_life() {
    on_both(POOL, |fixture| {
        let job = fixture.push("sleep", LONG_JOB, &[]);
        assert_reason(
            fixture,
            job,
            "no_master",
            "no master of the channel runs on this machine (queue:listen starts one)",
        );
        assert_eq!(of_channel(fixture).0, "no_master");

        let master = fixture.listen(&[]);
        running(fixture, "default", 1);
        assert_reason(fixture, job, "running", &format!("of master {}", master.pid()));
        assert_reason(fixture, job, "running", " (limit 20.0 s) in worker ");
        let worker = report(fixture, "default")["pids"][0].to_string();
        assert_reason(fixture, job, "running", &format!(" in worker {worker} of"));
        assert_eq!(of_channel(fixture).0, "running");

        let next = fixture.push("noop", "{}", &["--expires", "1h"]);
        let after = fixture.push("noop", "{}", &[]);
        assert_reason(
            fixture,
            next,
            "no_slot",
            "is waiting for a slot: the only one is busy; it expires at ",
        );
        assert_reason(fixture, after, "no_slot", "the only one is busy, with 1 job before it.");
        let high = fixture.push("noop", "{}", &["--priority", "high"]);
        assert_reason(fixture, high, "no_slot", "the only one is busy.");
        assert_reason(fixture, after, "no_slot", "with 2 jobs before it.");
        let unknown = fixture.push("dance", "{}", &[]);
        assert_reason(
            fixture,
            unknown,
            "unknown_handler",
            "the workers of the channel have handlers for burn, crash, echo",
        );
        let delayed = fixture.push("noop", "{}", &["--delay", "1h"]);
        assert_reason(fixture, delayed, "delayed", "is delayed until ");
        assert_eq!(of_channel(fixture).0, "no_slot");

        fixture.ok(&["queue:cancel", &job.to_string()]);
        assert_reason(fixture, job, "failed", "cancelled: cancelled during its run");
        let counts = fixture.until("default", "the others", |c| c.done == 3 && c.failed == 2);
        assert_eq!(counts.delayed, 1);
        assert_reason(fixture, unknown, "failed", "unknown_job after 1 attempt");
        let failing = fixture.push("fail", "{}", &[]);
        fixture.until("default", "its first attempt", |c| c.delayed == 2);
        assert_reason(fixture, failing, "retry", "attempt 1 of 3 failed with \"failed as asked\"");
        assert_eq!(of_channel(fixture).0, "delayed");

        let done = fixture.json(&["queue:why", &next.to_string()]);
        assert_eq!(
            (&done["reason"], &done["facts"]["job"]["state"]),
            (&"done".into(), &"done".into()),
            "{done}"
        );
        let output = fixture.run(&["queue:why", "17"]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
        assert!(text(&output.stdout).contains("is done, was removed, or never existed"));
        assert!(master.stop().success());
    });
}

#[test]
fn why_names_the_job_that_holds_a_key() {
    on_both(POOL, |fixture| {
        let key = |fixture: &Fixture| fixture.json(&["queue:why", "--unique", "report"]);
        assert_eq!(key(fixture)["reason"], "free");
        let id = fixture.push("sleep", LONG_JOB, &["--unique", "report"]);
        let held = key(fixture);
        assert_eq!((&held["reason"], &held["id"]), (&"unique_key".into(), &id.into()));
        assert!(
            held["sentence"]
                .as_str()
                .unwrap()
                .contains("until it has ended: a push with it adds no job. Job ")
        );
        let master = fixture.listen(&[]);
        running(fixture, "default", 1);
        assert!(key(fixture)["sentence"].as_str().unwrap().contains("has been running for "));
        fixture.ok(&["queue:cancel", &id.to_string()]);
        assert_eq!(key(fixture)["reason"], "free");
        assert!(master.stop().success());
    });
}

#[test]
fn why_reports_workers_that_fail_to_start() {
    let fixture =
        Fixture::sqlite(&format!("{POOL}command = [\"sh\", \"-c\", \"exit 7\"]\nprotocol = \"wire\"\n"));
    let id = fixture.push("x", "{}", &[]);
    let master = fixture.listen(&[]);
    until("the channel to be degraded", || {
        (report(&fixture, "default")["pool"]["degraded"] == true).then_some(())
    });
    assert_reason(&fixture, id, "degraded", "workers fail to start: it exited with 7 before it was ready");
    let (reason, sentence) = of_channel(&fixture);
    assert_eq!(reason, "degraded");
    assert!(sentence.contains("is blocked") && sentence.ends_with("1 job is waiting."), "{sentence}");
    assert!(master.stop().success());
}

#[test]
fn why_reports_stopping_channel_and_ending_job() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let deaf = fixture.push("hang", LONG_JOB, &["--timeout", "1s"]);
    running(&fixture, "default", 1);
    let waits = fixture.push("noop", "{}", &[]);
    thread::scope(|scope| {
        let stop = scope.spawn(|| fixture.run(&["queue:stop"]));
        until("the stop", || (report(&fixture, "default")["stopping"] == true).then_some(()));
        assert_reason(&fixture, waits, "stopping", &format!("master {} is stopping", master.pid()));
        // Asked to end when its second is over, and killed when the grace is.
        until("its time to be up", || (why(&fixture, deaf)["reason"] == "ending").then_some(()));
        assert!(stop.join().unwrap().status.success());
    });
    assert_reason(&fixture, deaf, "retry", "ran longer than 1s and was ended");
    assert!(master.wait().success());
}

#[test]
fn why_reports_hung_and_missing_master() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let id = fixture.push("sleep", LONG_JOB, &[]);
    running(&fixture, "default", 1);
    // The lease is longer than this test.
    master.signal(Signal::SIGSTOP);
    assert_reason(
        &fixture,
        id,
        "silent",
        &format!("is reserved, and master {} is not responding: ", master.pid()),
    );
    master.signal(Signal::SIGCONT);
    assert_reason(&fixture, id, "running", "has been running for ");
    let (waits, guardian) = (fixture.push("noop", "{}", &[]), master.guardian());
    master.kill();
    until("the end of the guardian", || {
        (!std::path::Path::new(&format!("/proc/{guardian}")).exists()).then_some(())
    });
    assert_reason(&fixture, id, "elsewhere", "no master of the channel runs on this machine");
    assert_reason(&fixture, waits, "no_master", "but 1 job is reserved, so one may run on another machine");
}

#[test]
fn why_reports_store_outage() {
    let server = crate::redis::Server::start();
    let line = crate::drain::redis_line(&server);
    let fixture = Fixture::new(&line, POOL);
    let id = fixture.push("noop", "{}", &["--delay", "1h"]);
    drop(server);
    let output = fixture.run(&["queue:why", &id.to_string()]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stdout);
    assert!(
        said.starts_with("This command cannot use the store of channel \"default\" (the store at redis"),
        "{said}"
    );
    assert!(said.contains("and no master of the channel runs on this machine. Start or repair"), "{said}");
}

#[test]
fn why_reports_paused_and_quiet_channels() {
    on_both(POOL, |fixture| {
        let master = fixture.listen(&[]);
        fixture.ok(&["queue:pause"]);
        let id = fixture.push("noop", "{}", &[]);
        assert_reason(fixture, id, "paused", "is waiting: the channel is paused until queue:resume.");
        fixture.ok(&["queue:pause", "--for", "1h"]);
        assert_reason(fixture, id, "paused", "is waiting: the channel is paused until 20");
        fixture.ok(&["queue:quiet"]);
        assert_reason(fixture, id, "paused", "; also, master ");
        assert_eq!(of_channel(fixture).0, "paused");
        fixture.ok(&["queue:resume"]);
        fixture.until("default", "it to be done", |c| c.done == 1);
        fixture.ok(&["queue:quiet"]);
        let id = fixture.push("noop", "{}", &[]);
        assert_reason(fixture, id, "quiet", &format!("master {} is quiet", master.pid()));
        fixture.ok(&["queue:cancel", &id.to_string()]);
        assert!(master.stop().success());
    });
}

#[test]
fn program_without_a_start_is_the_reason_at_once() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process\"\ncommand = [\"./worker\"]\n");
    // A start finds a missing absolute interpreter before. A relative one depends on the working directory.
    fixture.write("worker", "#!nowhere/interpreter\n");
    let job = fixture.push("noop", "{}", &[]);
    let master = fixture.listen(&[]);
    let seen = until("the channel to be degraded", || {
        let (of_channel, of_job) =
            (fixture.json(&["queue:why"]), fixture.json(&["queue:why", &job.to_string()]));
        for why in [&of_channel, &of_job] {
            let has_failed = !why["facts"]["channel"]["worker_error"].is_null();
            // The master hands jobs back, which is a settlement, when the channel becomes degraded.
            let is_named =
                ["worker_error", "degraded", "settling"].contains(&why["reason"].as_str().unwrap());
            assert!(is_named || !has_failed, "{why}");
        }
        (of_channel["reason"] == "degraded").then_some(of_channel)
    });
    assert!(seen["sentence"].as_str().unwrap().contains("workers fail to start: "), "{seen}");
    assert!(master.stop().success());
}
