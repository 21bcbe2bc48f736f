//! The document that a master passes to the next program of its process at a re-exec.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Fixture, load, program, recorded, until};
use crate::shape;

const VARIABLE: &str = "AINT_QUEUE_AGAIN";

/// Channels enough to bring any master above the smallest limit.
fn fixture() -> Fixture {
    let pool = "type = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 4";
    let channels = (0..60).map(|i| format!("[channels.c{i}.worker]\ncommand = [\"true\"]\n"));
    let channels: String = channels.collect();
    Fixture::with_channels(&format!("memory_limit = 16\n[channels.default.worker]\n{pool}\n{channels}"))
}

/// The document that a master of this version writes.
fn written() -> Value {
    let fixture = fixture();
    let master = fixture.listen(&["--all"], 1);
    fixture.json(&["queue:scale", "=3"]);
    fixture.json(&["queue:quiet", "-t", "c0"]);
    let environment = format!("/proc/{}/environ", master.pid());
    until("the re-exec", || {
        let variables = fs::read(&environment).ok()?;
        let mut variables = variables.split(|byte| *byte == 0);
        let told = variables.find_map(|variable| variable.strip_prefix(format!("{VARIABLE}=").as_bytes()))?;
        serde_json::from_slice(told).ok()
    })
}

#[test]
fn handover_keeps_its_fields() {
    let now = written();
    let known = recorded("handover", &now);
    assert_eq!(shape::differences(&known, &now), "");
}

#[test]
fn recorded_handover_is_taken_over() {
    let fixture = fixture();
    let mut known: Value = load("handover");
    // A shell has single digits for descriptors, so two of the channels have to do.
    known["locks"] = json!({ "c0": 8, "default": 9 });
    known["pid"] = "PID".into();
    fs::create_dir(fixture.path("run")).unwrap();
    let script = format!(
        "exec 8<>run/c0-master.lock 9<>run/default-master.lock\n\
         export {VARIABLE}=\"${{DOCUMENT%%\\\"PID\\\"*}}$$${{DOCUMENT#*\\\"PID\\\"}}\"\n\
         exec \"$0\" queue:listen --config aint-queue.toml --all"
    );
    let program = program();
    let mut shell = fixture.prepare("sh".as_ref(), &["-c", &script, program.to_str().unwrap()]);
    shell.env("DOCUMENT", known.to_string());
    let mut master = fixture.start(shell);
    let status = fixture.until_status("the master", |status| status["running"] == true);
    assert_eq!(status["pid"], master.pid());
    until("the quiet channel", || {
        assert!(!master.has_ended());
        let status = fixture.run(&["queue:status", "-t", "c0", "--json"]).value();
        (status["quiet"] == true).then_some(())
    });
    assert_eq!(fixture.json(&["queue:scale", "+0"])[0]["before"], known["fewest"]["default"]);
    assert_eq!(
        fixture.json(&["queue:status", "-t", "c1"])["running"],
        false,
        "only the channels of the document"
    );
}
