//! Metrics, health and readiness of a real master.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::client::{CHANNELS, HttpFixture, HttpResponse, Request, address_in};
use crate::fixture::{Fixture, SQLITE, until};
use crate::redis::Server;

fn get(address: SocketAddr, path: &str) -> HttpResponse {
    Request::new("GET", path, "").send(address)
}

/// The value of a sample, once the scrape has it.
fn value(address: SocketAddr, sample: &str) -> f64 {
    until(sample, || {
        let text = get(address, "/metrics").text;
        text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok())
    })
}

#[test]
fn scrape_agrees_with_the_store_at_rest() {
    let served = HttpFixture::with("");
    let first = get(served.address, "/metrics");
    assert_eq!(first.status, 200);
    assert_eq!(first.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for _ in 0..3 {
        assert_eq!(served.push("default", r#"{"job":"noop"}"#).status, 201);
    }
    assert_eq!(served.push("default", r#"{"job":"fail","payload":{"final":true}}"#).status, 201);
    assert_eq!(served.push("default", r#"{"job":"noop","delay":"1h"}"#).status, 201);
    served.until("default", "the jobs to end", |c| c.done == 3 && c.failed == 1);
    // Scrapes make the master sample at least every five seconds; each reads the last sample.
    let settled = "aint_queue_jobs_settled_total{channel=\"default\",how=\"done\"} ";
    until("a sample with all jobs", || (value(served.address, settled) == 3.0).then_some(()));
    for (sample, expected) in [
        ("aint_queue_jobs{channel=\"default\",state=\"waiting\"} ", 0.0),
        ("aint_queue_jobs{channel=\"default\",state=\"delayed\"} ", 1.0),
        ("aint_queue_jobs{channel=\"default\",state=\"failed\"} ", 1.0),
        ("aint_queue_job_runs_total{channel=\"default\",job=\"noop\",outcome=\"done\"} ", 3.0),
        ("aint_queue_wait_seconds_count{channel=\"default\"} ", 4.0),
        ("aint_queue_store_up{channel=\"default\"} ", 1.0),
        ("aint_queue_jobs_pushed_total{channel=\"default\",via=\"http\"} ", 5.0),
        ("aint_queue_http_requests_total{code=\"2xx\",route=\"/channels/{channel}/jobs\"} ", 5.0),
        ("aint_queue_running_jobs{channel=\"default\"} ", 0.0),
        ("aint_queue_paused{channel=\"default\"} ", 0.0),
    ] {
        assert_eq!(value(served.address, sample), expected, "{sample}");
    }
    // Refused requests count too; clients choose other paths, so these are no labels.
    assert_eq!(get(served.address, "/secret/1795").status, 404);
    assert_eq!(served.push("default", "no job").status, 400);
    served.ok(&["queue:reload"]);
    for (sample, expected) in [
        ("aint_queue_http_requests_total{code=\"4xx\",route=\"other\"} ", 1.0),
        ("aint_queue_http_requests_total{code=\"4xx\",route=\"/channels/{channel}/jobs\"} ", 1.0),
        ("aint_queue_reloads_total{channel=\"default\",result=\"done\"} ", 1.0),
    ] {
        until(sample, || (value(served.address, sample) == expected).then_some(()));
    }
    let due = value(served.address, "aint_queue_next_due_seconds{channel=\"default\"} ");
    assert!((3_500.0..=3_600.0).contains(&due), "{due}");
    assert!(
        !get(served.address, "/metrics").text.contains("aint_queue_front_waiting_seconds{"),
        "no job waits"
    );
    assert!(served.master.stop().success());
}

#[test]
fn front_job_waits_from_the_time_at_which_it_was_ready() {
    let served = HttpFixture::with("");
    served.ok(&["queue:pause"]);
    assert_eq!(served.push("default", r#"{"job":"noop"}"#).status, 201);
    let waits = "aint_queue_front_waiting_seconds{channel=\"default\"} ";
    let first = value(served.address, waits);
    until("the wait to grow", || (value(served.address, waits) > first).then_some(()));
    assert_eq!(value(served.address, "aint_queue_paused{channel=\"default\"} "), 1.0);
    served.ok(&["queue:resume"]);
    until("no job to wait", || {
        (!get(served.address, "/metrics").text.contains("aint_queue_front_waiting_seconds{")).then_some(())
    });
    assert!(served.master.stop().success());
}

#[test]
fn tokens_of_scrapes_and_pushes_do_not_replace_each_other() {
    let (push, scrape) = ("0123456789abcdef-push", "0123456789abcdef-scrape");
    let http = format!("token = \"{push}\"\n[metrics]\ntoken = \"{scrape}\"");
    let served = HttpFixture::with(&http);
    let status = |path: &str, token: &str| served.send(&Request::new("GET", path, "").token(token)).status;
    assert_eq!([status("/metrics", scrape), status("/metrics", push)], [200, 401]);
    let job = Request::push("default", r#"{"job":"noop"}"#);
    assert_eq!(served.send(&job.clone().token(scrape)).status, 401);
    assert_eq!(served.send(&job.token(push)).status, 201);
    // Health is for everybody; names and errors are for readers.
    let ready = get(served.address, "/readyz").json();
    assert_eq!(ready, json!({ "ready": true, "reasons": [] }));
    let ready = served.send(&Request::new("GET", "/readyz", "").token(scrape)).json();
    assert_eq!(ready, json!({ "ready": true, "channels": { "default": { "ready": true, "reasons": [] } } }));
    // Which channels exist is for readers too.
    assert_eq!(status("/readyz?channel=other", scrape), 404);
    for token in ["", push] {
        let other = served.send(&Request::new("GET", "/readyz?channel=other", "").token(token));
        assert_eq!(other.status, 503);
        assert_eq!(other.json(), json!({ "ready": false, "reasons": ["the channel does not answer"] }));
    }
    assert!(served.master.stop().success());
}

#[test]
fn same_token_for_scrapes_and_pushes_is_refused() {
    let fixture = Fixture::sqlite(
        "[channels.default]\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef\"\n[metrics]\ntoken = \"0123456789abcdef\"\n",
    );
    let output = fixture.run(&["config:check"]);
    let why = crate::fixture::text(&output.stderr);
    assert!(output.status.code() == Some(4) && why.contains("is the token of [http] too"), "{why}");
}

#[test]
fn listener_of_its_own_has_metrics_and_no_pushes() {
    let fixture = Fixture::new(SQLITE, &format!("{CHANNELS}[metrics]\nlisten = \"127.0.0.1:0\"\n"));
    let master = fixture.listen(&[]);
    let address = address_in(&master, "metrics listening");
    assert!(get(address, "/metrics").text.contains("aint_queue_build_info{revision=\"\",version="));
    assert_eq!(get(address, "/healthz").json(), json!({ "status": "ok" }));
    assert_eq!(get(address, "/health").status, 200);
    let refused = Request::push("default", r#"{"job":"noop"}"#).send(address).refused(404);
    assert!(refused.contains("/metrics"), "{refused}");
    assert!(master.stop().success());
}

#[test]
fn store_outage_is_not_ready_but_healthy_and_metrics_stay() {
    let server = Server::start();
    let port = server.config().port;
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let served = HttpFixture::on(&driver, "");
    assert_eq!(served.push("default", r#"{"job":"noop","delay":"1h"}"#).status, 201);
    let delayed = "aint_queue_jobs{channel=\"default\",state=\"delayed\"} ";
    until("the sample with the job", || (value(served.address, delayed) == 1.0).then_some(()));
    assert_eq!(get(served.address, "/readyz").status, 200);
    drop(server);
    let reasons = until("the outage", || {
        let ready = get(served.address, "/readyz");
        (ready.status == 503).then(|| ready.json())
    });
    let reason = reasons["channels"]["default"]["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("the store is not available: "), "{reasons}");
    assert_eq!(get(served.address, "/healthz").status, 200, "a restart would not help");
    let up = "aint_queue_store_up{channel=\"default\"} ";
    until("the sample without the store", || (value(served.address, up) == 0.0).then_some(()));
    // The last values stay, and their age grows.
    assert_eq!(value(served.address, delayed), 1.0);
    let age = "aint_queue_snapshot_age_seconds{channel=\"default\"} ";
    let first = value(served.address, age);
    until("the age to grow", || (value(served.address, age) > first).then_some(()));
    let begun = Instant::now();
    let scrapes: Vec<_> = (0..200)
        .map(|_| {
            let address = served.address;
            std::thread::spawn(move || get(address, "/metrics").status)
        })
        .collect();
    assert!(scrapes.into_iter().all(|scrape| scrape.join().unwrap() == 200));
    assert!(begun.elapsed().as_secs() < 5, "{:?}: a scrape waits for the store", begun.elapsed());
}

#[test]
fn readiness_of_one_channel_and_quiet_ones() {
    let served = HttpFixture::with("");
    let status = |path: &str| get(served.address, path).status;
    assert_eq!([status("/readyz?channel=default"), status("/readyz?channel=idle")], [200, 404]);
    served.ok(&["queue:quiet"]);
    until("the strict answer", || (status("/readyz?strict=1") == 503).then_some(()));
    assert_eq!(status("/readyz"), 200);
    assert!(served.master.stop().success());
}

#[test]
fn stopped_channel_has_no_workers_in_the_metrics_of_its_master() {
    let config = "[channels.mail.worker]\ntype = \"coroutine\"\n[channels.other.worker]\ntype = \"coroutine\"\n\
                  [metrics]\nlisten = \"127.0.0.1:0\"\n";
    let fixture = Fixture::new(SQLITE, config);
    let master = fixture.listen(&["--all"]);
    let address = address_in(&master, "metrics listening");
    fixture.push("sleep", r#"{"ms":60000}"#, &["-t", "mail"]);
    let running = "aint_queue_running_jobs{channel=\"mail\"} ";
    until("the job to run", || (value(address, running) == 1.0).then_some(()));
    fixture.ok(&["queue:stop", "-t", "mail", "--force"]);
    until("the metrics without it", || (value(address, running) == 0.0).then_some(()));
    assert_eq!(value(address, "aint_queue_workers{channel=\"mail\",state=\"busy\"} "), 0.0);
    assert!(master.stop().success());
}
