//! Finding and checking the configuration.

use std::fs;

use crate::rig::{Rig, assert_transcript, holds_only};

const MISTAKES: &str = r#"
[defaults]
max_attempts = 0
pid_path = "${NO_SUCH_VARIABLE}"

[defaults.driver]
type = "redis"
connection = { port = "6379", password = 12345 }

[channels.default]
consumer = { sleep_seconds = 1 }
stop_wait_second = 3

[channels.default.worker]
type = "process-pool"
min_worker_number = 60
max_worker_number = 50

[channels.mail.worker]
type = "coroutine"
command = ["php", "worker.php"]
protocol = "exec"

[channels.mail.job_snapshot]
handler = [ { type = "webhook", url = "https://example.com" } ]

[http]
listen = "0.0.0.0:8080"
max_bodies = 5
"#;

#[test]
fn every_mistake_is_reported_with_its_place_and_remedy() {
    let mut rig = Rig::with_config(MISTAKES);
    assert_eq!(rig.run(&["config:check"]).code, 4);
    assert_eq!(rig.run(&["queue:push", "noop"]).code, 4);
    assert_transcript!(rig);
}

#[test]
fn text_that_is_no_toml_is_reported_line_by_line() {
    let mut rig = Rig::with_config("[channels.default\nmax_attempts = \n\"x\" y = 1\n");
    assert_eq!(rig.run(&["config:check"]).code, 4);
    assert_transcript!(rig);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_who_named_it() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(&["config:check", "--config", "missing.toml"]).code, 4);
    assert_eq!(rig.run(&["config:check", "--config", "."]).code, 4);
    let mut command = rig.command(&["config:check"]);
    command.env("AINT_QUEUE_CONFIG", "elsewhere.toml");
    assert_eq!(rig.finish(command, &["config:check"], b"").code, 4);
    rig.write("latin1.toml", b"[channels.default]\n# caf\xe9\n");
    assert_eq!(rig.run(&["config:check", "--config", "latin1.toml"]).code, 4);
    assert_transcript!(rig);
}

#[test]
fn a_named_file_wins_over_the_environment_and_both_over_the_usual_place() {
    let mut rig = Rig::with_config("[channels.usual]");
    rig.write("given.toml", "[channels.given]");
    rig.write("environment.toml", "[channels.environment]");
    let declared = |rig: &mut Rig, args: &[&str], variable: Option<&str>| {
        let mut command = rig.command(args);
        command.envs(variable.map(|file| ("AINT_QUEUE_CONFIG", file)));
        let said = rig.finish(command, args, b"");
        let config: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        config["channels"].as_object().unwrap().keys().next().unwrap().clone()
    };
    let given = ["config:check", "--json", "--config", "given.toml"];
    let none = ["config:check", "--json"];
    assert_eq!(declared(&mut rig, &given, Some("environment.toml")), "given");
    assert_eq!(declared(&mut rig, &none, Some("environment.toml")), "environment");
    assert_eq!(declared(&mut rig, &none, Some("")), "usual");
    assert_eq!(declared(&mut rig, &none, None), "usual");
    fs::remove_dir_all(rig.path("config")).unwrap();
    assert_eq!(declared(&mut rig, &none, None), "default");
}

#[test]
fn the_effective_configuration_hides_secrets_and_is_a_configuration_again() {
    let config = r#"
[defaults]
pid_path = "run"
[channels.default.driver]
type = "redis"
url = "redis://ann:hunter2@db.example:7000/2"
[channels.default.worker]
type = "process-pool"
command = ["./missing", "x"]
env = { TOKEN = "hunter2" }
[channels.mail.worker]
type = "coroutine"
max_execute_seconds = 60
[http]
listen = "0.0.0.0:9465"
token = "hunter2-hunter2-hunter2"
hosts = ["queue.internal"]
"#;
    let mut rig = Rig::with_config(config);
    let said = rig.run(&["config:check"]);
    assert_eq!(said.code, 0);
    assert!(!said.out.contains("hunter2"));
    rig.write("again.toml", &said.out);
    assert_eq!(rig.run(&["config:check", "--config", "again.toml", "-q"]).code, 0);
    assert_transcript!(rig);
}

#[test]
fn an_undeclared_channel_lists_the_declared_ones_and_nothing_is_made() {
    let mut rig = Rig::with_config("[channels.default]\n[channels.mail]\n");
    assert_eq!(rig.run(&["queue:push", "noop", "--channel", "mial"]).code, 2);
    assert_eq!(rig.run(&["queue:status", "-t", "nope\x1b[31m"]).code, 2);
    assert_eq!(rig.run(&["queue:push", "noop", "-t", "mail", "-t", "default"]).code, 2);
    assert!(holds_only(&rig.path("config"), &["aint-queue.toml"]));
    assert_transcript!(rig);
}

#[test]
fn every_key_can_be_asked_for() {
    let mut rig = Rig::with_config("nonsense");
    let said = rig.run(&["config:check", "--keys"]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("| `worker.max_execute_seconds` | number | `10` |"), "{}", said.out);
}

#[test]
fn the_store_stands_beside_the_configuration_file() {
    let mut rig = Rig::with_config("[channels.default]");
    rig.push(&["noop"]);
    assert!(rig.path("config/aint-queue.db").exists());
    assert!(holds_only(&rig.path("."), &["config"]));
}

#[test]
fn what_is_likely_not_meant_is_said_to_those_who_check_it_and_not_to_everybody() {
    let mut rig = Rig::with_config("[channels.default]\nstop_wait_seconds = 3\n");
    let warns = |said: &str| said.matches("lets jobs be interrupted").count();
    assert_eq!(warns(&rig.run(&["config:check"]).err), 1);
    assert_eq!(warns(&rig.run(&["config:check", "-v"]).err), 1);
    assert_eq!(warns(&rig.run(&["queue:reload"]).err), 1);
    assert_eq!(rig.run(&["queue:status"]).err, "");
    assert_eq!(rig.run(&["queue:push", "noop"]).err, "");
    assert_eq!(warns(&rig.run(&["queue:status", "-v"]).err), 1);
}
