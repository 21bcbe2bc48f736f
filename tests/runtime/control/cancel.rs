//! `queue:cancel` in every mode, on both stores.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use super::{on_both, report, running};
use crate::site::{Site, text, until};

/// A channel in each mode.
const CHANNELS: &str = r#"
[channels.process]
timeout_grace_ms = 900
[channels.pool]
timeout_grace_ms = 900
[channels.coroutine]
timeout_grace_ms = 900
[channels.exec]
timeout_grace_ms = 900
[channels.process.worker]
type = "process"
[channels.pool.worker]
type = "process-pool"
min_worker_number = 1
max_worker_number = 1
[channels.coroutine.worker]
type = "coroutine"
max_coroutine = 8
[channels.exec.worker]
type = "process-pool"
max_worker_number = 1
command = ["sh", "exec.sh"]
protocol = "exec"
"#;

/// A program that ends when it is told to, or, when it is to hang, does not and has children that do not either.
const EXEC: &str = r#"
case $AINT_QUEUE_JOB in
  hang) trap '' TERM; setsid sleep 1000 & echo $! > grandchild; while :; do wait; done ;;
  sleep) exec sleep 1000 ;;
esac
"#;

const LONG: &str = r#"{"ms":600000}"#;

/// The process that an exec program has started.
fn grandchild(site: &Site) -> Option<u32> {
    fs::read_to_string(site.file("grandchild")).ok()?.trim().parse().ok()
}

fn cancel(site: &Site, channel: &str, id: u64) -> Value {
    site.json(&["queue:cancel", &id.to_string(), "-t", channel])[0].clone()
}

/// Why a cancel did not work, and with which code it ended.
fn refusal(site: &Site, channel: &str, id: u64) -> (i32, String) {
    let output = site.run(&["queue:cancel", &id.to_string(), "-t", channel]);
    (output.status.code().unwrap(), text(&output.stderr))
}

fn is_cancelled(site: &Site, channel: &str, id: u64) {
    let shown = site.json(&["queue:show", &id.to_string(), "-t", channel]);
    let facts = [&shown["state"], &shown["reason"], &shown["attempts"], &shown["crashes"]];
    assert_eq!(facts.map(ToString::to_string), ["\"failed\"", "\"cancelled\"", "0", "0"], "{shown}");
}

fn runs(site: &Site, channel: &str, outcome: &str) -> u64 {
    let metrics = site.ok(&["queue:status", "--metrics", "-t", channel]);
    let line = format!("aint_queue_runs_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|l| l.strip_prefix(&line)).expect("it is counted").parse().unwrap()
}

#[test]
fn a_running_job_ends_when_asked_or_is_killed_in_every_mode() {
    on_both(CHANNELS, |site| {
        site.write("exec.sh", EXEC);
        let master = site.listen(&["--all"]);
        for channel in ["process", "pool", "coroutine", "exec"] {
            for (job, how) in [("sleep", "asked"), ("hang", "killed")] {
                let id = site.push(job, LONG, &["-t", channel, "--unique", "k"]);
                running(site, channel, 1);
                if (channel, job) == ("exec", "hang") {
                    // Until then it is a shell that ends when it is told to.
                    until("its child", || grandchild(site));
                }
                let end = cancel(site, channel, id);
                assert_eq!(
                    (&end["result"], &end["how"], &end["id"]),
                    (&"cancelled".into(), &how.into(), &id.into())
                );
                is_cancelled(site, channel, id);
                assert_eq!(report(site, channel)["running"], 0);
                assert_eq!(cancel(site, channel, id)["how"], "before");
            }
            let ends = ["cancelled", "crashed", "interrupted", "timed_out", "failed"];
            assert_eq!(ends.map(|end| runs(site, channel, end)), [2, 0, 0, 0, 0], "{channel}");
            // Its key is free, its slot too, and it can be had again.
            if channel != "exec" {
                site.push("noop", "{}", &["-t", channel, "--unique", "k"]);
                site.until(channel, "the next job", |c| c.done == 1);
            }
        }
        let grandchild = grandchild(site).expect("it was there");
        let gone = || !Path::new(&format!("/proc/{grandchild}")).exists();
        until("the grandchild to be gone", || gone().then_some(()));
        assert!(master.stop().success());
    });
}

#[test]
fn jobs_that_rest_are_cancelled_without_a_master_and_with_one() {
    on_both(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n",
        |site| {
            let rest = |how: &str, more: &[&str]| {
                let id = site.push("noop", "{}", &[more, &["--unique", "k"]].concat());
                assert_eq!(cancel(site, "default", id)["how"], how);
                is_cancelled(site, "default", id);
                id
            };
            rest("waiting", &[]);
            rest("delayed", &["--delay", "1000"]);
            let master = site.listen(&[]);
            let first = site.push("sleep", LONG, &[]);
            running(site, "default", 1);
            let again = rest("waiting", &[]);
            rest("delayed", &["--delay", "1000"]);
            cancel(site, "default", first);
            site.ok(&["queue:reload-failed", "--id", &again.to_string()]);
            site.until("default", "the reloaded one", |c| c.done == 1);
            let (code, said) = refusal(site, "default", again);
            assert_eq!(code, 1);
            assert!(said.contains("does not hold it") && said.contains("leaves no record"), "{said}");
            assert!(master.stop().success());
        },
    );
}

#[test]
fn a_job_that_has_failed_stays_what_it_is() {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = site.listen(&[]);
    let id = site.push("fail", r#"{"final":true}"#, &[]);
    site.until("default", "it to fail", |c| c.failed == 1);
    let before = site.ok(&["queue:show", &id.to_string()]);
    let (code, said) = refusal(&site, "default", id);
    assert_eq!(code, 1);
    assert!(said.contains("it has failed already: final"), "{said}");
    assert_eq!(site.ok(&["queue:show", &id.to_string()]), before);
    assert!(master.stop().success());
}

#[test]
fn a_job_of_another_master_is_not_ours_to_cancel() {
    let other = "[channels.default]\npid_path = \"elsewhere\"\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";
    let site = Site::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let config = site.write("other.toml", &format!("[defaults]\ndriver = {}\n{other}", crate::site::SQLITE));
    let config = config.to_str().unwrap();
    let mut command = std::process::Command::new(crate::site::BINARY);
    command.args(["queue:listen", "--log-format", "json", "--config", config]).current_dir(site.path());
    let theirs = site.listening(command);
    let id = site.push("sleep", LONG, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    let (code, said) = refusal(&site, "default", id);
    assert_eq!(code, 1);
    assert!(said.contains("no master of this channel runs with this machine's pid_path"), "{said}");
    let ours = site.listen(&[]);
    let (_, said) = refusal(&site, "default", id);
    assert!(said.contains("not by the master of this machine"), "{said}");
    // Where its master runs, it works.
    let done = std::process::Command::new(crate::site::BINARY)
        .args(["queue:cancel", &id.to_string(), "--config", config])
        .current_dir(site.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    is_cancelled(&site, "default", id);
    assert!(ours.stop().success());
    assert!(theirs.stop().success());
}

#[test]
fn whoever_cancels_a_deaf_job_among_others_is_told_why_it_takes_long() {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 8\n");
    let master = site.listen(&[]);
    let deaf = site.push("hang", LONG, &[]);
    let siblings: Vec<_> = (0..3).map(|_| site.push("sleep", r#"{"ms":4000}"#, &[])).collect();
    running(&site, "default", 4);
    let output = site.run(&["queue:cancel", &deaf.to_string()]);
    assert!(output.status.success());
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains("did not end when asked and was killed, after "), "{said}");
    assert_eq!(noted.matches("does not end when asked").count(), 1, "{noted}");
    assert_eq!(site.counts("default").done, siblings.len() as u64);
    assert_eq!(runs(&site, "default", "interrupted"), 0);
    assert!(master.stop().success());
}

#[test]
fn several_jobs_are_cancelled_at_once_and_each_is_told() {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 40\n");
    let master = site.listen(&[]);
    let ids: Vec<_> = (0..12).map(|_| site.push("sleep", LONG, &[]).to_string()).collect();
    running(&site, "default", 12);
    let all: Vec<_> =
        ["queue:cancel", "--json", "17"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let output = site.run(&all);
    assert_eq!(output.status.code(), Some(1), "one of them is unknown");
    let ends: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let words: Vec<_> = ends.iter().map(|end| end["result"].as_str().unwrap()).collect();
    assert_eq!((words[0], words.len()), ("unknown", 13));
    assert!(words[1..].iter().all(|word| *word == "cancelled"), "{words:?}");
    assert!(text(&output.stderr).contains("could not cancel job 17"));
    assert_eq!(site.counts("default").failed, 12);
    assert!(master.stop().success());
}

#[test]
fn a_cancel_during_a_stop_is_answered_with_what_became_of_the_job() {
    let site = Site::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_execute_seconds = 600\n",
    );
    let master = site.listen(&[]);
    let id = site.push("hang", LONG, &[]);
    running(&site, "default", 1);
    thread::scope(|scope| {
        let stop = scope.spawn(|| site.run(&["queue:stop"]));
        until("the stop", || (report(&site, "default")["stopping"] == true).then_some(()));
        assert_eq!(cancel(&site, "default", id)["how"], "killed");
        assert!(stop.join().unwrap().status.success());
    });
    is_cancelled(&site, "default", id);
    assert!(master.wait().success());
}

#[test]
fn the_failed_callback_of_a_cancelled_job_is_not_run() {
    // A worker that has one, and would leave a trace of it.
    let worker = r#"#!/bin/sh
printf '{"type":"hello","protocol":1,"slots":1,"jobs":[{"name":"x","failed":true}]}\n' >&3
while IFS= read -r line <&3; do
  run=${line#*'"run":'}; run=${run%%[,\}]*}
  case $line in
    *'"type":"cancel"'*) printf '{"type":"failed","run":%s,"error":"cancelled"}\n' "$run" >&3 ;;
    *'"type":"failed"'*) echo called > callback; printf '{"type":"done","run":%s}\n' "$run" >&3 ;;
    *'"type":"stop"'*) exit 0 ;;
    *'"final"'*) printf '{"type":"failed","run":%s,"error":"no","retry":false}\n' "$run" >&3 ;;
  esac
done
"#;
    let site = Site::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n\
         command = [\"./worker.sh\"]\nprotocol = \"wire\"\n",
    );
    site.write("worker.sh", worker);
    let master = site.listen(&[]);
    let id = site.push("x", "{}", &[]);
    running(&site, "default", 1);
    assert_eq!(cancel(&site, "default", id)["how"], "asked");
    is_cancelled(&site, "default", id);
    // The same worker goes on, and its callback does run where nobody ordered the failure.
    assert!(!site.file("callback").exists());
    site.push("x", "\"final\"", &[]);
    site.until("default", "the other to fail", |c| c.failed == 2);
    assert!(site.file("callback").exists());
    assert_eq!(report(&site, "default")["pool"]["rows"][0]["done"], 3);
    assert!(master.stop().success());
}

#[test]
fn a_job_behind_very_many_others_is_out_of_reach_and_says_so() {
    let server = crate::redis::Server::start();
    let site = Site::new(&crate::drain::redis_line(&server), "[channels.default]\n");
    site.push_lines("default", (0..10_000).map(|_| r#"{"job":"noop"}"#.to_owned()));
    let last = site.push("noop", "{}", &[]);
    let (code, said) = refusal(&site, "default", last);
    assert_eq!(code, 1);
    assert!(said.contains("more than 10,000 jobs wait before it"), "{said}");
    assert_eq!(site.counts("default").waiting, 10_001);
    let high = site.push("noop", "{}", &["--priority", "high"]);
    assert_eq!(cancel(&site, "default", high)["how"], "waiting");
}

#[test]
fn a_job_that_holds_up_a_reload_can_be_cancelled() {
    let site = Site::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n",
    );
    let master = site.listen(&[]);
    let id = site.push("hang", LONG, &["--timeout", "600s"]);
    running(&site, "default", 1);
    thread::scope(|scope| {
        let reload = scope.spawn(|| site.run(&["queue:reload"]));
        until("the old worker to drain", || {
            (report(&site, "default")["workers"]["draining"] == 1).then_some(())
        });
        assert_eq!(cancel(&site, "default", id)["how"], "killed");
        let reload = reload.join().unwrap();
        assert!(reload.status.success(), "{}", text(&reload.stderr));
    });
    is_cancelled(&site, "default", id);
    assert!(master.stop().success());
}
