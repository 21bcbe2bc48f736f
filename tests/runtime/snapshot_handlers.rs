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
    let reports = |handler: &str| {
        let lines = log.lines().filter(|line| line.contains("snapshot handler failed"));
        lines.filter(|line| line.contains(handler)).count()
    };
    assert_eq!(["webhook-1", "webhook-2", "file-1", "webhook-3"].map(reports), [1, 1, 1, 0], "{log}");
    assert!(log.contains("the receiver answered 500") && log.contains("could not be written"), "{log}");
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
        assert_eq!(body["alerts"][0]["labels"]["alertname"], "webhook-1");
        body["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(0), "firing");
    fixture.ok(&["queue:resume"]);
    assert_eq!(status(1), "resolved");
    assert_eq!(hook.requests().len(), 2);
    assert!(master.stop().success());
}
