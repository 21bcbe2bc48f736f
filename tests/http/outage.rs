//! A store that is unavailable, full or unusable.

use std::fs;
use std::time::{Duration, Instant};

use crate::client::HttpFixture;
use crate::fixture::until;
use crate::redis::Server;

const JOB: &str = r#"{"job":"noop"}"#;

fn redis(server: &Server) -> String {
    let port = server.config().port;
    format!(
        r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port}, read_write_timeout = 1 }} }}"#
    )
}

#[test]
fn store_outage_returns_503_until_recovery() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let served = HttpFixture::on(&redis(&server), "");
    assert_eq!(served.push("idle", JOB).status, 201);
    server.kill();
    // A channel with an open store, and one whose store is opened now.
    for channel in ["idle", "default"] {
        let reply = served.push(channel, JOB);
        let error = reply.refused(503);
        assert!(error.contains("is not available"), "{error}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    server.restart();
    let back = Instant::now();
    for channel in ["idle", "default"] {
        until("pushes to work again", || (served.push(channel, JOB).status == 201).then_some(()));
    }
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(served.counts("idle").waiting, 2);
}

#[test]
fn full_store_returns_503_with_pushed_ids() {
    let server = Server::start_with(&["--maxmemory", "12mb"]);
    let served = HttpFixture::on(&redis(&server), "");
    let job = format!(r#"{{"job":"noop","payload":"{}"}}"#, "x".repeat(900_000));
    let body = format!("[{}]", vec![job; 5].join(","));
    let reply = until("the store to be full", || {
        let reply = served.push("idle", &body);
        (reply.status != 201).then_some(reply)
    });
    let error = reply.refused(503);
    assert!(error.contains("full"), "{error}");
    assert_eq!(reply.header("retry-after"), Some("30"));
    let pushed = reply.json()["pushed"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(served.counts("idle").waiting % 5, pushed % 5, "the reported jobs are in the store");
}

#[test]
fn unusable_store_returns_500_with_reason() {
    let served = HttpFixture::with("");
    // The open store file of one channel still works; the path of the other channel is a directory.
    let config = fs::read_to_string(served.file("aint-queue.toml")).unwrap();
    assert!(served.master.stop().success());
    let broken =
        config.replace("[channels.idle]", "[channels.idle]\ndriver = { type = \"sqlite\", path = \"dir\" }");
    fs::create_dir(served.fixture.file("dir")).unwrap();
    fs::write(served.fixture.file("aint-queue.toml"), broken).unwrap();
    let master = served.fixture.listen(&[]);
    let address = crate::client::address(&master);
    let reply = crate::client::Request::push("idle", JOB).send(address);
    assert!(reply.refused(500).contains("directory"), "{reply:?}");
    assert_eq!(crate::client::Request::push("default", JOB).send(address).status, 201);
}
