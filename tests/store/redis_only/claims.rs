//! Keys of claims and timed holds disappear from the server in the end.

use std::time::Duration;

use aint_queue::job::JobId;
use aint_queue::store::{Claim, ClaimKind, LimitDecision, MAX_BATCH, Pushed, Reap};

use super::{key, open, open_plain, send};
use crate::fixture::{Master, job, unique};
use crate::support::redis::Server;
use crate::support::until_async;

fn lock(id: JobId, key: String) -> Claim {
    Claim { id, key, kind: ClaimKind::Lock { limit: 1 } }
}

fn rate(id: JobId, count: u32, per: Duration) -> Claim {
    Claim { id, key: "r".into(), kind: ClaimKind::Rate { count, burst: 3, per } }
}

fn number(server: &Server, command: &[&str]) -> i64 {
    match send(server, command) {
        redis::Value::Int(number) => number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn later_claims_remove_dead_owners_locks() {
    let server = Server::start();
    let store = open(&server).await;
    store.push(&vec![job("j"); MAX_BATCH]).await.unwrap();
    let mut dying = Master::join(&store).await;
    let ids: Vec<_> = dying.lease(MAX_BATCH).await.iter().map(|record| record.id).collect();
    let claims: Vec<_> = ids.iter().map(|id| lock(*id, format!("one of many {id}"))).collect();
    let answers = store.claim(&dying.owner, &claims).await.unwrap();
    assert_eq!(answers, [LimitDecision::Granted; MAX_BATCH]);
    assert_eq!(number(&server, &["ZCARD", &key("locks")]), 500);
    assert_eq!(store.reap(Reap::Owner(&dying.owner)).await.unwrap(), 500);

    let mut master = Master::join(&store).await;
    master.lease(MAX_BATCH).await;
    // Free for other owners at once, although old entries are still stored.
    assert_eq!(store.claim(&master.owner, &claims[..1]).await.unwrap(), [LimitDecision::Granted]);
    let left = number(&server, &["ZCARD", &key("locks")]);
    assert!((498..=500).contains(&left), "a few at a time: {left}");
    let mut calls = 0;
    while number(&server, &["ZCARD", &key("locks")]) > 1 {
        store.claim(&master.owner, &claims[..1]).await.unwrap();
        calls += 1;
        assert!(calls < 20_000, "they go");
    }
}

#[tokio::test]
async fn locks_with_a_common_prefix_differ() {
    let server = Server::start();
    for store in [open(&server).await, open_plain(&server).await] {
        store.push(&vec![job("j"); 5]).await.unwrap();
        let mut master = Master::join(&store).await;
        let ids: Vec<_> = master.lease(5).await.iter().map(|record| record.id).collect();
        let owner = master.owner.as_str();
        let names = ["a".into(), format!("a {owner} 7"), "a\0".into(), format!("a {owner}"), "1 a".into()];
        for (id, name) in ids.iter().zip(&names) {
            assert_eq!(master.claim(lock(*id, name.clone())).await, LimitDecision::Granted, "{name:?}");
        }
        for name in names {
            let other = if name == "a" { ids[1] } else { ids[0] };
            assert_eq!(master.claim(lock(other, name)).await, LimitDecision::Wait(Duration::ZERO));
        }
        store.leave(&master.owner).await.unwrap();
    }
}

#[tokio::test]
async fn server_expires_rates_and_keys() {
    let server = Server::start();
    let store = open(&server).await;
    let mut timed = unique("once", "k");
    timed.meta.unique_for_ms = Some(86_400_000);
    let id = store.push(&[timed]).await.unwrap()[0].id();
    let ms = number(&server, &["PTTL", &key("unique:k")]);
    assert!((86_300_000..=86_400_000).contains(&ms), "{ms}");
    assert_eq!(store.push(&[unique("once", "k")]).await.unwrap(), [Pushed::Existing(id)]);

    let mut master = Master::join(&store).await;
    master.lease_exactly(&[id]).await;
    let claims = vec![rate(id, 10, Duration::from_secs(3600)); 3];
    assert_eq!(store.claim(&master.owner, &claims).await.unwrap(), [LimitDecision::Granted; 3]);
    let ms = number(&server, &["PTTL", &key("rate:r")]);
    assert!((1_349_000..=1_350_000).contains(&ms), "three eighths of an hour: {ms}");

    for name in ["unique:k", "rate:r"] {
        assert_eq!(number(&server, &["PEXPIRE", &key(name), "1"]), 1);
        until_async("the key to expire", async || number(&server, &["EXISTS", &key(name)]) == 0).await;
    }
    assert!(matches!(store.push(&[unique("once", "k")]).await.unwrap()[..], [Pushed::Added(_)]));
}
