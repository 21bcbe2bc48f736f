//! Workers that send pushes faster than the store takes them.

use std::fs;

use crate::fixture::{Fixture, until};

/// Sends as many pushes as may be open, each with many small headers, before it reads a response.
const FLOOD: &str = r#"#!/usr/bin/env python3
import json, os, socket
wire = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
lines = wire.makefile("r")
def send(frame): wire.sendall((json.dumps(frame) + "\n").encode())
send({"type": "hello", "protocol": 1})
job = json.dumps({"job": "noop", "headers": {str(n): "" for n in range(10, 70)}})
push = '{"type":"push","run":%d,"ask":%d,"channel":"store","jobs":[' + ",".join([job] * 500) + "]}\n"
for line in lines:
    frame = json.loads(line)
    if frame["type"] == "stop": break
    if frame["type"] != "run": continue
    for ask in range(1, 11): wire.sendall((push % (frame["run"], ask)).encode())
    answers = [json.loads(next(lines)) for _ in range(1, 11)]
    failed = [answer for answer in answers if "ids" not in answer]
    send({"type": "failed", "run": frame["run"], "error": str(failed)} if failed else {"type": "done", "run": frame["run"]})
"#;

#[test]
fn pushes_of_workers_stay_below_the_memory_limit() {
    const WORKERS: u64 = 5;
    let fixture = Fixture::sqlite(&format!(
        "[channels.store]\n[channels.flood]\nmax_attempts = 1\n[channels.flood.worker]\ntype = \"process-pool\"\ncommand = [\"./flood.py\"]\n\
         min_worker_number = {WORKERS}\nmax_worker_number = {WORKERS}\nmax_execute_seconds = 0\n",
    ));
    fixture.write("flood.py", FLOOD);
    let master = fixture.listen(&["-t", "flood"]);
    for _ in 0..WORKERS {
        fixture.push("x", "{}", &["-t", "flood"]);
    }
    let counts = fixture.until("flood", "the floods", |counts| counts.done + counts.failed == WORKERS);
    assert_eq!(counts.done, WORKERS, "{}", master.log());
    assert_eq!(fixture.counts("store").waiting, WORKERS * 10 * 500);
    let status = until("the status", || fs::read_to_string(format!("/proc/{}/status", master.pid())).ok());
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
    let mib = peak.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10;
    assert!(mib < 96, "above the memory_limit: {peak}");
    assert!(!master.log().contains("re-exec"), "{}", master.log());
    assert!(master.stop().success());
}
