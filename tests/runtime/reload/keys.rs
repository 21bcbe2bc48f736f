//! Keys that a reload applies, and keys that need a restart.

use crate::fixture::{Fixture, until};

use super::{lines, program, reload, report, served_by};

#[test]
fn restart_only_keys_are_named_and_others_applied() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\nstop_wait_seconds = 30\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\nmax_execute_seconds = 1\n",
    );
    program(&fixture, "worker.sh", "echo \"$MARK\" >> marks");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    let id = fixture.push("fail", "{}", &[]);
    fixture.until("default", "it to have failed for good", |c| c.failed == 1);
    assert_eq!(fixture.json(&["queue:show", &id.to_string()])["attempts"], 1);

    // The command finds the master by the file, so this test keeps the run directory.
    fixture.write(
        "aint-queue.toml",
        r#"
[http]
listen = "127.0.0.1:1"
[defaults]
pid_path = "run"
driver = { type = "sqlite", path = "queue.db" }
[channels.default]
memory_limit = 77
max_attempts = 2
backoff = { kind = "fixed", base = 0.01 }
stop_wait_seconds = 1
stop_grace_seconds = 0.2
[channels.default.job_snapshot]
interval = 1
handler = [ { type = "command", command = ["sh", "-c", "cat >> snapshots"] } ]
[channels.default.worker]
type = "process-pool"
min_worker_number = 2
max_worker_number = 3
max_execute_seconds = 2
command = ["./worker.sh"]
protocol = "wire"
env = { MARK = "green" }
[channels.mail]
"#,
    );
    let answer = reload(&fixture);
    let named = ["channels.default.memory_limit", "http", "channels.mail"];
    assert_eq!(answer["restart"], serde_json::json!(named), "{answer}");
    let output = fixture.run(&["queue:reload"]);
    let said = crate::fixture::text(&output.stderr);
    assert!(
        said.contains(
            "these changes need a restart of the master: channels.default.memory_limit, http, channels.mail"
        ),
        "{said}"
    );
    assert!(
        master
            .log()
            .contains("keys changed that need a restart of the master: channels.default.memory_limit")
    );

    assert_eq!(served_by(&fixture, "default", 2).len(), 2, "min_worker_number");
    assert!(
        lines(&fixture, "marks").len() >= 2 && lines(&fixture, "marks").iter().all(|mark| mark == "green")
    );
    until("a snapshot", || (!lines(&fixture, "snapshots").is_empty()).then_some(()));
    let id = fixture.push("fail", "{}", &[]);
    fixture.until("default", "another to have failed for good", |c| c.failed == 2);
    assert_eq!(fixture.json(&["queue:show", &id.to_string()])["attempts"], 2, "max_attempts");
    fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    fixture.until("default", "one that the old limit would have ended", |c| c.done == 1);
    fixture.push("sleep", r#"{"ms":30000}"#, &["--timeout", "60"]);
    fixture.until("default", "one that outlasts a stop", |c| c.reserved == 1);
    let begun = std::time::Instant::now();
    assert!(master.stop().success());
    assert!((1..10).contains(&begun.elapsed().as_secs()), "stop_wait_seconds: {:?}", begun.elapsed());
}

#[test]
fn worker_kind_and_directory_need_a_restart() {
    let pool = |more: &str| {
        format!(
            "[defaults]\npid_path = \"run\"\ndriver = {}\n[channels.default.worker]\n{more}\n",
            crate::fixture::SQLITE
        )
    };
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 4\nflex_interval = 0.05\n",
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 1);
    fixture.write("aint-queue.toml", &pool("type = \"coroutine\"\nmax_coroutine = 9"));
    assert_eq!(reload(&fixture)["restart"], serde_json::json!(["channels.default.worker.type"]));
    // The pool is still dynamic.
    fixture.push_lines("default", (0..40).map(|_| r#"{"job":"sleep","payload":{"ms":100}}"#.to_owned()));
    until("it to grow", || {
        (report(&fixture, "default")["pool"]["rows"].as_array().unwrap().len() >= 4).then_some(())
    });
    fixture.until("default", "the jobs", |c| c.done == 40);
    fixture
        .write("aint-queue.toml", &pool("type = \"process-pool\"\ncommand = [\"cat\"]\nprotocol = \"exec\""));
    assert_eq!(reload(&fixture)["restart"], serde_json::json!(["channels.default.worker.protocol"]));

    // A signal needs no run directory.
    let text = pool("type = \"process-pool\"\nmax_coroutine = 3\nmin_worker_number = 1")
        .replace("\"run\"", "\"elsewhere\"");
    fixture.write("aint-queue.toml", &text);
    master.signal(nix::sys::signal::Signal::SIGUSR1);
    until("the refusal", || master.log().contains("reload failed: keeping").then_some(()));
    assert!(master.log().contains("elsewhere\\\" now, but this master holds"), "{}", master.log());
    let (code, said) = super::refused(&fixture);
    assert!(code == 3 && said.contains("its master is not running"), "{said}");
    assert!(fixture.file("run/default.sock").exists());
    assert!(master.stop().success());
}
