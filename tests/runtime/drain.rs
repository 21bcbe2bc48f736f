//! Every pushed job runs, in every mode, on every store.

use std::collections::HashSet;
use std::fs;

use crate::fixture::{Fixture, SQLITE};
use crate::redis::Server;

/// A shell worker of the wire protocol that appends each payload to a file.
const SHELL_WORKER: &str = r#"#!/bin/sh
printf '{"type":"hello","protocol":1,"slots":8}\n' >&3
while IFS= read -r line <&3; do
  case $line in
    *'"type":"run"'*)
      run=${line#*'"run":'} run=${run%%,*}
      payload=${line##*'"payload":'} payload=${payload%\}}
      echo "$payload" >> effects
      printf '{"type":"done","run":%s}\n' "$run" >&3 ;;
    *'"type":"stop"'*) exit 0 ;;
  esac
done
"#;

const POOL: &str = r#"
[channels.default.worker]
type = "process-pool"
command = ["./worker.sh"]
min_worker_number = 4
"#;
const COROUTINE: &str = r#"
[channels.default.worker]
type = "coroutine"
command = ["./worker.sh"]
"#;
const PROCESS: &str = r#"
[channels.default.worker]
type = "process"
command = ["sh", "-c", "cat >> effects; echo >> effects"]
"#;

/// The line that selects Redis.
pub fn redis_line(server: &Server) -> String {
    let config = server.config();
    format!(r#"{{ type = "redis", connection = {{ host = "{}", port = {} }} }}"#, config.host, config.port)
}

fn drains(driver: &str, channels: &str, jobs: u64) {
    let fixture = Fixture::new(driver, channels);
    fixture.write("worker.sh", SHELL_WORKER);
    fixture.push_lines("default", (0..jobs).map(|n| format!(r#"{{"job":"effect","payload":{n}}}"#)));
    assert_eq!(fixture.counts("default").waiting, jobs);

    let master = fixture.listen(&[]);
    let counts = fixture.until("default", "all done", |c| c.done + c.failed == jobs);
    assert_eq!((counts.done, counts.total), (jobs, jobs));
    let effects = fs::read_to_string(fixture.file("effects")).unwrap();
    let seen: Vec<u64> = effects.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seen.len() as u64, jobs, "each job ran once");
    assert_eq!(seen.into_iter().collect::<HashSet<_>>().len() as u64, jobs);
    assert!(master.stop().success());
}

#[test]
fn pool_on_sqlite_drains_20_000_jobs() {
    drains(SQLITE, POOL, 20_000);
}

#[test]
fn pool_on_redis_drains_20_000_jobs() {
    drains(&redis_line(&Server::start()), POOL, 20_000);
}

#[test]
fn coroutine_on_sqlite_drains_20_000_jobs() {
    drains(SQLITE, COROUTINE, 20_000);
}

#[test]
fn coroutine_on_redis_drains_20_000_jobs() {
    drains(&redis_line(&Server::start()), COROUTINE, 20_000);
}

#[test]
fn fresh_processes_on_sqlite_drain_2_000_jobs() {
    drains(SQLITE, PROCESS, 2_000);
}

#[test]
fn fresh_processes_on_redis_drain_2_000_jobs() {
    drains(&redis_line(&Server::start()), PROCESS, 2_000);
}

#[test]
fn registered_jobs_run_in_every_mode_in_one_master() {
    let fixture = Fixture::sqlite(
        r#"
[channels.pool.worker]
type = "process-pool"
min_worker_number = 2
[channels.many.worker]
type = "coroutine"
[channels.fresh.worker]
type = "process"
"#,
    );
    let master = fixture.listen(&["--all"]);
    for (channel, jobs) in [("pool", 2000), ("many", 5000), ("fresh", 200)] {
        fixture.push_lines(channel, (0..jobs).map(|_| r#"{"job":"noop"}"#.to_owned()));
    }
    for (channel, jobs) in [("pool", 2000), ("many", 5000), ("fresh", 200)] {
        fixture.until(channel, "all done", |c| c.done == jobs);
    }
    assert!(master.stop().success());
}
