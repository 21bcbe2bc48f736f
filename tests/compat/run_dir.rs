//! The files of the run directory that the next master and the commands read.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Fixture, Master, load, recorded, until};
use crate::shape;

const CHANNELS: &str = "[channels.default.worker]\ntype = \"process-pool\"\ndynamic_mode = false\nmin_worker_number = 1\nmax_execute_seconds = 0\n";

fn record(fixture: &Fixture) -> Value {
    let text = fs::read_to_string(fixture.path("run/default-master.lock")).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

/// The contents of a run directory while a master runs, and after its end.
fn files() -> Value {
    let fixture = Fixture::with_channels(CHANNELS);
    let master = fixture.listen(&[], 1);
    let pid_file = fs::read_to_string(fixture.path("run/default-master.pid")).unwrap();
    assert_eq!(pid_file, format!("{}\n", master.pid()));
    let running = record(&fixture);
    let length = fs::metadata(fixture.path("run/default-master.lock")).unwrap().len();
    fixture.json(&["queue:stop"]);
    json!({ "lock_while_running": running, "lock_length": length, "lock_after_stop": record(&fixture), "pid_file": pid_file })
}

/// The record of a running master, as it was recorded.
pub fn recorded_lock() -> Value {
    load::<Value>("run_dir")["lock_while_running"].clone()
}

#[test]
fn run_directory_keeps_its_files_and_fields() {
    let now = files();
    let known = recorded("run_dir", &now);
    assert_eq!(shape::differences(&known, &now), "");
    assert_eq!(known["lock_length"], now["lock_length"]);
}

#[test]
fn recorded_lock_of_a_dead_master_frees_its_leases() {
    let fixture = Fixture::with_channels(CHANNELS);
    let mut master = fixture.listen(&[], 1);
    fixture.push("hang", r#"{"ms":600000}"#, &[]);
    fixture.until_workers(1, 0);
    let mut dead = recorded_lock();
    dead["incarnation"] = record(&fixture)["incarnation"].clone();
    assert_ne!(dead["incarnation"], "");
    master.kill();
    until("the guardian to end", || (fixture.json(&["queue:status"])["running"] == false).then_some(()));
    fixture.write("run/default-master.lock", &format!("{dead}\n"));

    let began = std::time::Instant::now();
    let _next: Master = fixture.serve(&[]);
    fixture.until_workers(1, 0);
    // Without the record the job would wait until its lease has expired, after 30 seconds.
    assert!(began.elapsed().as_secs() < 20, "the job ran again after {:?}", began.elapsed());
}
