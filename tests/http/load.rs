//! Many concurrent producers while jobs run.

use std::collections::BTreeSet;
use std::thread;

use serde_json::json;

use crate::client::{HttpFixture, Request};
use crate::fixture::SQLITE;
use crate::redis::Server;

/// 200 concurrent clients, each pushing one job after the other, while the same master runs these and other jobs.
fn two_hundred_at_once(driver: &str) {
    const CLIENTS: u64 = 200;
    const EACH: u64 = 5;
    let served = HttpFixture::on(driver, "");
    let busy: Vec<_> = (0..500).map(|_| json!({ "job": "sleep", "payload": { "ms": 20 } })).collect();
    assert_eq!(served.push("default", &json!(busy).to_string()).status, 201);
    let address = served.address;
    let push = |client: u64| {
        thread::spawn(move || -> Vec<u64> {
            let body = |n| json!({ "job": "noop", "payload": { "client": client, "n": n } }).to_string();
            let push = |n| {
                let reply = Request::push("default", &body(n)).send(address);
                assert_eq!(reply.status, 201, "{reply:?}");
                reply.json()["id"].as_u64().unwrap()
            };
            (0..EACH).map(push).collect()
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(push).collect();
    let ids: BTreeSet<u64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(ids.len() as u64, CLIENTS * EACH, "ids are unique");
    let all = CLIENTS * EACH + 500;
    let counts = served.until("default", "all jobs to run", |counts| counts.done == all);
    assert_eq!((counts.failed, counts.total), (0, all));
    assert!(served.master.stop().success());
}

#[test]
fn two_hundred_concurrent_producers_on_sqlite() {
    two_hundred_at_once(SQLITE);
}

#[test]
fn two_hundred_concurrent_producers_on_redis() {
    let server = Server::start();
    let port = server.config().port;
    two_hundred_at_once(&format!(
        r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#
    ));
}

#[test]
fn concurrent_pushes_of_one_key_make_one_job() {
    let served = HttpFixture::with("");
    let address = served.address;
    let push = move || {
        let reply = Request::push("idle", r#"{"job":"noop","unique":"k"}"#).send(address);
        (reply.status, reply.json()["id"].as_u64().unwrap())
    };
    let clients: Vec<_> = (0..100).map(|_| thread::spawn(push)).collect();
    let replies: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(replies.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert!(replies.iter().all(|(_, id)| *id == replies[0].1));
    assert_eq!(served.counts("idle").waiting, 1);
}
