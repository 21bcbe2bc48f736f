//! Outages of Redis.

use std::time::{Duration, Instant};

use crate::fixture::{Fixture, until};
use crate::redis::Server;

#[test]
fn redis_kill_loses_nothing_and_work_resumes_soon() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let port = server.config().port;
    let fixture = Fixture::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        "[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 20\n",
    );
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..1500).map(|_| r#"{"job":"sleep","payload":{"ms":10}}"#.to_owned()));
    fixture.until("default", "some jobs", |c| c.done >= 100);

    server.kill();
    until("the log line about the outage", || master.log().contains("store unavailable").then_some(()));
    let before = master.log().lines().count();
    // During the outage a command fails at once instead of waiting.
    let begun = Instant::now();
    let looked = fixture.run(&["queue:status", "--workers"]);
    assert_eq!(looked.status.code(), Some(5));
    let shown = crate::fixture::text(&looked.stdout);
    assert!(shown.contains(&format!("is running, pid {}.", master.pid())), "{shown}");
    assert!(
        shown.contains(", unavailable\nStore unavailable to the master for ")
            && shown.contains("\nWorkers: "),
        "{shown}"
    );
    assert!(
        fixture.run(&["queue:status", "--json"]).stdout.is_empty(),
        "a program gets the counts or nothing"
    );
    why_tells_what_the_master_knows(&fixture, master.pid());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(master.log().lines().count() < before + 20, "few log lines:\n{}", master.log());

    server.restart();
    let back = Instant::now();
    let done = fixture.counts("default").done;
    fixture.until("default", "progress", |c| c.done > done);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert!(master.log().contains("store available again"));
    let counts = fixture.until("default", "all done", |c| c.done == 1500);
    assert_eq!((counts.failed, counts.total), (0, 1500));
    assert!(master.stop().success());
}

/// Checks `queue:why` of the channel and of a job while the store is away from the command and from the master.
fn why_tells_what_the_master_knows(fixture: &Fixture, pid: i32) {
    let why = fixture.run(&["queue:why"]);
    assert_eq!(why.status.code(), Some(5));
    let shown = crate::fixture::text(&why.stdout);
    assert!(
        shown.starts_with("Channel \"default\" is blocked: this command cannot use the store ("),
        "{shown}"
    );
    assert!(shown.contains(&format!("), nor can master {pid} for ")), "{shown}");
    assert!(shown.contains(" Last known, ") && shown.contains("Start or repair the store"), "{shown}");
    assert!(why.stderr.is_empty(), "{}", crate::fixture::text(&why.stderr));
    let why = fixture.run(&["queue:why", "17", "--json"]);
    assert_eq!(why.status.code(), Some(5));
    let json: serde_json::Value = serde_json::from_slice(&why.stdout).unwrap();
    assert_eq!((&json["reason"], &json["id"]), (&"store".into(), &17.into()));
    let facts = &json["facts"]["channel"];
    assert_eq!((&facts["master"], &facts["pid"]), (&true.into(), &pid.into()));
    assert!(facts["store_error"].is_string() && facts["store_error_ms"].is_u64(), "{json}");
    assert!(facts["last_counts"]["ago_ms"].is_u64(), "{json}");
}

#[test]
fn jobs_outlast_an_outage_that_is_longer_than_the_lease() {
    /// Longer than the lease and the time in which a silent master would lose its runs.
    const OUTAGE: Duration = Duration::from_secs(40);
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let port = server.config().port;
    let fixture = Fixture::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        "[channels.default.worker]\ntype = \"process\"\nprotocol = \"exec\"\ncommand = [\"./job.sh\"]\n",
    );
    fixture.write(
        "job.sh",
        "#!/bin/sh\necho begun >> runs\nwhile [ ! -e go ]; do sleep 0.1; done\necho ended >> runs\n",
    );
    let runs = || std::fs::read_to_string(fixture.file("runs")).unwrap_or_default();
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &["--timeout", "300", "--max-attempts", "1"]);
    until("the job to run", || (runs() == "begun\n").then_some(()));
    server.kill();
    // An outage has no event to wait for; it must last longer than the lease.
    std::thread::sleep(OUTAGE);
    fixture.write("go", "");
    until("the job to end during the outage", || (runs() == "begun\nended\n").then_some(()));
    server.restart();
    let counts = fixture.until("default", "the job to be settled", |c| c.done == 1);
    assert_eq!((counts.failed, counts.total), (0, 1));
    assert_eq!(runs(), "begun\nended\n", "the job ran once");
    assert!(master.stop().success());
}

#[test]
fn stop_during_store_outage_fails_with_reason() {
    let mut server = Server::start();
    let port = server.config().port;
    let fixture = Fixture::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n",
    );
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    server.kill();
    let output = fixture.run(&["queue:stop"]);
    let said = crate::fixture::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("could not settle the last jobs of channel \"default\""), "{said}");
    assert!(
        said.contains("default: no job runs any more, the store is told") || said.contains("1 job left"),
        "{said}"
    );
    // The master stops nevertheless.
    assert!(master.wait().success());
}
