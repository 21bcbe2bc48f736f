//! Finding and checking the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{Fixture, assert_transcript, holds_only};

const INVALID_CONFIG: &str = r#"
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
fn config_errors_have_position_and_remedy() {
    let mut fixture = Fixture::with_config(INVALID_CONFIG);
    assert_eq!(fixture.run(&["config:check"]).code, 4);
    assert_eq!(fixture.run(&["queue:push", "noop"]).code, 4);
    assert_transcript!(fixture);
}

#[test]
fn invalid_toml_is_reported_line_by_line() {
    let mut fixture = Fixture::with_config("[channels.default\nmax_attempts = \n\"x\" y = 1\n");
    assert_eq!(fixture.run(&["config:check"]).code, 4);
    assert_transcript!(fixture);
}

#[test]
fn unreadable_config_file_is_named_with_its_source() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(&["config:check", "--config", "missing.toml"]).code, 4);
    assert_eq!(fixture.run(&["config:check", "--config", "."]).code, 4);
    let mut command = fixture.command(&["config:check"]);
    command.env("AINT_QUEUE_CONFIG", "elsewhere.toml");
    assert_eq!(fixture.finish(command, &["config:check"], b"").code, 4);
    fixture.write("latin1.toml", b"[channels.default]\n# caf\xe9\n");
    assert_eq!(fixture.run(&["config:check", "--config", "latin1.toml"]).code, 4);
    assert_transcript!(fixture);
}

#[test]
fn config_file_precedence() {
    let mut fixture = Fixture::with_config("[channels.usual]");
    fixture.write("given.toml", "[channels.given]");
    fixture.write("environment.toml", "[channels.environment]");
    let declared = |fixture: &mut Fixture, args: &[&str], variable: Option<&str>| {
        let mut command = fixture.command(args);
        command.envs(variable.map(|file| ("AINT_QUEUE_CONFIG", file)));
        let said = fixture.finish(command, args, b"");
        let config: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        config["channels"].as_object().unwrap().keys().next().unwrap().clone()
    };
    let given = ["config:check", "--json", "--config", "given.toml"];
    let none = ["config:check", "--json"];
    assert_eq!(declared(&mut fixture, &given, Some("environment.toml")), "given");
    assert_eq!(declared(&mut fixture, &none, Some("environment.toml")), "environment");
    assert_eq!(declared(&mut fixture, &none, Some("")), "usual");
    assert_eq!(declared(&mut fixture, &none, None), "usual");
    fs::remove_dir_all(fixture.path("config")).unwrap();
    assert_eq!(declared(&mut fixture, &none, None), "default");
}

#[test]
fn effective_config_hides_secrets_and_parses() {
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
    let mut fixture = Fixture::with_config(config);
    let said = fixture.run(&["config:check"]);
    assert_eq!(said.code, 4, "a program is missing");
    assert!(!said.out.contains("hunter2"));
    fixture.write("again.toml", &said.out);
    let again = fixture.run(&["config:check", "--config", "again.toml", "-q"]);
    assert!(again.code == 4 && again.err.contains("could not find the programs"), "{}", again.err);
    assert_transcript!(fixture);
}

#[test]
fn undeclared_channel_creates_nothing() {
    let mut fixture = Fixture::with_config("[channels.default]\n[channels.mail]\n");
    assert_eq!(fixture.run(&["queue:push", "noop", "--channel", "mial"]).code, 2);
    assert_eq!(fixture.run(&["queue:status", "-t", "nope\x1b[31m"]).code, 2);
    assert_eq!(fixture.run(&["queue:push", "noop", "-t", "mail", "-t", "default"]).code, 2);
    assert!(holds_only(&fixture.path("config"), &["aint-queue.toml"]));
    assert_transcript!(fixture);
}

#[test]
fn every_key_can_be_shown() {
    let mut fixture = Fixture::with_config("nonsense");
    let said = fixture.run(&["config:check", "--keys"]);
    assert_eq!(said.code, 0);
    assert!(said.out.contains("| `worker.max_execute_seconds` | number | `10` |"), "{}", said.out);
}

#[test]
fn default_store_is_beside_the_config_file() {
    let mut fixture = Fixture::with_config("[channels.default]");
    fixture.push(&["noop"]);
    assert!(fixture.path("config/aint-queue.db").exists());
    assert!(holds_only(&fixture.path("."), &["config"]));
}

#[test]
fn config_check_warns_and_other_commands_do_not() {
    let mut fixture = Fixture::with_config("[channels.default]\nstop_wait_seconds = 3\n");
    let warns = |said: &str| said.matches("lets jobs be interrupted").count();
    assert_eq!(warns(&fixture.run(&["config:check"]).err), 1);
    assert_eq!(warns(&fixture.run(&["config:check", "-v"]).err), 1);
    assert_eq!(warns(&fixture.run(&["queue:reload"]).err), 1);
    assert_eq!(fixture.run(&["queue:status"]).err, "");
    assert_eq!(fixture.run(&["queue:push", "noop"]).err, "");
    assert_eq!(warns(&fixture.run(&["queue:status", "-v"]).err), 1);
}

#[test]
fn config_check_names_what_a_script_lacks() {
    let channel = |name: &str, command: &str| format!("[channels.{name}.worker]\ncommand = {command}\n");
    let config = [
        channel("interpreter", r#"["./nope"]"#),
        channel("env", r#"["./env-nope"]"#),
        channel("mode", r#"["./plain"]"#),
        channel("script", r#"["sh", "-e", "missing.sh"]"#),
        channel("path", "[\"./env-nope\"]\nenv = { PATH = \"PROGRAMS\" }"),
    ];
    let mut fixture = Fixture::new();
    let programs = fixture.path("programs");
    fixture.write("aint-queue.toml", config.concat().replace("PROGRAMS", &programs.to_string_lossy()));
    fs::create_dir(&programs).unwrap();
    for (name, text, mode) in [
        ("nope", "#!/usr/bin/nope -x\n", 0o755),
        ("env-nope", "#!/usr/bin/env aint-queue-nope\n", 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("programs/aint-queue-nope", "#!/bin/sh\n", 0o755),
    ] {
        fixture.write(name, text);
        fs::set_permissions(fixture.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = fixture.run(&["config:check"]);
    assert_eq!(said.code, 4);
    for part in [
        "whose interpreter \"/usr/bin/nope\" does not exist",
        "whose interpreter \"aint-queue-nope\" is in no directory of PATH",
        "plain\" is not executable: run chmod +x on it",
    ] {
        assert_eq!(said.err.matches(part).count(), 1, "{part}: {}", said.err);
    }
    assert!(!said.err.contains("channels.path."), "{}", said.err);
    let script = "warning: the script of channels.script.worker.command does not exist: ";
    assert!(said.err.contains(script), "{}", said.err);
    let refused = fixture.run(&["queue:listen", "-t", "interpreter"]);
    assert!(refused.code == 4 && refused.err.contains("/usr/bin/nope"), "{}", refused.err);
}
