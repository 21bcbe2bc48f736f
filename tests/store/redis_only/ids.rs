//! Ids in Redis: exact digits, unique, never far ahead of the clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::JobId;
use aint_queue::store::redis::{Options, RedisStore};
use aint_queue::store::{Reap, Store};

use super::{CHANNEL, everything, key, open, send};
use crate::fixture::{Master, failed, job, later};
use crate::support::redis::Server;
use crate::support::until_async;

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
    delayed.start = later("d", Duration::from_secs(3 * 366 * 24 * 3600)).start;
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

/// Old versions refused pushes while the last id was ahead of the clock, or went back to the clock.
#[tokio::test]
async fn ids_grow_from_an_old_version_ahead_of_the_clock() {
    for ahead in [1_300_000, 3_600_000_000] {
        let server = Server::start();
        let store = open(&server).await;
        let before = push(&store, 10).await;
        let last = clock(&server) + ahead;
        set_last_id(&server, last);
        send(&server, &["HDEL", &key("stats"), "clock"]);
        // A job in the way is not overwritten.
        send(&server, &["HSET", &key("stats"), "checked_to", &(last + 50).to_string()]);
        send(&server, &["HSET", &key("records"), &(last + 20).to_string(), "{\"job\":\"a\"}\n1"]);
        let ids = push(&store, 50).await;
        assert!(before[9] < ids[0] && ids.is_sorted() && ids[0] == JobId(last + 1), "{ids:?}");
        assert!(!ids.contains(&JobId(last + 20)), "{ids:?}");
        let behind = store.status().await.unwrap().clock_behind.unwrap();
        assert!(
            behind <= Duration::from_micros(ahead) && behind > Duration::from_micros(ahead / 2),
            "{behind:?}"
        );
    }
}

#[tokio::test]
async fn lost_last_id_while_the_clock_is_behind_reuses_no_id() {
    let server = Server::start_with_clock();
    let store = open(&server).await;
    server.step_clock(3_600_000_000);
    let mut used: BTreeSet<_> = push(&store, 300).await.into_iter().collect();
    server.step_clock(-3_600_000_000);
    for _ in 0..4 {
        send(&server, &["HDEL", &key("stats"), "last_id"]);
        for id in push(&store, 300).await {
            assert!(used.insert(id), "{id} is used twice");
        }
    }
}

/// A step forward makes the leases of all living masters look expired.
#[tokio::test]
async fn step_forward_reaps_no_living_master() {
    let server = Server::start_with_clock();
    let options = Options { reap_delay: Some(Duration::from_millis(700)), ..Options::default() };
    let connect = async || {
        let store = RedisStore::connect_with(&server.config(), CHANNEL, options).await.unwrap();
        Arc::new(store) as Arc<dyn Store>
    };
    let (here, there) = (connect().await, connect().await);
    push(&here, 4).await;
    let (mut living, mut other) = (Master::join(&there).await, Master::join(&here).await);
    let (mut dead, mut old) = (Master::join(&there).await, Master::join(&there).await);
    for master in [&mut living, &mut other, &mut dead, &mut old] {
        assert_eq!(master.lease(1).await.len(), 1);
    }
    let reaped = async |event| {
        let reap = async || Some(here.reap(Reap::Expired).await.unwrap()).filter(|jobs| *jobs > 0);
        until_async(event, reap).await
    };
    send(&server, &["ZADD", &key("owners"), "0", old.owner.as_str()]);
    assert_eq!(reaped("leases to be trusted").await, 1);
    server.step_clock(3_600_000_000);
    assert_eq!(here.reap(Reap::Expired).await.unwrap(), 0);
    assert!(living.turn(&[], 0).await.is_ok(), "a living master keeps its lease");
    other.turn(&[], 0).await.unwrap();
    assert_eq!(reaped("leases to be trusted again").await, 1, "the job of the dead master");
    assert!(living.turn(&[], 0).await.is_ok() && other.turn(&[], 0).await.is_ok());
}
