//! Channels of the `sync` driver: a push runs the job, and nothing is kept.

use crate::rig::{Rig, assert_transcript};

const CONFIG: &str = "
[defaults]
pid_path = \"run\"
max_attempts = 2
[channels.default.driver]
type = \"sync\"
[channels.kept]
";

#[test]
fn a_push_runs_the_job_and_says_how_it_ended() {
    let mut rig = Rig::with_config(CONFIG);
    rig.run(&["queue:push", "echo", "--data", r#"{"message":"hello"}"#, "--delay", "1h"]);
    rig.run(&["queue:push", "fail", "--data", r#"{"message":"no such address"}"#]);
    rig.run(&["queue:push", "unheard_of"]);
    rig.write(
        "jobs.jsonl",
        "{\"job\":\"noop\"}\n{\"job\":\"fail\",\"payload\":{\"message\":\"no\"}}\n{\"job\":\"noop\"}\n",
    );
    rig.run(&["queue:push", "--file", "jobs.jsonl"]);
    assert_transcript!(rig);
}

#[test]
fn there_is_nothing_to_listen_to_and_nothing_to_look_at() {
    let mut rig = Rig::with_config(CONFIG);
    rig.run(&["queue:listen"]);
    rig.run(&["queue:run"]);
    rig.run(&["queue:status"]);
    rig.run(&["queue:failed"]);
    rig.run(&["queue:clear", "--all", "--yes"]);
    rig.run(&["queue:status", "--all"]);
    assert_transcript!(rig);
}

#[test]
fn where_every_channel_is_sync_all_is_none() {
    let mut rig = Rig::with_config("[channels.default.driver]\ntype = \"sync\"\n");
    let said = rig.run(&["queue:listen", "--all"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("every declared channel has the driver \"sync\""), "{}", said.err);
}
