//! Ids in Redis: exact digits, unique, never far ahead of the clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use aint_queue::job::JobId;
use aint_queue::store::{PushError, Store, StoreError};

use super::{everything, key, open, send, until_it_works};
use crate::fixture::{Master, failed, job, later};
use crate::support::redis::Server;

fn clock(server: &Server) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut server.connection()).unwrap();
    seconds * 1_000_000 + micros
}

async fn push(store: &Arc<dyn Store>, count: usize) -> Vec<JobId> {
    let jobs: Vec<_> = (0..count).map(|n| job(&format!("j{n}"))).collect();
    store.push(&jobs).await.unwrap().into_iter().map(|pushed| pushed.id()).collect()
}

fn set_last_id(server: &Server, id: u64) {
    send(server, &["HSET", &key("stats"), "last_id", &id.to_string()]);
}

#[tokio::test]
async fn numbers_keep_all_digits() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    push(&store, 50).await;
    let mut delayed = job("d");
    delayed.start = later("d", std::time::Duration::from_secs(3 * 366 * 24 * 3600)).start;
    store.push(&[delayed]).await.unwrap();
    let leased = master.lease(20).await;
    master.settle(&[failed(&leased[0])]).await;
    let digits = |text: &String| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    let all = everything(&server);
    let values = |name: &str| &all[&key(name)][1..];
    assert!(values("waiting").iter().all(digits), "{:?}", values("waiting"));
    assert!(values(&format!("reserved:{}", master.owner.as_str())).iter().all(digits));
    // Members and scores.
    assert!(values("failed").iter().all(digits), "{:?}", values("failed"));
    assert!(values("delayed").iter().all(digits), "{:?}", values("delayed"));
    assert!(values("owners").iter().skip(1).step_by(2).all(digits), "{:?}", values("owners"));
    let last_id = values("stats").iter().find_map(|pair| pair.strip_prefix("last_id = ")).unwrap();
    assert!(digits(&last_id.to_owned()), "{last_id}");
}

#[tokio::test]
async fn ids_in_use_are_skipped_after_a_lost_last_id() {
    let server = Server::start();
    let store = open(&server).await;
    // The state after lost writes: jobs with ids ahead of the clock, and no last id.
    let mut used = BTreeSet::new();
    let ahead = clock(&server) + 200_000;
    for n in 0..400 {
        let id = ahead + 2 * n;
        send(&server, &["HSET", &key("records"), &id.to_string(), "{\"job\":\"a\"}\n1"]);
        used.insert(JobId(id));
    }
    let mut fresh = BTreeSet::new();
    while fresh.last().is_none_or(|last: &JobId| last.0 < ahead + 1000) {
        for id in push(&store, 100).await {
            assert!(!used.contains(&id) && fresh.insert(id), "{id} is used twice");
            send(&server, &["HDEL", &key("stats"), "last_id"]);
        }
    }
}

#[tokio::test]
async fn last_id_far_ahead_of_clock_is_ignored() {
    let server = Server::start();
    let store = open(&server).await;
    let before = push(&store, 10).await;
    // The state after the clock stepped back by an hour, with an earlier job in the way.
    let in_the_way = clock(&server) + 300_000;
    send(&server, &["HSET", &key("records"), &in_the_way.to_string(), "{\"job\":\"a\"}\n1"]);
    set_last_id(&server, clock(&server) + 3_600_000_000);
    let mut last = before[9];
    while last.0 <= in_the_way {
        for id in push(&store, 50).await {
            assert!(id > last && id.0 != in_the_way, "{id}");
            last = id;
        }
        assert!(last.0 <= clock(&server) + 1_000_000);
    }
}

#[tokio::test]
async fn ids_slightly_ahead_of_clock_delay_the_push() {
    let server = Server::start();
    let store = open(&server).await;
    let ahead = clock(&server) + 1_300_000;
    set_last_id(&server, ahead);
    let outcome = store.push(&[job("a")]).await;
    assert!(matches!(outcome, Err(PushError::Store(StoreError::Unavailable { .. }))), "{outcome:?}");
    let pushed = until_it_works(std::time::Duration::from_secs(5), async || {
        store.push(&[job("a")]).await.map_err(|error| match error {
            PushError::Store(error) => error,
            other => panic!("{other:?}"),
        })
    })
    .await;
    assert_eq!(pushed[0].id(), JobId(ahead + 1));
}
