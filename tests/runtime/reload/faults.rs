//! Deaths and stops during a reload.

use nix::sys::signal::Signal;

use crate::fixture::{Fixture, Master, text, until};
use crate::redis::Server;

use super::{
    PendingRequest, TWO_WORKERS, configure, fixture, in_state, kill_9, program, reload, report, served_by,
    serving, wait,
};

/// A fixture with two workers whose next generation boots only after the removal of the file "held".
fn held() -> (Fixture, Master, PendingRequest) {
    let fixture = fixture(&format!("{TWO_WORKERS}command = [\"./worker.sh\"]\nprotocol = \"wire\""));
    program(&fixture, "worker.sh", "while [ -e held ]; do sleep 0.02; done");
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 2);
    fixture.write("held", "");
    let asked = PendingRequest::reload(&fixture, "default");
    until("the first of the next generation", || {
        (in_state(&fixture, "default", "booting").len() == 1).then_some(())
    });
    (fixture, master, asked)
}

fn release_boot(fixture: &Fixture) {
    std::fs::remove_file(fixture.file("held")).unwrap();
}

#[test]
fn killed_canary_fails_the_reload() {
    let (fixture, master, asked) = held();
    let old = serving(&fixture, "default");
    kill_9(in_state(&fixture, "default", "booting")[0]);
    let (why, invalid) = asked.refused();
    assert!(!invalid && why.contains("was killed by SIGKILL before it was ready"), "{why}");
    assert_eq!(serving(&fixture, "default"), old);
    release_boot(&fixture);
    assert_eq!(reload(&fixture)["generation"], 3);
    assert!(master.stop().success());
}

#[test]
fn reload_survives_guardian_kill() {
    let (fixture, master, asked) = held();
    kill_9(master.guardian());
    release_boot(&fixture);
    assert_eq!(asked.end()["ok"]["reloaded"]["generation"], 2);
    let now = served_by(&fixture, "default", 2);
    assert!(now.values().all(|generation| *generation == 2), "{now:?}");
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn stop_ends_reload_and_reports_to_waiters() {
    for forced in [false, true] {
        let (fixture, master, asked) = held();
        let mut more: Vec<_> = (0..3).map(|_| PendingRequest::reload(&fixture, "default").begun()).collect();
        more.push(asked);
        let command =
            fixture.command(&["queue:reload"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let begun = std::time::Instant::now();
        if forced {
            fixture.ok(&["queue:stop", "--force"]);
        } else {
            master.signal(Signal::SIGTERM);
        }
        for asked in more {
            let (why, invalid) = asked.refused();
            assert!(!invalid && (why == "the channel is stopping"), "{why}");
        }
        let output = command.wait_with_output().unwrap();
        // The command may have found no master.
        assert!(matches!(output.status.code(), Some(1 | 3)), "{}", text(&output.stderr));
        assert!(master.wait().success());
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}

#[test]
fn reload_during_stop_is_refused() {
    let fixture = fixture(TWO_WORKERS);
    let socket = std::os::unix::net::UnixDatagram::bind(fixture.file("notify.sock")).unwrap();
    let mut command = fixture.listen_command(&[]);
    command.env("NOTIFY_SOCKET", fixture.file("notify.sock"));
    let master = fixture.listening(command);
    served_by(&fixture, "default", 2);
    fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    master.signal(Signal::SIGTERM);
    until("the stop", || (report(&fixture, "default")["stopping"] == true).then_some(()));
    let (code, said) = super::refused(&fixture);
    assert!(code == 1 && said.contains("the channel is stopping"), "{said}");
    assert!(!said.contains("keeps its previous"), "a stopping master keeps nothing: {said}");
    master.signal(Signal::SIGUSR1);
    let log = master.log_path();
    assert!(master.wait().success());
    assert_eq!(fixture.counts("default").done, 1, "the stop waited for the job");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("keeping the previous configuration"), "{log}");
    let messages = std::iter::from_fn(|| {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Some(text(&buffer[..length]))
    });
    let messages: Vec<_> = messages.skip_while(|words| !words.contains("STOPPING=1")).collect();
    assert!(
        !messages.is_empty() && !messages.iter().any(|words| words.contains("RELOADING=1")),
        "{messages:?}"
    );
}

#[test]
fn reload_repairs_channel_with_failing_program() {
    let settings = |command: &str| {
        format!("[channels.default.worker]\n{TWO_WORKERS}command = [\"{command}\"]\nprotocol = \"wire\"")
    };
    let fixture = Fixture::sqlite(&settings("false"));
    program(&fixture, "good.sh", "");
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    until("it to be degraded", || (report(&fixture, "default")["pool"]["degraded"] == true).then_some(()));
    configure(&fixture, &settings("./good.sh"));
    assert_eq!(reload(&fixture)["generation"], 2);
    fixture.until("default", "the job", |c| c.done == 1);
    assert_eq!(served_by(&fixture, "default", 2).len(), 2);
    let shown = report(&fixture, "default");
    assert!(shown["pool"]["degraded"] == false && shown["worker_error"].is_null(), "{shown}");
    assert!(master.stop().success());
}

#[test]
fn canary_beyond_hard_limit_fails_the_reload() {
    let settings = |limit: u32, command: &str| {
        format!(
            "[channels.default.worker]\n{TWO_WORKERS}memory_limit = 20\nmemory_hard_limit = {limit}\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let fixture = Fixture::sqlite(&settings(60, "./good.sh"));
    program(&fixture, "good.sh", "");
    fixture.write(
        "fat.sh",
        "#!/bin/sh\nexec python3 -c 'import time; x = bytearray(b\"x\" * (100 << 20)); time.sleep(60)'\n",
    );
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 2);
    configure(&fixture, &settings(60, "./fat.sh"));
    let asked = PendingRequest::reload(&fixture, "default");
    // Memory is sampled only while jobs run.
    fixture.push_lines("default", (0..40).map(|_| r#"{"job":"sleep","payload":{"ms":100}}"#.to_owned()));
    let (why, _) = asked.refused();
    assert!(why.contains("memory_hard_limit"), "{why}");
    assert_eq!(serving(&fixture, "default"), old);
    assert!(master.force_stop().success());
}

#[test]
fn canary_over_limit_at_hello_fails_the_reload() {
    let settings = |command: &str| {
        format!(
            "[channels.default.worker]\n{TWO_WORKERS}memory_limit = 20\nmemory_hard_limit = 60\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let fixture = Fixture::sqlite(&settings("./good.sh"));
    program(&fixture, "good.sh", "");
    let worker = "import os, time\n\
        kept = b'x' * (100 << 20)\n\
        os.write(3, b'{\"type\":\"hello\",\"protocol\":1,\"jobs\":[\"noop\"]}\\n')\n\
        time.sleep(600)\n";
    fixture.write("fat.py", worker);
    fixture.write("fat.sh", "#!/bin/sh\nexec python3 fat.py\n");
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 2);
    configure(&fixture, &settings("./fat.sh"));
    let (why, _) = PendingRequest::reload(&fixture, "default").refused();
    assert!(why.contains("before its first job, more than memory_hard_limit = 60 MiB"), "{why}");
    assert_eq!(serving(&fixture, "default"), old);
    assert!(master.stop().success());
}

#[test]
fn reload_works_during_store_outage() {
    let mut server = Server::start();
    let port = server.config().port;
    let fixture = Fixture::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        &format!("[channels.default.worker]\n{TWO_WORKERS}"),
    );
    let master = fixture.listen(&[]);
    served_by(&fixture, "default", 2);
    fixture.push("sleep", r#"{"ms":700}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    server.kill();
    until("the log line about the outage", || master.log().contains("store unavailable").then_some(()));
    let reloading = fixture.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    assert_eq!(wait(reloading), 0);
    let now = served_by(&fixture, "default", 2);
    assert!(now.values().all(|generation| *generation == 2), "{now:?}");
    assert!(master.force_stop().success());
}
