//! Snapshots, metrics, single runs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Fixture, text, until};

#[test]
fn snapshot_command_gets_json_and_may_fail() {
    let fixture = Fixture::sqlite(
        r#"
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
[channels.default.job_snapshot]
interval = 1
handler = [
  { type = "command", command = ["sh", "-c", "exit 3"] },
  { type = "command", command = ["sh", "-c", "cat >> snapshots"] },
  { type = "log" },
]
"#,
    );
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    let snapshot = until("a snapshot with the job", || {
        let all = std::fs::read_to_string(fixture.file("snapshots")).unwrap_or_default();
        let all = all.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        all.into_iter().find(|snapshot| snapshot["done"] == 1)
    });
    assert_eq!(snapshot["channel"], "default");
    assert_eq!(snapshot["total"], 1);
    assert!(snapshot["at"].as_str().unwrap().ends_with('Z'), "{snapshot}");
    until("the log handler", || master.log().contains("\"message\":\"snapshot\"").then_some(()));
    until("the failing handler", || master.log().contains("exited with 3").then_some(()));
    assert!(master.stop().success());
}

#[test]
fn metrics_count_runs_and_depths() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.push("fail", r#"{"final":true}"#, &[]);
    fixture.until("default", "both to end", |c| c.done == 1 && c.failed == 1);
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    for line in [
        r#"aint_queue_runs_total{channel="default",outcome="done"} 1"#,
        r#"aint_queue_runs_total{channel="default",outcome="failed"} 1"#,
        r#"aint_queue_jobs{channel="default",state="failed"} 1"#,
        r#"aint_queue_jobs_settled_total{channel="default",how="done"} 1"#,
        r#"aint_queue_workers{channel="default",state="idle"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    assert!(master.stop().success());
    // Without a master the depths are still available.
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    assert!(metrics.contains(r#"aint_queue_jobs{channel="default",state="failed"} 1"#), "{metrics}");
}

#[test]
fn status_reports_failing_worker_starts() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\ncommand = [\"sh\", \"-c\", \"exit 7\"]\n",
    );
    let master = fixture.listen(&[]);
    let error = until("the worker error in the status", || {
        let status = fixture.json(&["queue:status"]);
        status["worker_error"].as_str().map(str::to_owned)
    });
    assert_eq!(error, "it exited with 7 before it was ready");
    assert!(fixture.ok(&["queue:status"]).contains("Workers fail to start: it exited with 7"));
    assert!(master.stop().success());
    assert!(fixture.json(&["queue:status"])["worker_error"].is_null());
}

#[test]
fn worker_without_a_hello_shows_its_last_line() {
    let fixture = Fixture::sqlite(
        r#"
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
boot_timeout_seconds = 0.3
command = ["sh", "-c", "echo waiting for a lock; sleep 600"]
"#,
    );
    let master = fixture.listen(&[]);
    let error = until("the last line in the status", || {
        let status = fixture.json(&["queue:status"]);
        status["worker_error"].as_str().filter(|error| error.contains("lock")).map(str::to_owned)
    });
    assert_eq!(error, "it sent no hello within 300ms: waiting for a lock");
    assert!(fixture.ok(&["queue:why"]).contains("waiting for a lock"));
    assert!(master.stop().success());
}

#[test]
fn queue_run_runs_one_job() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\n");
    assert!(fixture.ok(&["queue:run"]).contains("No job is waiting"));
    let first = fixture.push("fail", r#"{"message":"no luck"}"#, &["--max-attempts", "1"]);
    let second = fixture.push("echo", r#"{"message":"hello"}"#, &[]);
    let output = fixture.run(&["queue:run", "--id", &second.to_string()]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), format!("Job {second} is done.\n"));
    assert!(text(&output.stderr).contains("hello"), "the output of the job is shown");
    let output = fixture.run(&["queue:run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no luck"));
    let counts = fixture.counts("default");
    assert_eq!((counts.done, counts.failed, counts.waiting, counts.reserved), (1, 1, 0, 0));
    // A failed job can also be run by its id.
    assert_eq!(fixture.run(&["queue:run", "--id", &first.to_string()]).status.code(), Some(1));
    assert_eq!(fixture.run(&["queue:run", "--id", "12345"]).status.code(), Some(1));
}

/// USR2 and CONT, which a shell sends after Ctrl-Z, do not end the job.
#[test]
fn queue_run_stops_for_stop_signals_only() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\n");
    fixture.push("sleep", r#"{"ms":700}"#, &[]);
    let mut command = fixture.command(&["queue:run"]);
    let run = command.stdout(Stdio::piped()).spawn().unwrap();
    fixture.until("default", "the run to begin", |c| c.reserved == 1);
    let pid = Pid::from_raw(run.id().try_into().unwrap());
    for signal in [Signal::SIGUSR2, Signal::SIGCONT, Signal::SIGUSR1, Signal::SIGTSTP] {
        kill(pid, signal).unwrap();
    }
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("is done"), "{}", text(&output.stdout));
}

#[test]
fn watched_status_is_shown_again_until_its_reader_leaves() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\n");
    let watch = |arguments: &[&str]| {
        let mut command = fixture.command(&[&["queue:status", "--watch", "100ms"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut child = watch(&["--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let waiting = |line: String| serde_json::from_str::<serde_json::Value>(&line).unwrap()["waiting"].clone();
    assert_eq!(waiting(lines.next().unwrap()), 0);
    fixture.push("noop", "{}", &[]);
    assert!(lines.by_ref().map(waiting).any(|waiting| waiting == 1));
    drop(lines);
    assert!(child.wait().unwrap().success(), "a closed pipe is the end");
    // Text in a pipe has no control characters.
    let mut child = watch(&[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let second = lines.by_ref().filter(|line| line.contains("Jobs of channel \"default\"")).nth(1).unwrap();
    assert_eq!(second, "Jobs of channel \"default\":");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    child.wait().unwrap();
}
