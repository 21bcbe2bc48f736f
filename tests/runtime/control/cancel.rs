//! `queue:cancel` in every mode, on both stores.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use super::{on_both, report, running};
use crate::fixture::{Fixture, text, until};

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

/// A program that ends on SIGTERM, or with `hang` ignores it like its children.
const EXEC: &str = r#"
case $AINT_QUEUE_JOB in
  hang) trap '' TERM; setsid sleep 1000 & echo $! > grandchild; while :; do wait; done ;;
  sleep) exec sleep 1000 ;;
esac
"#;

const LONG_JOB: &str = r#"{"ms":600000}"#;

/// The child of an exec program.
fn grandchild(fixture: &Fixture) -> Option<u32> {
    fs::read_to_string(fixture.file("grandchild")).ok()?.trim().parse().ok()
}

fn cancel(fixture: &Fixture, channel: &str, id: u64) -> Value {
    fixture.json(&["queue:cancel", &id.to_string(), "-t", channel])[0].clone()
}

/// The exit code and the message of a failed cancel.
fn refusal(fixture: &Fixture, channel: &str, id: u64) -> (i32, String) {
    let output = fixture.run(&["queue:cancel", &id.to_string(), "-t", channel]);
    (output.status.code().unwrap(), text(&output.stderr))
}

fn is_cancelled(fixture: &Fixture, channel: &str, id: u64) {
    let shown = fixture.json(&["queue:show", &id.to_string(), "-t", channel]);
    let facts = [&shown["state"], &shown["reason"], &shown["attempts"], &shown["crashes"]];
    assert_eq!(facts.map(ToString::to_string), ["\"failed\"", "\"cancelled\"", "0", "0"], "{shown}");
}

fn runs(fixture: &Fixture, channel: &str, outcome: &str) -> u64 {
    let metrics = fixture.ok(&["queue:status", "--metrics", "-t", channel]);
    let line = format!("aint_queue_runs_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|l| l.strip_prefix(&line)).expect("it is counted").parse().unwrap()
}

#[test]
fn cancel_ends_or_kills_a_run_in_every_mode() {
    on_both(CHANNELS, |fixture| {
        fixture.write("exec.sh", EXEC);
        let master = fixture.listen(&["--all"]);
        for channel in ["process", "pool", "coroutine", "exec"] {
            for (job, how) in [("sleep", "asked"), ("hang", "killed")] {
                let id = fixture.push(job, LONG_JOB, &["-t", channel, "--unique", "k"]);
                running(fixture, channel, 1);
                if (channel, job) == ("exec", "hang") {
                    // Before that the program is a shell that ends on SIGTERM.
                    until("its child", || grandchild(fixture));
                }
                let end = cancel(fixture, channel, id);
                assert_eq!(
                    (&end["result"], &end["how"], &end["id"]),
                    (&"cancelled".into(), &how.into(), &id.into())
                );
                is_cancelled(fixture, channel, id);
                assert_eq!(report(fixture, channel)["running"], 0);
                assert_eq!(cancel(fixture, channel, id)["how"], "before");
            }
            let ends = ["cancelled", "crashed", "interrupted", "timed_out", "failed"];
            assert_eq!(ends.map(|end| runs(fixture, channel, end)), [2, 0, 0, 0, 0], "{channel}");
            // Key and slot are free, and the job can be pushed again.
            if channel != "exec" {
                fixture.push("noop", "{}", &["-t", channel, "--unique", "k"]);
                fixture.until(channel, "the next job", |c| c.done == 1);
            }
        }
        let grandchild = grandchild(fixture).expect("it was there");
        let gone = || !Path::new(&format!("/proc/{grandchild}")).exists();
        until("the end of the grandchild", || gone().then_some(()));
        assert!(master.stop().success());
    });
}

#[test]
fn unheld_jobs_are_cancelled_with_or_without_master() {
    on_both(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n",
        |fixture| {
            let rest = |how: &str, more: &[&str]| {
                let id = fixture.push("noop", "{}", &[more, &["--unique", "k"]].concat());
                assert_eq!(cancel(fixture, "default", id)["how"], how);
                is_cancelled(fixture, "default", id);
                id
            };
            rest("waiting", &[]);
            rest("delayed", &["--delay", "1000"]);
            let master = fixture.listen(&[]);
            let first = fixture.push("sleep", LONG_JOB, &[]);
            running(fixture, "default", 1);
            let again = rest("waiting", &[]);
            rest("delayed", &["--delay", "1000"]);
            cancel(fixture, "default", first);
            fixture.ok(&["queue:reload-failed", "--id", &again.to_string()]);
            fixture.until("default", "the reloaded one", |c| c.done == 1);
            let (code, said) = refusal(fixture, "default", again);
            assert_eq!(code, 1);
            assert!(said.contains("has no such job") && said.contains("leave no record"), "{said}");
            assert!(master.stop().success());
        },
    );
}

#[test]
fn cancel_leaves_failed_jobs_unchanged() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = fixture.listen(&[]);
    let id = fixture.push("fail", r#"{"final":true}"#, &[]);
    fixture.until("default", "it to fail", |c| c.failed == 1);
    let before = fixture.ok(&["queue:show", &id.to_string()]);
    let (code, said) = refusal(&fixture, "default", id);
    assert_eq!(code, 1);
    assert!(said.contains("it has already failed: final"), "{said}");
    assert_eq!(fixture.ok(&["queue:show", &id.to_string()]), before);
    assert!(master.stop().success());
}

#[test]
fn cancel_refuses_jobs_of_other_masters() {
    let other = "[channels.default]\npid_path = \"elsewhere\"\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let config =
        fixture.write("other.toml", &format!("[defaults]\ndriver = {}\n{other}", crate::fixture::SQLITE));
    let config = config.to_str().unwrap();
    let mut command = std::process::Command::new(crate::fixture::BINARY);
    command.args(["queue:listen", "--log-format", "json", "--config", config]).current_dir(fixture.path());
    let theirs = fixture.listening(command);
    let id = fixture.push("sleep", LONG_JOB, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let (code, said) = refusal(&fixture, "default", id);
    assert_eq!(code, 1);
    assert!(said.contains("no master of the channel runs on this machine with this pid_path"), "{said}");
    let ours = fixture.listen(&[]);
    let (_, said) = refusal(&fixture, "default", id);
    assert!(said.contains("not by the master of this machine"), "{said}");
    // With the run directory of its master the cancel succeeds.
    let done = std::process::Command::new(crate::fixture::BINARY)
        .args(["queue:cancel", &id.to_string(), "--config", config])
        .current_dir(fixture.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    is_cancelled(&fixture, "default", id);
    assert!(ours.stop().success());
    assert!(theirs.stop().success());
}

#[test]
fn slow_cancel_of_unresponsive_job_is_explained() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 8\n");
    let master = fixture.listen(&[]);
    let deaf = fixture.push("hang", LONG_JOB, &[]);
    let siblings: Vec<_> = (0..3).map(|_| fixture.push("sleep", r#"{"ms":4000}"#, &[])).collect();
    running(&fixture, "default", 4);
    let output = fixture.run(&["queue:cancel", &deaf.to_string()]);
    assert!(output.status.success());
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains("did not end on request and was killed after "), "{said}");
    assert_eq!(noted.matches("does not end on request").count(), 1, "{noted}");
    assert_eq!(fixture.counts("default").done, siblings.len() as u64);
    assert_eq!(runs(&fixture, "default", "interrupted"), 0);
    assert!(master.stop().success());
}

#[test]
fn several_jobs_are_cancelled_and_reported_each() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 40\n");
    let master = fixture.listen(&[]);
    let ids: Vec<_> = (0..12).map(|_| fixture.push("sleep", LONG_JOB, &[]).to_string()).collect();
    running(&fixture, "default", 12);
    let all: Vec<_> =
        ["queue:cancel", "--json", "17"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let output = fixture.run(&all);
    assert_eq!(output.status.code(), Some(1), "one job is unknown");
    let ends: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let words: Vec<_> = ends.iter().map(|end| end["result"].as_str().unwrap()).collect();
    assert_eq!((words[0], words.len()), ("unknown", 13));
    assert!(words[1..].iter().all(|word| *word == "cancelled"), "{words:?}");
    assert!(text(&output.stderr).contains("could not cancel job 17"));
    assert_eq!(fixture.counts("default").failed, 12);
    assert!(master.stop().success());
}

#[test]
fn cancel_during_stop_reports_the_outcome() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_execute_seconds = 600\n",
    );
    let master = fixture.listen(&[]);
    let id = fixture.push("hang", LONG_JOB, &[]);
    running(&fixture, "default", 1);
    thread::scope(|scope| {
        let stop = scope.spawn(|| fixture.run(&["queue:stop"]));
        until("the stop", || (report(&fixture, "default")["stopping"] == true).then_some(()));
        assert_eq!(cancel(&fixture, "default", id)["how"], "killed");
        assert!(stop.join().unwrap().status.success());
    });
    is_cancelled(&fixture, "default", id);
    assert!(master.wait().success());
}

#[test]
fn cancelled_job_runs_no_failed_callback() {
    // A worker with a failure callback that would leave a trace.
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
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n\
         command = [\"./worker.sh\"]\nprotocol = \"wire\"\n",
    );
    fixture.write("worker.sh", worker);
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]);
    running(&fixture, "default", 1);
    assert_eq!(cancel(&fixture, "default", id)["how"], "asked");
    is_cancelled(&fixture, "default", id);
    // The same worker continues, and its callback runs for an ordinary failure.
    assert!(!fixture.file("callback").exists());
    fixture.push("x", "\"final\"", &[]);
    fixture.until("default", "the other to fail", |c| c.failed == 2);
    assert!(fixture.file("callback").exists());
    assert_eq!(report(&fixture, "default")["pool"]["rows"][0]["done"], 3);
    assert!(master.stop().success());
}

#[test]
fn cancel_reports_job_too_deep_in_queue() {
    let server = crate::redis::Server::start();
    let fixture = Fixture::new(&crate::drain::redis_line(&server), "[channels.default]\n");
    fixture.push_lines("default", (0..10_000).map(|_| r#"{"job":"noop"}"#.to_owned()));
    let last = fixture.push("noop", "{}", &[]);
    let (code, said) = refusal(&fixture, "default", last);
    assert_eq!(code, 1);
    assert!(said.contains("more than 10,000 jobs wait before it"), "{said}");
    assert_eq!(fixture.counts("default").waiting, 10_001);
    let high = fixture.push("noop", "{}", &["--priority", "high"]);
    assert_eq!(cancel(&fixture, "default", high)["how"], "waiting");
}

#[test]
fn job_blocking_a_reload_can_be_cancelled() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n",
    );
    let master = fixture.listen(&[]);
    let id = fixture.push("hang", LONG_JOB, &["--timeout", "600s"]);
    running(&fixture, "default", 1);
    thread::scope(|scope| {
        let reload = scope.spawn(|| fixture.run(&["queue:reload"]));
        until("the old worker to drain", || {
            (report(&fixture, "default")["workers"]["draining"] == 1).then_some(())
        });
        assert_eq!(cancel(&fixture, "default", id)["how"], "killed");
        let reload = reload.join().unwrap();
        assert!(reload.status.success(), "{}", text(&reload.stderr));
    });
    is_cancelled(&fixture, "default", id);
    assert!(master.stop().success());
}
