//! `queue:why`: every answer it gives, from a real master.

use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{on_both, report, running};
use crate::site::{Site, text, until};

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
const LONG: &str = r#"{"ms":600000}"#;

fn why(site: &Site, id: u64) -> Value {
    site.json(&["queue:why", &id.to_string()])
}

/// The reason, and the sentence without the name of the job.
fn said(site: &Site, id: u64) -> (String, String) {
    let why = why(site, id);
    assert_eq!(why["id"], id);
    let sentence = why["sentence"].as_str().unwrap();
    assert!(sentence.starts_with(&format!("Job {id} (")) && sentence.ends_with('.'), "{sentence}");
    let sentence = sentence.split_once(") ").expect("the name is in brackets").1;
    (why["reason"].as_str().unwrap().to_owned(), sentence.to_owned())
}

#[track_caller]
fn says(site: &Site, id: u64, reason: &str, part: &str) {
    let (word, sentence) = said(site, id);
    assert!(word == reason && sentence.contains(part), "{word}: {sentence}");
}

fn of_channel(site: &Site) -> (String, String) {
    let why = site.json(&["queue:why"]);
    let part = |key: &str| why[key].as_str().unwrap().to_owned();
    (part("reason"), part("sentence"))
}

#[test]
fn a_job_is_followed_through_its_life() {
    on_both(POOL, |site| {
        let job = site.push("sleep", LONG, &[]);
        says(site, job, "no_master", "no master of the channel runs here (queue:listen starts one)");
        assert_eq!(of_channel(site).0, "no_master");

        let master = site.listen(&[]);
        running(site, "default", 1);
        says(site, job, "running", &format!("of master {}", master.pid()));
        says(site, job, "running", "of at most 20.0 s in worker ");
        let worker = report(site, "default")["pids"][0].to_string();
        says(site, job, "running", &format!(" in worker {worker} of"));
        assert_eq!(of_channel(site).0, "running");

        let next = site.push("noop", "{}", &["--expires", "1h"]);
        let after = site.push("noop", "{}", &[]);
        says(site, next, "no_slot", "waits for a slot: the only one is busy; it expires at ");
        says(site, after, "no_slot", "the only one is busy, with 1 job before it.");
        let high = site.push("noop", "{}", &["--priority", "high"]);
        says(site, high, "no_slot", "the only one is busy.");
        says(site, after, "no_slot", "with 2 jobs before it.");
        let unknown = site.push("dance", "{}", &[]);
        says(site, unknown, "unknown_handler", "the workers of the channel name burn, crash, echo");
        let delayed = site.push("noop", "{}", &["--delay", "1h"]);
        says(site, delayed, "delayed", "is delayed until ");
        assert_eq!(of_channel(site).0, "no_slot");

        site.ok(&["queue:cancel", &job.to_string()]);
        says(site, job, "failed", "cancelled: cancelled while it ran");
        let counts = site.until("default", "the others", |c| c.done == 3 && c.failed == 2);
        assert_eq!(counts.delayed, 1);
        says(site, unknown, "failed", "unknown_job after 1 attempt");
        let failing = site.push("fail", "{}", &[]);
        site.until("default", "its first attempt", |c| c.delayed == 2);
        says(site, failing, "retry", "attempt 1 of 3 failed with \"failed as asked\"");
        assert_eq!(of_channel(site).0, "delayed");

        for gone in [next, 17] {
            let output = site.run(&["queue:why", &gone.to_string()]);
            assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
            assert!(text(&output.stdout).contains("is done, was removed, or never was"));
        }
        assert!(master.stop().success());
    });
}

#[test]
fn a_key_is_held_by_a_job_and_the_job_says_why() {
    on_both(POOL, |site| {
        let key = |site: &Site| site.json(&["queue:why", "--unique", "report"]);
        assert_eq!(key(site)["reason"], "free");
        let id = site.push("sleep", LONG, &["--unique", "report"]);
        let held = key(site);
        assert_eq!((&held["reason"], &held["id"]), (&"unique_key".into(), &id.into()));
        assert!(
            held["sentence"]
                .as_str()
                .unwrap()
                .contains("until it has ended, so a push with it adds nothing. Job ")
        );
        let master = site.listen(&[]);
        running(site, "default", 1);
        assert!(key(site)["sentence"].as_str().unwrap().contains("is running for "));
        site.ok(&["queue:cancel", &id.to_string()]);
        assert_eq!(key(site)["reason"], "free");
        assert!(master.stop().success());
    });
}

#[test]
fn a_channel_whose_workers_do_not_start() {
    let site = Site::sqlite(&format!("{POOL}command = [\"sh\", \"-c\", \"exit 7\"]\nprotocol = \"wire\"\n"));
    let id = site.push("x", "{}", &[]);
    let master = site.listen(&[]);
    until("the channel to be degraded", || {
        (report(&site, "default")["pool"]["degraded"] == true).then_some(())
    });
    says(&site, id, "degraded", "no worker can be started: it exited with 7 before it was ready");
    let (reason, sentence) = of_channel(&site);
    assert_eq!(reason, "degraded");
    assert!(sentence.contains("stands still") && sentence.ends_with("1 job is waiting."), "{sentence}");
    assert!(master.stop().success());
}

#[test]
fn a_channel_that_is_stopping_and_a_job_that_is_being_ended() {
    let site = Site::sqlite(POOL);
    let master = site.listen(&[]);
    let deaf = site.push("hang", LONG, &["--timeout", "1s"]);
    running(&site, "default", 1);
    let waits = site.push("noop", "{}", &[]);
    thread::scope(|scope| {
        let stop = scope.spawn(|| site.run(&["queue:stop"]));
        until("the stop", || (report(&site, "default")["stopping"] == true).then_some(()));
        says(&site, waits, "stopping", &format!("its master {} is stopping", master.pid()));
        // Asked to end when its second is over, and killed when the grace is.
        until("its time to be up", || (why(&site, deaf)["reason"] == "ending").then_some(()));
        assert!(stop.join().unwrap().status.success());
    });
    says(&site, deaf, "retry", "ran longer than 1s and was ended");
    assert!(master.wait().success());
}

#[test]
fn a_master_that_does_not_answer_and_one_that_is_gone() {
    let site = Site::sqlite(POOL);
    let master = site.listen(&[]);
    let id = site.push("sleep", LONG, &[]);
    running(&site, "default", 1);
    // Its lease is longer than this takes.
    master.signal(Signal::SIGSTOP);
    says(&site, id, "silent", &format!("is reserved, and its master {} does not answer: ", master.pid()));
    master.signal(Signal::SIGCONT);
    says(&site, id, "running", "is running for ");
    let (waits, guardian) = (site.push("noop", "{}", &[]), master.guardian());
    master.kill();
    until("the guardian to be gone", || {
        (!std::path::Path::new(&format!("/proc/{guardian}")).exists()).then_some(())
    });
    says(&site, id, "elsewhere", "no master of the channel runs here");
    says(&site, waits, "no_master", "though 1 job is reserved, so one may run elsewhere");
}

#[test]
fn while_the_store_is_away_that_is_what_it_says() {
    let server = crate::redis::Server::start();
    let line = crate::drain::redis_line(&server);
    let site = Site::new(&line, POOL);
    let id = site.push("noop", "{}", &["--delay", "1h"]);
    drop(server);
    let output = site.run(&["queue:why", &id.to_string()]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    assert!(said.contains("the store at redis://127.0.0.1:") && said.contains("is not available"), "{said}");
}

#[test]
fn a_channel_that_is_paused_and_one_that_is_quiet() {
    on_both(POOL, |site| {
        let master = site.listen(&[]);
        site.ok(&["queue:pause"]);
        let id = site.push("noop", "{}", &[]);
        says(site, id, "paused", "waits: the channel is paused until somebody runs queue:resume.");
        site.ok(&["queue:pause", "--for", "1h"]);
        says(site, id, "paused", "waits: the channel is paused until 20");
        site.ok(&["queue:quiet"]);
        says(site, id, "paused", "; also, its master ");
        assert_eq!(of_channel(site).0, "paused");
        site.ok(&["queue:resume"]);
        site.until("default", "it to be done", |c| c.done == 1);
        site.ok(&["queue:quiet"]);
        let id = site.push("noop", "{}", &[]);
        says(site, id, "quiet", &format!("its master {} was told to take no jobs", master.pid()));
        site.ok(&["queue:cancel", &id.to_string()]);
        assert!(master.stop().success());
    });
}
