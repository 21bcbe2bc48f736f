//! Channels of the `sync` driver: a push runs the job, and no job is stored.

use crate::fixture::{Fixture, assert_transcript};

const CONFIG: &str = "
[defaults]
pid_path = \"run\"
max_attempts = 2
[defaults.worker]
demo_jobs = true
[channels.default.driver]
type = \"sync\"
[channels.kept]
";

#[test]
fn sync_push_runs_job_and_reports_outcome() {
    let mut fixture = Fixture::with_config(CONFIG);
    fixture.run(&["queue:push", "echo", "--data", r#"{"message":"hello"}"#, "--delay", "1h"]);
    fixture.run(&["queue:push", "fail", "--data", r#"{"message":"no such address"}"#]);
    fixture.run(&["queue:push", "unheard_of"]);
    fixture.write(
        "jobs.jsonl",
        "{\"job\":\"noop\"}\n{\"job\":\"fail\",\"payload\":{\"message\":\"no\"}}\n{\"job\":\"noop\"}\n",
    );
    fixture.run(&["queue:push", "--file", "jobs.jsonl"]);
    assert_transcript!(fixture);
}

#[test]
fn sync_push_refuses_demo_jobs_without_their_key() {
    let mut fixture = Fixture::with_config("[channels.default.driver]\ntype = \"sync\"\n");
    let said = fixture.run(&["queue:push", "noop"]);
    assert!(said.code == 1 && said.err.contains("set demo_jobs = true"), "{}", said.err);
}

#[test]
fn sync_channels_have_no_listener_and_no_jobs() {
    let mut fixture = Fixture::with_config(CONFIG);
    fixture.run(&["queue:listen"]);
    fixture.run(&["queue:run"]);
    fixture.run(&["queue:status"]);
    fixture.run(&["queue:failed"]);
    fixture.run(&["queue:clear", "--all", "--yes"]);
    fixture.run(&["queue:status", "--all"]);
    assert_transcript!(fixture);
}

#[test]
fn all_sync_channels_mean_no_channels() {
    let mut fixture = Fixture::with_config("[channels.default.driver]\ntype = \"sync\"\n");
    let said = fixture.run(&["queue:listen", "--all"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("every declared channel uses the driver \"sync\""), "{}", said.err);
}
