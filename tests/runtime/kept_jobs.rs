//! Done jobs that stay in the store: seen without a master, bounded by count and age, there after every kill.

use std::time::Duration;

use serde_json::Value;

use crate::fixture::{Fixture, until};
use crate::redis::Server;

/// Workers that print the name of their job.
const PROGRAM: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\n\
                       protocol = \"exec\"\ncommand = [\"sh\", \"job.sh\"]\n";

fn channel(settings: &str) -> String {
    format!("[channels.default]\n{settings}\n{PROGRAM}")
}

fn with_program(fixture: Fixture) -> Fixture {
    fixture.write("job.sh", "echo made $AINT_QUEUE_JOB\n");
    fixture
}

fn keeping(settings: &str) -> Fixture {
    with_program(Fixture::sqlite(&channel(settings)))
}

fn ids(page: &Value) -> Vec<u64> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
}

fn done_jobs(fixture: &Fixture, options: &[&str]) -> Value {
    fixture.json(&[&["queue:jobs", "--state", "done"], options].concat())
}

fn kept_rows(fixture: &Fixture) -> i64 {
    let store = rusqlite::Connection::open(fixture.file("queue.db")).unwrap();
    store
        .query_row("SELECT count(*) + (SELECT count(*) FROM kept_limits) FROM kept", [], |row| row.get(0))
        .unwrap()
}

/// Runs three jobs one after the other, stops the master, and reads them from the store.
fn kept_jobs_are_seen_without_a_master(fixture: &Fixture) {
    let master = fixture.listen(&[]);
    let ids_pushed = ["one", "two", "three"].map(|name| {
        let id = fixture.push(name, "{}", &[]);
        fixture.until("default", "it to be done", |counts| counts.waiting + counts.reserved == 0);
        id
    });
    let [one, two, three] = ids_pushed;
    assert!(master.stop().success());

    let page = done_jobs(fixture, &["--limit", "2"]);
    assert_eq!(ids(&page), [three, two], "{page}");
    let page = done_jobs(fixture, &["--page-after", page["next"].as_str().unwrap()]);
    assert_eq!((ids(&page), &page["next"]), (vec![one], &Value::Null), "{page}");
    let job = &page["jobs"][0];
    assert_eq!(
        (&job["job"], &job["state"], &job["attempts"], &job["ended"]),
        (&"one".into(), &"done".into(), &1.into(), &"done".into())
    );
    assert!(job["took_ms"].is_u64() && job["waited_ms"].is_u64() && job["worker_pid"].is_u64(), "{job}");
    assert_eq!(ids(&done_jobs(fixture, &["--job", "two"])), [two]);
    let found = done_jobs(fixture, &["--search", "TW"]);
    assert_eq!((ids(&found), &found["scanned"], &found["of"]), (vec![two], &3.into(), &3.into()), "{found}");
    let shown = fixture.ok(&["queue:jobs", "--state", "done", "--search", "none of them"]);
    assert_eq!(shown, "Searched 3 of 3 jobs of channel \"default\": 0 jobs found.\n");

    let id = one.to_string();
    assert_eq!(fixture.ok(&["queue:show", &id, "--output"]), "made one\n");
    let shown = fixture.json(&["queue:show", &id]);
    assert_eq!(
        (&shown["id"], &shown["state"], &shown["output"]["lines"][0]["text"]),
        (&one.into(), &"done".into(), &"made one".into()),
        "{shown}"
    );
    let shown = fixture.ok(&["queue:show", &id]);
    assert!(shown.contains("waited ") && shown.contains("state       done at "), "{shown}");
    let why = fixture.json(&["queue:why", &id]);
    assert_eq!((&why["reason"], &why["facts"]["job"]["id"]), (&"done".into(), &one.into()), "{why}");
}

#[test]
fn done_jobs_in_sqlite_outlive_their_master() {
    kept_jobs_are_seen_without_a_master(&keeping("keep_done = { count = 10000, seconds = 86400 }"));
}

#[test]
fn done_jobs_in_redis_outlive_their_master() {
    let server = Server::start();
    let channel = channel("keep_done = { count = 10000, seconds = 86400 }");
    let fixture = Fixture::new(&crate::drain::redis_line(&server), &channel);
    kept_jobs_are_seen_without_a_master(&with_program(fixture));
}

#[test]
fn reload_changes_the_number_of_kept_jobs() {
    let fixture = keeping("keep_done = { count = 3 }");
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..20).map(|n| format!(r#"{{"job":"j{n}"}}"#)));
    fixture.until("default", "all to be done", |counts| counts.done == 20);
    assert_eq!(ids(&done_jobs(&fixture, &[])).len(), 3);
    let counts: Value = fixture.json(&["queue:status"]);
    assert!(!counts.to_string().contains("kept"), "kept jobs are in no count: {counts}");

    let text = std::fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    fixture.write("aint-queue.toml", &text.replace("count = 3", "count = 1"));
    fixture.ok(&["queue:reload"]);
    fixture.push("last", "{}", &[]);
    fixture.until("default", "the last one", |counts| counts.done == 21);
    let page = done_jobs(&fixture, &[]);
    assert_eq!((ids(&page).len(), &page["jobs"][0]["job"]), (1, &"last".into()), "{page}");
    assert!(master.stop().success());
}

#[test]
fn done_jobs_are_not_listed_once_they_are_too_old() {
    let fixture = keeping("keep_done = { count = 9, seconds = 1 }");
    let master = fixture.listen(&[]);
    let id = fixture.push("one", "{}", &[]).to_string();
    fixture.until("default", "it to be done", |counts| counts.done == 1);
    assert!(master.stop().success());
    until("its age", || done_jobs(&fixture, &[])["jobs"].as_array().unwrap().is_empty().then_some(()));
    let shown = fixture.ok(&["queue:jobs", "--state", "done"]);
    assert!(shown.contains("it keeps the last 9 done ones for 1 s"), "{shown}");
    assert_eq!(fixture.run(&["queue:show", &id]).status.code(), Some(1));
    assert_eq!(kept_rows(&fixture), 2, "no master removes it");
    // The next master does, ten seconds after its start.
    let master = fixture.listen(&[]);
    until("its removal", || (kept_rows(&fixture) == 0).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn channel_without_the_key_stores_no_done_job() {
    let fixture = keeping("");
    let master = fixture.listen(&[]);
    let id = fixture.push("one", "{}", &[]);
    fixture.until("default", "it to be done", |counts| counts.done == 1);
    assert_eq!(ids(&done_jobs(&fixture, &[])), [id], "the master has it in memory");
    assert_eq!(kept_rows(&fixture), 0);
    assert!(master.stop().success());
    assert!(!fixture.run(&["queue:jobs", "--state", "done"]).status.success());
}

#[test]
fn output_that_may_not_be_stored_is_not_kept() {
    let fixture = keeping("keep_output = false\nkeep_done = { count = 9 }");
    let master = fixture.listen(&[]);
    let id = fixture.push("one", "{}", &[]).to_string();
    fixture.until("default", "it to be done", |counts| counts.done == 1);
    assert!(master.stop().success());
    let shown = fixture.json(&["queue:show", &id]);
    assert_eq!((&shown["job"], &shown["output"]), (&"one".into(), &Value::Null), "{shown}");
}

/// The number of done jobs and the number of kept ones change in one transaction, so a killed master never has one without the other.
#[test]
fn killed_master_loses_no_kept_job() {
    const JOBS: u64 = 2_000;
    let fixture = Fixture::sqlite(
        "[channels.default]\nkeep_done = { count = 10000 }\n[channels.default.worker]\ntype = \"coroutine\"\n",
    );
    fixture.push_lines("default", (0..JOBS).map(|_| r#"{"job":"noop"}"#.to_owned()));
    for round in 1..=2 {
        let master = fixture.listen(&[]);
        fixture.until("default", "some jobs", |counts| counts.done >= round * JOBS / 5);
        master.kill();
        let store = rusqlite::Connection::open(fixture.file("queue.db")).unwrap();
        store.busy_timeout(Duration::from_secs(5)).unwrap();
        let sql = "SELECT done, (SELECT count(*) FROM kept) FROM channels WHERE name = 'default'";
        let [done, kept]: [i64; 2] = store.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?])).unwrap();
        assert!(done == kept && done > 0, "round {round}: {done} done, {kept} kept");
    }
    let master = fixture.listen(&[]);
    fixture.until("default", "all jobs", |counts| counts.done == JOBS);
    assert!(master.stop().success());
    assert_eq!(kept_rows(&fixture), JOBS as i64 + 1);
}
