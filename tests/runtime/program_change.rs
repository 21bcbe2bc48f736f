//! With one process per job, each job runs the program on disk at its start, without a reload.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::fixture::{Fixture, SQLITE, copy_binary, until};

/// A worker that records its version per job.
const WORKER: &str = r#"
import json, os, socket
master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
say = lambda **frame: master.sendall(json.dumps(frame).encode() + b"\n")
say(type="hello", protocol=1, jobs=["note"])
for line in master.makefile():
    frame = json.loads(line)
    if frame["type"] == "stop":
        break
    with open("seen.txt", "a") as seen:
        seen.write("VERSION\n")
    say(type="done", run=frame["run"])
"#;

#[test]
fn next_job_runs_the_changed_script() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process\"\ncommand = [\"python3\", \"worker.py\"]\nprotocol = \"wire\"\n",
    );
    let deploy = |version: u32| {
        let next = fixture.write("next.py", &WORKER.replace("VERSION", &version.to_string()));
        fs::rename(next, fixture.file("worker.py")).unwrap();
    };
    deploy(0);
    let master = fixture.listen(&[]);
    let seen = || fs::read_to_string(fixture.file("seen.txt")).unwrap_or_default();
    for version in 0..8 {
        // The spare worker was started from the previous file.
        until("a warm worker", || {
            let status = fixture.json(&["queue:status", "--workers"]);
            (status["workers"]["counts"]["idle"].as_u64() >= Some(1)).then_some(())
        });
        deploy(version);
        fixture.push("note", "{}", &[]);
        until("the job", || (seen().lines().count() > version as usize).then_some(()));
        assert_eq!(seen().lines().last(), Some(&*version.to_string()), "{}", seen());
    }
    assert!(master.stop().success());
}

#[test]
fn next_job_runs_the_new_binary() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("app");
    copy_binary(&binary);
    let config = format!("[defaults]\npid_path = \"run\"\ndriver = {SQLITE}\n[channels.default]\n");
    let fixture = Fixture::with_binary(binary.clone(), "aint-queue.toml", &config);
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the first job", |c| c.done == 1);
    copy_binary(&dir.path().join("next"));
    fs::rename(dir.path().join("next"), &binary).unwrap();
    fixture.push("sleep", r#"{"ms": 60000}"#, &["--timeout", "90"]);
    let pid = until("the job", || {
        let status = fixture.json(&["queue:status", "--workers"]);
        let rows = status["workers"]["rows"].as_array()?;
        rows.iter().find(|row| row["job"].is_object())?["pid"].as_i64()
    });
    let running = fs::metadata(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(running.ino(), fs::metadata(&binary).unwrap().ino());
    assert!(fixture.run(&["queue:stop", "--force"]).status.success());
    drop(master);
}
