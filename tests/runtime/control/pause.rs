//! `queue:pause` and `queue:resume`, across masters.

use std::time::{Duration, Instant};

use crate::drain::redis_line;
use crate::fixture::{Fixture, text, until};
use crate::redis::Server;

const POOL: &str =
    "[channels.default.worker]\ntype = \"process-pool\"\nsleep_seconds = 30\nmin_worker_number = 2\n";

#[test]
fn pause_stops_all_masters_until_it_ends() {
    let server = Server::start();
    // Two run directories stand for two machines.
    let fixtures = [0, 1].map(|_| Fixture::new(&redis_line(&server), POOL));
    let masters = fixtures.each_ref().map(|fixture| fixture.listen(&[]));
    let begun = Instant::now();
    let said = fixtures[0].json(&["queue:pause", "--for", "1500ms"]);
    assert_eq!((&said[0]["channel"], &said[0]["paused"]), (&"default".into(), &true.into()));
    let until_when = said[0]["paused_until"].as_str().unwrap().to_owned();
    fixtures[0].push_lines("default", (0..20).map(|_| r#"{"job":"sleep","payload":{"ms":20}}"#.to_owned()));
    for fixture in &fixtures {
        let status = fixture.json(&["queue:status"]);
        assert_eq!((&status["paused"], status["paused_until"].as_str()), (&true.into(), Some(&*until_when)));
        assert_eq!((&status["done"], &status["reserved"]), (&0.into(), &0.into()));
    }
    // The pause ends by itself, neither early nor much later.
    fixtures[1].until("default", "all to be done", |c| c.done == 20);
    let took = begun.elapsed();
    assert!((1_500..8_000).contains(&took.as_millis()), "{took:?}");
    let status = fixtures[1].json(&["queue:status"]);
    assert_eq!((&status["paused"], &status["paused_until"]), (&false.into(), &serde_json::Value::Null));
    for master in masters {
        assert!(master.stop().success());
    }
}

#[test]
fn unlimited_pause_lasts_through_restarts() {
    let fixture = Fixture::sqlite(POOL);
    assert_eq!(
        fixture.ok(&["queue:pause"]),
        "Channel \"default\" is paused until queue:resume: no master leases its jobs.\n"
    );
    let id = fixture.push("noop", "{}", &[]);
    let master = fixture.listen(&[]);
    assert!(fixture.ok(&["queue:status"]).contains("\nPaused: no master leases jobs.\n"));
    // Who asks for one job by name gets it.
    fixture.ok(&["queue:run", "--id", &id.to_string()]);
    fixture.push("noop", "{}", &[]);
    assert!(master.stop().success());
    let master = fixture.listen(&[]);
    assert_eq!(fixture.counts("default").waiting, 1);
    fixture.ok(&["queue:quiet"]);
    let said = fixture.json(&["queue:resume"]);
    assert_eq!((&said[0]["was_paused"], &said[0]["was_quiet"]), (&true.into(), &true.into()));
    fixture.until("default", "it to be done", |c| c.done == 2);
    fixture.ok(&["queue:pause", "--for", "1h"]);
    assert_eq!(fixture.ok(&["queue:resume"]), "Channel \"default\" is no longer paused.\n");
    assert!(master.stop().success());
    let said = fixture.ok(&["queue:resume"]);
    assert!(said.contains("was not paused, and it has no master on this machine"), "{said}");
}

#[test]
fn resume_reports_store_outage_and_unquiets_master() {
    let mut server = Server::start();
    let fixture = Fixture::new(&redis_line(&server), POOL);
    let master = fixture.listen(&[]);
    fixture.ok(&["queue:quiet"]);
    server.kill();
    let output = fixture.run(&["queue:resume"]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    assert!(said.contains("note: the master of channel \"default\" is no longer quiet"), "{said}");
    assert!(said.contains("is not available"), "{said}");
    until("the log", || master.log().contains("no longer quiet").then_some(()));
    assert_eq!(fixture.run(&["queue:pause"]).status.code(), Some(5));
    server.restart();
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "it to be done", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn stop_of_paused_channel_settles_runs_quickly() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":300}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    fixture.ok(&["queue:pause", "--for", "1d"]);
    let begun = Instant::now();
    assert!(master.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(fixture.counts("default").done, 1);
}
