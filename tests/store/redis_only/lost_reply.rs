//! A call whose reply was lost is found by `held`, and never applied twice.

use std::sync::Arc;

use aint_queue::store::{Leased, PushError, SettleConflict, Store, StoreError};

use super::connect;
use super::proxy::Proxy;
use crate::fixture::{Master, done, job, record, unique};
use crate::support::redis::{Server, at};

struct Wire {
    _server: Server,
    proxy: Proxy,
    store: Arc<dyn Store>,
}

async fn wire() -> Wire {
    let server = Server::start();
    let proxy = Proxy::to(server.config().port).await;
    let store: Arc<dyn Store> = Arc::new(connect(&at(proxy.port())).await.unwrap());
    // All scripts are loaded beforehand, so that the lost reply is that of the call itself.
    let mut master = Master::join(&store).await;
    store.push(&[job("first")]).await.unwrap();
    let leased = master.lease(1).await;
    master.settle(&[done(&leased[0])]).await;
    master.held().await;
    store.leave(&master.owner).await.unwrap();
    Wire { _server: server, proxy, store }
}

fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn lease_with_lost_reply_is_adopted() {
    let Wire { proxy, store, _server } = wire().await;
    let jobs: Vec<_> = (0..10).map(|n| job(&format!("j{n}"))).collect();
    let ids: Vec<_> = store.push(&jobs).await.unwrap().into_iter().map(|pushed| pushed.id()).collect();
    let mut master = Master::join(&store).await;
    proxy.lose_next_reply();
    assert_unavailable(master.turn(&[], 10).await);

    assert_eq!(master.held().await, ids);
    // A late copy of the lost call changes nothing.
    assert!(matches!(master.turn_as(1, &[], 10).await, Err(StoreError::Replayed)));
    let fetched = store.fetch(&master.owner, &ids).await.unwrap();
    let ends: Vec<_> = fetched.into_iter().map(|leased: Leased| done(&record(leased))).collect();
    assert_eq!(ends.len(), 10);
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(store.status().await.unwrap().done, 11);
}

#[tokio::test]
async fn settlement_with_lost_reply_is_applied_once() {
    let Wire { proxy, store, _server } = wire().await;
    store.push(&[job("a"), job("b")]).await.unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.lease(2).await;
    proxy.lose_next_reply();
    assert_unavailable(master.turn(&[done(&leased[0])], 0).await);

    assert_eq!(master.held().await, [leased[1].id]);
    let again = [done(&leased[0]), done(&leased[1])];
    assert_eq!(master.settle(&again).await, [(leased[0].id, SettleConflict::Cleared)]);
    let status = store.status().await.unwrap();
    assert_eq!((status.done, status.total()), (3, 3));
}

#[tokio::test]
async fn push_with_lost_reply_is_not_resent() {
    let Wire { proxy, store, _server } = wire().await;
    proxy.lose_next_reply();
    let outcome = store.push(&[unique("a", "once")]).await;
    assert!(matches!(outcome, Err(PushError::Store(StoreError::Unavailable { .. }))), "{outcome:?}");
    assert_eq!(store.status().await.unwrap().waiting, 1);
    // A producer with a unique key finds the job that it added.
    let again = store.push(&[unique("a", "once")]).await.unwrap();
    assert!(matches!(again[..], [aint_queue::store::Pushed::Existing(_)]), "{again:?}");
}

#[tokio::test]
async fn lossy_connection_settles_every_job_once() {
    let Wire { proxy, store, _server } = wire().await;
    let jobs: Vec<_> = (0..300).map(|n| job(&format!("j{n}"))).collect();
    store.push(&jobs).await.unwrap();
    let mut master = Master::join(&store).await;
    let (mut table, mut refused) = (std::collections::BTreeMap::new(), 0);
    for round in 0.. {
        let ends: Vec<_> = table.values().map(done).collect();
        if round % 3 == 0 {
            proxy.lose_next_reply();
        }
        match master.turn(&ends, 20).await {
            Ok(reply) => {
                refused += reply.conflicts.len();
                table = reply.leased.into_iter().map(|leased| (leased.id(), record(leased))).collect();
            }
            Err(StoreError::Unavailable { .. }) => {
                let held = master.held().await;
                let missing: Vec<_> = held.iter().copied().filter(|id| !table.contains_key(id)).collect();
                table.retain(|id, _| held.contains(id));
                let adopted = store.fetch(&master.owner, &missing).await.unwrap();
                table.extend(adopted.into_iter().map(|leased| (leased.id(), record(leased))));
            }
            Err(error) => panic!("{error:?}"),
        }
        if table.is_empty() && round % 3 != 0 {
            break;
        }
    }
    let status = store.status().await.unwrap();
    assert_eq!((status.done, status.total(), refused), (301, 301, 0));
}
