//! Handlers of snapshots: every kind of receiver, and the bad ones beside good ones.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{Fixture, until};
use crate::receiver::{CannedResponse, Receiver, status};
use crate::smtp_sink::{Behaviour, SmtpSink};

/// The channel `default` with a snapshot each second for these handlers.
fn config(handlers: &str) -> String {
    format!(
        "[channels.default]\njob_snapshot = {{ interval = 1, handler = [{handlers}] }}\n\
         [channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n"
    )
}

#[test]
fn webhook_mail_and_file_get_every_snapshot() {
    let (hook, mail) = (Receiver::start(|_| status(204)), SmtpSink::start(Behaviour::Takes));
    let fixture = Fixture::sqlite(&config(&format!(
        "{{ type = \"webhook\", url = \"http://127.0.0.1:{}/x\", secret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u\" }}, \
         {{ type = \"email\", to = [\"ops@example.com\"], from = \"queue@example.com\", smtp = \"smtp://127.0.0.1:{}?tls=none\" }}, \
         {{ type = \"file\", path = \"counts.jsonl\" }}",
        hook.port(),
        mail.port()
    )));
    fixture.ok(&["queue:pause"]);
    fixture.push("noop", "{}", &[]);
    let master = fixture.listen(&[]);
    until("two snapshots at the webhook", || (hook.requests().len() >= 2).then_some(()));
    let requests = hook.requests();
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!((&body["channel"], &body["waiting"]), (&"default".into(), &1.into()));
    assert!(requests[0].header("webhook-signature").starts_with("v1,"));
    assert_ne!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    let mail = until("the mail", || mail.mails().first().cloned());
    assert!(mail.contains("Subject: default: 1 waiting, 0 failed"), "{mail}");

    let file = fixture.file("counts.jsonl");
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the file", || lines().ends_with('\n').then_some(()));
    // Another program rotates the file.
    std::fs::rename(&file, fixture.file("counts.old")).unwrap();
    until("the new file", || lines().ends_with('\n').then_some(()));
    for line in lines().lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["waiting"], 1, "{line}");
    }
    assert!(master.stop().success());
}

#[test]
fn bad_handlers_delay_no_jobs_and_are_reported_once() {
    let (good, hanging) = (Receiver::start(|_| status(200)), Receiver::start(|_| CannedResponse::Never));
    let refusing = Receiver::start(|_| status(500));
    let hook = |server: &Receiver| {
        format!("{{ type = \"webhook\", url = \"http://127.0.0.1:{}/x\" }}", server.port())
    };
    let full = "{ type = \"file\", path = \"missing/counts.jsonl\" }";
    let items = [hook(&hanging), hook(&refusing), full.to_owned(), hook(&good)].join(", ");
    let fixture = Fixture::sqlite(&config(&items));
    let master = fixture.listen(&[]);
    until("the hanging handler to be called", || (hanging.waiting() > 0).then_some(()));
    let begun = Instant::now();
    fixture.push_lines("default", (0..100).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("default", "the jobs", |counts| counts.done == 100);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("three snapshots at each server that answers", || {
        (good.requests().len() >= 3 && refusing.requests().len() >= 3).then_some(())
    });
    until("the time limit", || master.log().contains("no answer within 10 s").then_some(()));
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    let counted =
        r#"aint_queue_snapshot_handler_runs_total{channel="default",handler="webhook-1",result="failed"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    let log = master.log();
    assert_eq!(
        ["webhook-1", "webhook-2", "file-1", "webhook-3"].map(|name| reports(&log, name)),
        [1, 1, 1, 0],
        "{log}"
    );
    assert!(log.contains("the receiver answered 500") && log.contains("could not be written"), "{log}");
    let shown = fixture.json(&["queue:alerts", "--channel", "default"]);
    let shown = &shown["snapshot_handlers"];
    assert!(shown["webhook-2"]["failed"].as_u64() >= Some(3) && shown["webhook-2"]["done"] == 0, "{shown}");
    assert!(
        shown["webhook-3"]["done"].as_u64() >= Some(3) && shown["webhook-3"]["error"].is_null(),
        "{shown}"
    );
    let shown = fixture.ok(&["queue:alerts"]);
    assert!(
        shown.contains("Snapshot handler webhook-2: ") && shown.contains("the receiver answered 500"),
        "{shown}"
    );
    assert!(!shown.contains("Snapshot handler webhook-3"), "{shown}");
    assert!(master.stop().success());
}

/// The failures of a handler that the log reports.
fn reports(log: &str, handler: &str) -> usize {
    let lines = log.lines().filter(|line| line.contains("snapshot handler failed"));
    lines.filter(|line| line.contains(handler)).count()
}

#[test]
fn flooding_crashing_and_stalling_handlers_delay_no_jobs() {
    let stalled = SmtpSink::start(Behaviour::Stalls);
    let program = |script: &str| {
        format!(
            "{{ type = \"command\", command = [\"/bin/sh\", \"-c\", \"{script}\"], timeout_seconds = 1 }}"
        )
    };
    let mail = format!(
        "{{ type = \"email\", to = [\"ops@example.com\"], from = \"queue@example.com\", smtp = \"smtp://127.0.0.1:{}?tls=none\" }}",
        stalled.port()
    );
    let items = [
        program("yes; yes >&2"),
        program("kill -SEGV $$"),
        program("head -c 10000000 /dev/zero >&2; exit 7"),
        mail,
        "{ type = \"file\", path = \"counts.jsonl\" }".to_owned(),
    ];
    let fixture = Fixture::sqlite(&config(&items.join(", ")));
    let master = fixture.listen(&[]);
    until("the failures", || {
        ["command-1", "command-2", "command-3", "email-1"]
            .iter()
            .all(|name| master.log().contains(*name))
            .then_some(())
    });
    let begun = Instant::now();
    fixture.push_lines("default", (0..100).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("default", "the jobs", |counts| counts.done == 100);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let failed = until("two failures of each program", || {
        let shown = fixture.json(&["queue:alerts", "--channel", "default"])["snapshot_handlers"].clone();
        let count = |name: &str| shown[name]["failed"].as_u64().unwrap_or_default();
        ["command-1", "command-2", "command-3"].iter().all(|name| count(name) >= 2).then_some(shown)
    });
    let error = |name: &str| failed[name]["error"].as_str().unwrap().to_owned();
    assert_eq!(error("command-1"), "killed after the time limit of 1s");
    assert!(error("command-2").contains("signal"), "{failed}");
    assert!(error("command-3").starts_with("exited with 7") && error("command-3").len() < 400, "{failed}");
    assert_eq!(error("email-1"), "no answer within 10 s");
    assert!(failed["file-1"]["done"].as_u64() >= Some(8) && failed["file-1"]["failed"] == 0, "{failed}");
    let log = master.log();
    let names = ["command-1", "command-2", "command-3", "email-1", "file-1"];
    assert_eq!(names.map(|name| reports(&log, name)), [1, 1, 1, 1, 0], "{log}");
    assert_eq!(stalled.mails().len(), 0);
    assert!(master.stop().success());
}

#[test]
fn full_disk_under_a_file_handler_is_reported_once_and_passes() {
    // Only root can mount a file system; the mount is the master's alone.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let fixture = Fixture::sqlite(&config("{ type = \"file\", path = \"small/counts.jsonl\" }"));
    std::fs::create_dir(fixture.file("small")).unwrap();
    let listen = fixture.listen_command(&[]);
    let script = "mount -t tmpfs -o size=8k tmpfs small && head -c 8192 /dev/zero > small/filler && exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(listen.get_program()).args(listen.get_args());
    command.current_dir(fixture.path()).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    let master = fixture.listening(command);
    until("the failure", || master.log().contains("No space left on device").then_some(()));
    fixture.push_lines("default", (0..100).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("default", "the jobs", |counts| counts.done == 100);
    let shown = until("three failures", || {
        let shown =
            fixture.json(&["queue:alerts", "--channel", "default"])["snapshot_handlers"]["file-1"].clone();
        (shown["failed"].as_u64() >= Some(3)).then_some(shown)
    });
    assert!(
        shown["error"].as_str().unwrap().contains("could not be written: No space left on device"),
        "{shown}"
    );
    assert_eq!(reports(&master.log(), "file-1"), 1);
    let small =
        std::path::PathBuf::from(format!("/proc/{}/root{}", master.pid(), fixture.file("small").display()));
    std::fs::remove_file(small.join("filler")).unwrap();
    until("the recovery", || master.log().contains("snapshot handler recovered").then_some(()));
    let written = std::fs::read_to_string(small.join("counts.jsonl")).unwrap();
    for line in written.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "half a line: {written:?}");
    }
    assert!(master.stop().success());
}

#[test]
fn handler_with_a_condition_sends_an_alert_and_its_end() {
    let hook = Receiver::start(|_| status(200));
    let item = format!(
        "{{ type = \"webhook\", url = \"http://127.0.0.1:{}/x\", when = \"waiting > 2\", for = \"1s\" }}",
        hook.port()
    );
    let alerts = "[alerts]\nevaluate_every = 1\ngroup_wait = 0\ngroup_interval = 1\n";
    let fixture = Fixture::sqlite(&(config(&item) + alerts));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    let status = |number: usize| {
        let request = until("the message", || hook.requests().get(number).cloned());
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert!(body["alerts"][0]["labels"]["alertname"].as_str().unwrap().starts_with("webhook-"), "{body}");
        body["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(0), "firing");
    fixture.ok(&["queue:resume"]);
    assert_eq!(status(1), "resolved");
    assert_eq!(hook.requests().len(), 2);
    assert!(master.stop().success());
}
