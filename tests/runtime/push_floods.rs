//! Workers that send pushes faster than the store takes them.

use std::fs;

use crate::fixture::{Fixture, Master, until};

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
    let mib = peak_mib(&master);
    assert!(mib < 96, "above the memory_limit: {mib} MiB");
    assert!(!master.log().contains("re-exec"), "{}", master.log());
    assert!(master.stop().success());
}

/// The largest resident set of the master so far, in MiB.
fn peak_mib(master: &Master) -> u64 {
    let status = until("the status", || fs::read_to_string(format!("/proc/{}/status", master.pid())).ok());
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// Sends frames and reads no answers. Writes its number into `stuck` once the master reads no more for a second.
const DEAF: &str = r#"#!/usr/bin/env python3
import json, os, select, socket, sys, time
wire = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
wire.sendall(b'{"type":"hello","protocol":1}\n')
run = json.loads(wire.makefile("r").readline())["run"]
if sys.argv[1] == "asks": data = b"".join(b'{"type":"push","run":%d,"ask":%d,"jobs":{}}\n' % (run, ask) for ask in range(1000))
else: data = b'{"type":"push","run":%d,"ask":1,"jobs":[' % run + b"1," * 500000
wire.setblocking(False)
while data and select.select([], [wire], [], 1)[1]:
    try: sent = wire.send(data)
    except BlockingIOError: continue
    data = data if sys.argv[1] == "asks" else data[sent:]
with open("stuck", "a") as stuck: stuck.write("stuck\n")
time.sleep(600)
"#;

/// Lets workers flood the master until it reads none of them; returns the growth of the master in MiB.
fn growth_by_deaf_workers(workers: u64, flood: &str) -> u64 {
    let fixture = Fixture::sqlite(&format!(
        "[channels.deaf]\nmax_attempts = 1\n[channels.deaf.worker]\ntype = \"process-pool\"\ncommand = [\"./deaf.py\", \"{flood}\"]\n\
         min_worker_number = {workers}\nmax_worker_number = {workers}\nmax_execute_seconds = 0\n",
    ));
    fixture.write("deaf.py", DEAF);
    let master = fixture.listen(&["-t", "deaf"]);
    fixture.until("deaf", "the workers", |counts| counts.total == 0);
    let before = peak_mib(&master);
    for _ in 0..workers {
        fixture.push("x", "{}", &["-t", "deaf"]);
    }
    until("the end of the floods", || {
        let stuck = fs::read_to_string(fixture.file("stuck")).unwrap_or_default();
        (stuck.lines().count() as u64 >= workers).then_some(())
    });
    let growth = peak_mib(&master) - before;
    assert!(!master.log().contains("re-exec"), "{}", master.log());
    assert!(master.force_stop().success());
    growth
}

// Up to 4 MiB of answers waited for each of them.
#[test]
fn unread_answers_of_workers_are_counted() {
    let growth = growth_by_deaf_workers(12, "asks");
    assert!(growth < 16, "{growth} MiB for 12 workers");
}

// A line took up to 2 MiB, and its jobs many times that once it was complete.
#[test]
fn unfinished_frames_of_workers_are_counted() {
    let growth = growth_by_deaf_workers(16, "line");
    assert!(growth < 14, "{growth} MiB for 16 workers");
}
