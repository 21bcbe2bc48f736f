//! A job that does not end, beside many others in one worker.

use std::time::{Duration, Instant};

use crate::fixture::{Fixture, until};
use crate::samples::{Sampler, metric, runs, sample};
use crate::{size, time_limit};

const SECOND: Duration = Duration::from_secs(1);
/// The time between two counts of jobs, from which the throughput is computed.
const COUNT_INTERVAL: Duration = Duration::from_millis(50);

#[test]
fn stuck_job_costs_siblings_nothing() {
    let slots = size(200, 1_000);
    let (nap, jobs) = (size(200, 500), slots * 40);
    let fixture = Fixture::sqlite(&format!(
        "[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = {slots}\nmax_execute_seconds = 3\nmemory_limit = 512\n"
    ));
    let master = fixture.listen(&[]);
    let id = fixture.push("hang", r#"{"ms":600000}"#, &["--max-attempts", "1"]);
    fixture
        .push_lines("default", (0..jobs).map(|_| format!(r#"{{"job":"sleep","payload":{{"ms":{nap}}}}}"#)));
    let sampler = Sampler::start(&fixture);

    // The number of finished jobs over time, until the last jobs run.
    let mut ends: Vec<(Instant, u64)> = Vec::new();
    let mut retired = None;
    loop {
        let done = fixture.counts("default").done;
        ends.push((Instant::now(), done));
        if retired.is_none() && sample(&fixture).count("retiring") == 1 {
            retired = Some(Instant::now());
        }
        if done + slots >= jobs {
            break;
        }
        std::thread::sleep(COUNT_INTERVAL);
    }
    fixture.until("default", "every other job", |c| c.done == jobs && c.failed == 1);
    let samples = sampler.stop();
    let retired = retired
        .or_else(|| samples.iter().find(|s| s.count("retiring") == 1).map(|s| s.at))
        .expect("the worker retires");
    let rate = |from: Instant, to: Instant| {
        let inside: Vec<_> = ends.iter().filter(|(at, _)| (from..to).contains(at)).collect();
        let (first, last) = (inside.first().expect("samples"), inside.last().expect("samples"));
        (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64().max(0.001)
    };
    let before = rate(ends[0].0, retired);
    let after = rate(retired + time_limit(2 * SECOND).min(3 * SECOND), ends.last().unwrap().0);
    println!("{slots} slots: {before:.0} jobs a second before, {after:.0} two seconds after the time-out");
    assert!(after >= before / 2.0, "{after} a second, {before} before");

    assert_eq!(fixture.json(&["queue:show", &id.to_string()])["reason"], "timeout");
    let others = ["interrupted", "crashed", "crashed_in_company"].map(|outcome| runs(&fixture, outcome));
    assert_eq!((runs(&fixture, "done"), runs(&fixture, "timed_out"), others), (jobs, 1, [0, 0, 0]));
    assert!(samples.iter().any(|s| s.count("stuck_slots") == 1), "it is counted while it is there");
    assert!(samples.iter().all(|s| s.count("retiring") <= 2));
    until("the old worker to be gone", || (sample(&fixture).all() == 1).then_some(()));
    assert_eq!(sample(&fixture).count("stuck_slots"), 0);
    assert!(master.stop().success());
}

#[test]
fn late_end_costs_siblings_nothing() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 2\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 4\nmax_execute_seconds = 60\n",
    );
    let master = fixture.listen(&[]);
    fixture.push("hang", r#"{"ms":1500}"#, &["--max-attempts", "1", "--timeout", "300ms"]);
    fixture.push("sleep", r#"{"ms":5000}"#, &[]);
    until("its worker to retire", || (sample(&fixture).count("retiring") == 1).then_some(()));
    fixture.until("default", "the late one", |c| c.done == 1);
    until("it to drain", || (sample(&fixture).count("draining") == 1).then_some(()));
    fixture.until("default", "its sibling", |c| c.done == 2);
    assert_eq!((runs(&fixture, "done"), runs(&fixture, "interrupted")), (2, 0));
    until("the old worker to be gone", || (sample(&fixture).all() == 1).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn growing_stuck_job_is_killed_for_memory() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nstop_wait_seconds = 600\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 2\nmemory_hard_limit = 128\nmax_execute_seconds = 600\ncommand = [\"python3\", \"grow.py\"]\n",
    );
    // A worker that never settles a run, and allocates memory one second after a cancel.
    let worker = "import json, os, socket, time\n\
        wire = socket.socket(fileno=int(os.environ['AINT_QUEUE_FD'])).makefile('rwb', buffering=0)\n\
        wire.write(b'{\"type\":\"hello\",\"protocol\":1,\"slots\":2,\"jobs\":[\"x\"]}\\n')\n\
        kept = []\n\
        for line in wire:\n    if json.loads(line)['type'] == 'cancel':\n        time.sleep(1)\n        kept.append(b'x' * (200 << 20))\n";
    fixture.write("grow.py", worker);
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    fixture.push("x", "{}", &["--max-attempts", "1", "--timeout", "300ms"]);
    fixture.until("default", "it to be killed", |c| c.failed == 1);
    assert_eq!(metric(&fixture, "aint_queue_workers_recycled_total", ",limit=\"memory_hard\""), 1);
    // Samples bring the count to the metrics.
    until("the kill in the metrics", || {
        (metric(&fixture, "aint_queue_killed_processes_total", ",reason=\"memory_hard\"") == 1).then_some(())
    });
    assert_eq!((runs(&fixture, "timed_out"), runs(&fixture, "interrupted")), (1, 1));
    assert!(master.force_stop().success());
}
