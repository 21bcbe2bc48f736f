//! A `queue:clear` that ended after its first step: a master removes the rest, which would count in the limits of the channel.

use rusqlite::Connection;

use crate::fixture::{Fixture, until};
use crate::redis::Server;

const LIMITED: &str = "[channels.default]\nmax_waiting = 4\nmax_bytes = 100000\n[channels.default.worker]\ntype = \"coroutine\"\n";

/// Pushes as many jobs as the channel may have; none of them runs.
fn fill(fixture: &Fixture) {
    fixture.ok(&["queue:pause"]);
    for n in 0..4 {
        fixture.push("noop", "{}", &["--unique", &format!("k{n}")]);
    }
}

/// Starts a master, and waits until the channel has room again.
fn serve(fixture: &Fixture) {
    let master = fixture.listen(&[]);
    until("the rest to be removed", || {
        let status = fixture.json(&["queue:status"]);
        (status["bytes"] == 0 && status["waiting"] == 0).then_some(())
    });
    let id = fixture.push("noop", "{}", &["--unique", "k0"]);
    fixture.ok(&["queue:resume"]);
    fixture.until("default", "the new job", |counts| counts.done == 1);
    assert!(fixture.ok(&["queue:why", &id.to_string()]).contains("done"), "{id}");
    assert!(master.stop().success());
}

#[test]
fn master_finishes_an_interrupted_clear_on_sqlite() {
    let fixture = Fixture::sqlite(LIMITED);
    fill(&fixture);
    // The first transaction of a clear: an empty lane takes the place of the cleared one.
    let store = Connection::open(fixture.file("queue.db")).unwrap();
    store
        .execute_batch(
            "BEGIN IMMEDIATE;
             UPDATE lanes SET state = 0 WHERE id = (SELECT waiting FROM channels WHERE name = 'default');
             INSERT INTO lanes (channel, state) SELECT id, 1 FROM channels WHERE name = 'default';
             UPDATE channels SET cleared = 4, waiting = last_insert_rowid() WHERE name = 'default';
             COMMIT;",
        )
        .unwrap();
    drop(store);
    let status = fixture.json(&["queue:status"]);
    assert!(status["waiting"] == 0 && status["bytes"].as_u64() > Some(0), "{status}");
    serve(&fixture);
}

#[test]
fn master_finishes_an_interrupted_clear_on_redis() {
    let server = Server::start();
    let port = server.config().port;
    let driver = format!("{{ type = \"redis\", connection = {{ host = \"127.0.0.1\", port = {port} }} }}");
    let fixture = Fixture::new(&driver, LIMITED);
    fill(&fixture);
    // The first script of a clear of an earlier version: the list gets another name, and its jobs keep their keys.
    let key = |name: &str| format!("aint-queue:{{default}}:{name}");
    let mut connection = server.connection();
    for command in [
        vec!["HSET", &key("clearing"), "waiting:1", "waiting"],
        vec!["HINCRBY", &key("stats"), "clearing_waiting", "4"],
        vec!["RENAME", &key("waiting"), &key("clearing:waiting:1")],
    ] {
        ::redis::cmd(command[0]).arg(&command[1..]).query::<::redis::Value>(&mut connection).unwrap();
    }
    let status = fixture.json(&["queue:status"]);
    assert!(status["waiting"] == 0 && status["cleared"] == 4, "{status}");
    serve(&fixture);
}
