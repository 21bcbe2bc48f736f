//! Every view of a channel shows the same numbers at rest, with one master and with two.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::{Request, address};
use crate::fixture::{Fixture, until};
use crate::redis::Server;

/// The counts that every view has.
const STATES: [&str; 5] = ["waiting", "reserved", "delayed", "failed", "done"];
/// The file to which the handler of snapshots appends.
const SNAPSHOTS: &str = "snapshots.jsonl";

type Counts = BTreeMap<&'static str, u64>;

/// A configuration whose masters snapshot every second into a file beside it.
fn channels() -> String {
    let handler = format!(r#"type = "command", command = ["sh", "-c", "cat >> {SNAPSHOTS}"]"#);
    format!(
        "[channels.default]\njob_snapshot = {{ interval = 1, handler = [{{ {handler} }}] }}\n\
         worker.type = \"coroutine\"\n[http]\nlisten = \"127.0.0.1:0\"\n"
    )
}

fn of_status(status: &Value) -> Counts {
    STATES.iter().filter_map(|state| Some((*state, status[state].as_u64()?))).collect()
}

fn of_metrics(text: &str) -> Counts {
    let sample = |name: String| text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    let name = |state: &str| match state {
        "done" => "aint_queue_jobs_settled_total{channel=\"default\",how=\"done\"}".to_owned(),
        state => format!("aint_queue_jobs{{channel=\"default\",state=\"{state}\"}}"),
    };
    STATES.iter().filter_map(|state| Some((*state, sample(name(state))?))).collect()
}

fn last_snapshot(fixture: &Fixture) -> Option<Value> {
    let text = std::fs::read_to_string(fixture.file(SNAPSHOTS)).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}

#[test]
fn status_metrics_and_snapshots_agree_at_rest() {
    let server = Server::start();
    let port = server.config().port;
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let fixtures = [Fixture::new(&driver, &channels()), Fixture::new(&driver, &channels())];
    let expected: Counts =
        [("waiting", 0), ("reserved", 0), ("delayed", 2), ("failed", 3), ("done", 40)].into();
    let mut masters = Vec::new();
    for (number, fixture) in fixtures.iter().enumerate() {
        masters.push((fixture, fixture.listen(&[])));
        if number == 0 {
            let jobs = std::iter::repeat_n(r#"{"job":"noop"}"#, 40)
                .chain(std::iter::repeat_n(r#"{"job":"fail","payload":{"final":true}}"#, 3))
                .chain(std::iter::repeat_n(r#"{"job":"noop","delay":"1h"}"#, 2));
            fixture.push_lines("default", jobs.map(str::to_owned));
            fixture.until("default", "the jobs to end", |c| c.done == 40 && c.failed == 3);
        }
        for (fixture, master) in &masters {
            let status = fixture.json(&["queue:status"]);
            assert_eq!(of_status(&status), expected, "{status}");
            let metrics = || Request::new("GET", "/metrics", "").send(address(master)).text;
            until("the metrics", || (of_metrics(&metrics()) == expected).then_some(()));
            let commanded = fixture.ok(&["queue:status", "--metrics"]);
            assert_eq!(of_metrics(&commanded), expected, "{commanded}");
            until("the snapshot", || last_snapshot(fixture).filter(|last| of_status(last) == expected));
        }
    }
    for (_, master) in masters {
        assert!(master.stop().success());
    }
}

#[test]
fn snapshot_has_the_state_of_the_master_and_the_last_minute() {
    let fixture = Fixture::sqlite(&channels());
    let master = fixture.listen(&[]);
    fixture.push_lines("default", std::iter::repeat_n(r#"{"job":"noop"}"#.to_owned(), 30));
    fixture.push("noop", "{}", &["--delay", "1h"]);
    let snapshot = until("a snapshot with all runs", || {
        last_snapshot(&fixture).filter(|last| last["recent"]["runs"] == 30 && last["delayed"] == 1)
    });
    let number = |pointer: &str| snapshot.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    assert!(number("/recent/arrived_per_second") > 0.0, "{snapshot}");
    assert!(number("/recent/settled_per_second") > 0.0, "{snapshot}");
    assert!(number("/recent/wait_seconds/p50") <= number("/recent/wait_seconds/max"), "{snapshot}");
    assert!(number("/recent/run_seconds/p99") > 0.0, "{snapshot}");
    assert!(number("/recent/store_seconds/mean") > 0.0, "{snapshot}");
    assert!((3_500.0..=3_600.0).contains(&number("/next_due_seconds")), "{snapshot}");
    assert_eq!(snapshot["recent"]["failure_rate"], json!(0.0));
    assert_eq!(snapshot["workers"]["idle"], json!(1), "{snapshot}");
    assert!(number("/workers_memory_bytes") > 0.0, "{snapshot}");
    assert_eq!(
        [&snapshot["degraded"], &snapshot["quiet"], &snapshot["running_jobs"]],
        [&json!(false), &json!(false), &json!(0)]
    );
    // Commands show the same.
    let status = fixture.json(&["queue:status"]);
    assert!(status["recent"]["runs"].as_u64() == Some(30), "{status}");
    let shown = fixture.ok(&["queue:status"]);
    assert!(shown.contains("\nHere: 30 runs; half took up to "), "{shown}");
    let history = fixture.json(&["queue:history", "--last", "5m"]);
    let points = history["points"].as_array().unwrap();
    assert_eq!(history["step_seconds"], json!(1));
    assert_eq!(points.iter().filter_map(|point| point["runs"].as_u64()).sum::<u64>(), 30, "{history}");
    let arrived = points.iter().filter_map(|point| point["flow"]["arrived"].as_u64()).sum::<u64>();
    assert_eq!(arrived, 31, "{history}");
    let charts = fixture.ok(&["queue:history", "--last", "5m"]);
    assert!(charts.contains("\nrun, 95 %    "), "{charts}");
    assert!(master.stop().success());
    let error = fixture.run(&["queue:history"]);
    assert_eq!(error.status.code(), Some(3), "{error:?}");
}
