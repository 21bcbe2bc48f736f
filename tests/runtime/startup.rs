//! Refused starts: message, exit code, no process left.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::fixture::{BINARY, Fixture, text, until, with_command};
use crate::redis::free_port;

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// A start that must be refused; returns its message.
fn refused(fixture: &Fixture, code: i32) -> String {
    let output = fixture.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains("error: could not "), "{message}");
    let here = fixture.path().to_str().unwrap();
    assert_eq!(with_command(here), [0i32; 0], "no process is left");
    assert!(!fixture.file("run/default-master.pid").exists());
    message
}

#[test]
fn second_master_names_the_first() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let output = fixture.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains(&master.pid().to_string()), "{message}");
    assert!(master.stop().success());
}

#[test]
fn unknown_time_zone_is_a_warning() {
    let fixture = Fixture::sqlite(POOL).with_environment([("TZ", "Mars/Olympus".to_owned())]);
    let master = fixture.listen(&[]);
    let log = master.log();
    assert!(log.contains("TZ is \\\"Mars/Olympus\\\", which is no known time zone"), "{log}");
    assert!(log.contains("pushes with a local time are refused"), "{log}");
    assert!(master.stop().success());
}

#[test]
fn run_dir_that_is_a_file_is_refused() {
    let fixture = Fixture::sqlite(POOL);
    fs::write(fixture.file("run"), "").unwrap();
    let message = refused(&fixture, 1);
    assert!(message.contains("run\""), "{message}");
}

#[test]
fn directory_at_pid_file_or_socket_is_refused() {
    for name in ["default-master.pid", "default.sock"] {
        let fixture = Fixture::sqlite(POOL);
        fs::create_dir_all(fixture.file("run").join(name)).unwrap();
        let output = fixture.run(&["queue:listen"]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(name) && message.contains("remove it"), "{message}");
        assert!(
            !fixture.file("run/default-master.pid").is_file(),
            "{name}: a refused start leaves no pid file"
        );
        assert_eq!(with_command(fixture.path().to_str().unwrap()), [0i32; 0], "no process is left");
    }
}

#[test]
fn store_that_is_a_directory_is_refused() {
    let fixture = Fixture::sqlite(POOL);
    fs::create_dir(fixture.file("queue.db")).unwrap();
    let message = refused(&fixture, 5);
    assert!(message.contains("queue.db") && message.contains("directory"), "{message}");
}

#[test]
fn store_that_is_no_database_is_refused() {
    let fixture = Fixture::sqlite(POOL);
    fs::write(fixture.file("queue.db"), "this is not a database, it is a text\n".repeat(100)).unwrap();
    let message = refused(&fixture, 5);
    assert!(message.contains("queue.db"), "{message}");
}

#[test]
fn silent_redis_is_refused() {
    let port = free_port();
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let fixture = Fixture::new(&driver, POOL);
    let message = refused(&fixture, 5);
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}

#[test]
fn missing_command_is_refused() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"no-such-program\", \"x\"]\n",
    );
    let message = refused(&fixture, 4);
    assert!(message.contains("no-such-program"), "{message}");
}

#[test]
fn non_executable_command_is_refused() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process\"\ncommand = [\"./handler.sh\"]\n");
    let path = fixture.write("handler.sh", "#!/bin/sh\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let message = refused(&fixture, 4);
    assert!(message.contains("handler.sh"), "{message}");
}

#[test]
fn bad_channel_keeps_all_from_starting() {
    let fixture = Fixture::sqlite(
        r#"
[channels.good.worker]
type = "process-pool"
[channels.bad.worker]
type = "process-pool"
command = ["no-such-program"]
"#,
    );
    let output = fixture.run(&["queue:listen", "--all"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!fixture.file("run/good-master.pid").exists());
    let status = fixture.json(&["queue:status", "-t", "good"]);
    assert_eq!(status["running"], false);
}

#[test]
fn plain_script_in_a_pool_is_pointed_to_the_exec_protocol() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\ncommand = [\"./job.sh\"]\n",
    );
    // Errors of some interpreters are on standard output.
    fixture.write("job.sh", "#!/bin/sh\necho PHP Warning: no input\necho\n");
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]).to_string();
    for args in [&["queue:status"][..], &["queue:why", &id], &["queue:why"]] {
        until("the reason", || {
            let said = fixture.ok(args);
            let is_said = said.contains("protocol = \"exec\"") && said.contains("PHP Warning: no input");
            is_said.then_some(()).ok_or(said)
        });
    }
    assert!(master.stop().success());
}

/// A channel that a file declares; the comment keeps the fixture from switching the demo jobs on.
const DECLARED: &str =
    "# without demo_jobs\n[defaults]\npid_path = \"run\"\n[channels.default]\nmax_attempts = 3\n";

#[test]
fn declared_channel_runs_demo_jobs_only_with_its_key() {
    let fixture = Fixture::with_binary(BINARY.into(), "aint-queue.toml", DECLARED);
    let master = fixture.listen(&[]);
    for job in ["leak", "noop", "crash", "fail"] {
        let id = fixture.push(job, "{}", &[]);
        let failed = until("the job to fail", || {
            let shown = fixture.json(&["queue:show", &id.to_string()]);
            (shown["state"] == "failed").then_some(shown)
        });
        assert_eq!(failed["attempts"], 1, "{failed}");
        let error = failed.to_string();
        assert!(error.contains("is a demo job") && error.contains("set demo_jobs = true"), "{error}");
    }
    fixture.write("aint-queue.toml", &format!("{DECLARED}worker.demo_jobs = true\n"));
    fixture.ok(&["queue:reload"]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn demo_jobs_run_without_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let command = |args: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        command.args(args).current_dir(dir.path()).env("XDG_RUNTIME_DIR", dir.path());
        command.env_remove("AINT_QUEUE_CONFIG").stdin(std::process::Stdio::null());
        command
    };
    assert!(command(&["queue:push", "echo", "--data", r#"{"message":"hello"}"#]).status().unwrap().success());
    let ran = command(&["queue:run"]).output().unwrap();
    assert!(ran.status.success(), "{}{}", text(&ran.stdout), text(&ran.stderr));
}
