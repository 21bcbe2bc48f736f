//! `queue:pause` and `queue:resume`, across masters.

use std::time::{Duration, Instant};

use crate::drain::redis_line;
use crate::redis::Server;
use crate::site::{Site, text, until};

const POOL: &str =
    "[channels.default.worker]\ntype = \"process-pool\"\nsleep_seconds = 30\nmin_worker_number = 2\n";

#[test]
fn no_master_of_any_machine_takes_a_job_until_the_pause_is_over() {
    let server = Server::start();
    // Two run directories are as good as two machines.
    let sites = [0, 1].map(|_| Site::new(&redis_line(&server), POOL));
    let masters = sites.each_ref().map(|site| site.listen(&[]));
    let begun = Instant::now();
    let said = sites[0].json(&["queue:pause", "--for", "1500ms"]);
    assert_eq!((&said[0]["channel"], &said[0]["paused"]), (&"default".into(), &true.into()));
    let until_when = said[0]["paused_until"].as_str().unwrap().to_owned();
    sites[0].push_lines("default", (0..20).map(|_| r#"{"job":"sleep","payload":{"ms":20}}"#.to_owned()));
    for site in &sites {
        let status = site.json(&["queue:status"]);
        assert_eq!((&status["paused"], status["paused_until"].as_str()), (&true.into(), Some(&*until_when)));
        assert_eq!((&status["done"], &status["reserved"]), (&0.into(), &0.into()));
    }
    // Nobody does anything, and it goes on; neither before the end nor much later.
    sites[1].until("default", "all to be done", |c| c.done == 20);
    let took = begun.elapsed();
    assert!((1_500..8_000).contains(&took.as_millis()), "{took:?}");
    let status = sites[1].json(&["queue:status"]);
    assert_eq!((&status["paused"], &status["paused_until"]), (&false.into(), &serde_json::Value::Null));
    for master in masters {
        assert!(master.stop().success());
    }
}

#[test]
fn without_an_end_it_lasts_through_restarts_until_resume_ends_it() {
    let site = Site::sqlite(POOL);
    assert_eq!(
        site.ok(&["queue:pause"]),
        "Channel \"default\" is paused: no master takes its jobs until queue:resume.\n"
    );
    let id = site.push("noop", "{}", &[]);
    let master = site.listen(&[]);
    assert!(site.ok(&["queue:status"]).contains("\nPaused: no master takes a job.\n"));
    // Who asks for one job by name gets it.
    site.ok(&["queue:run", "--id", &id.to_string()]);
    site.push("noop", "{}", &[]);
    assert!(master.stop().success());
    let master = site.listen(&[]);
    assert_eq!(site.counts("default").waiting, 1);
    site.ok(&["queue:quiet"]);
    let said = site.json(&["queue:resume"]);
    assert_eq!((&said[0]["was_paused"], &said[0]["was_quiet"]), (&true.into(), &true.into()));
    site.until("default", "it to be done", |c| c.done == 2);
    site.ok(&["queue:pause", "--for", "1h"]);
    assert_eq!(site.ok(&["queue:resume"]), "Channel \"default\" is no longer paused.\n");
    assert!(master.stop().success());
    let said = site.ok(&["queue:resume"]);
    assert!(said.contains("was not paused, and no master of it runs here"), "{said}");
}

#[test]
fn a_store_that_is_away_is_said_and_the_master_is_let_go_on_all_the_same() {
    let mut server = Server::start();
    let site = Site::new(&redis_line(&server), POOL);
    let master = site.listen(&[]);
    site.ok(&["queue:quiet"]);
    server.kill();
    let output = site.run(&["queue:resume"]);
    assert_eq!(output.status.code(), Some(5));
    let said = text(&output.stderr);
    assert!(said.contains("note: the master of channel \"default\" is no longer quiet"), "{said}");
    assert!(said.contains("is not available"), "{said}");
    until("the log", || master.log().contains("no longer quiet").then_some(()));
    assert_eq!(site.run(&["queue:pause"]).status.code(), Some(5));
    server.restart();
    site.push("noop", "{}", &[]);
    site.until("default", "it to be done", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn a_stop_of_a_paused_channel_is_quick_and_what_ran_is_settled() {
    let site = Site::sqlite(POOL);
    let master = site.listen(&[]);
    site.push("sleep", r#"{"ms":300}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    site.ok(&["queue:pause", "--for", "1d"]);
    let begun = Instant::now();
    assert!(master.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(site.counts("default").done, 1);
}
