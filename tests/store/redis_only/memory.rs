//! A server with full memory refuses new jobs and nothing else.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::JobMeta;
use aint_queue::store::{
    Claim, ClaimKind, Clear, Destination, JobState, LimitDecision, PushError, Reap, Store, StoreError,
};

use super::{everything, open, open_plain, send};
use crate::fixture::{Master, done, end, failed, job};
use crate::support::redis::Server;

async fn only_a_push_is_refused(open: impl AsyncFn(&Server) -> Arc<dyn Store>) {
    let server = Server::start();
    let store = open(&server).await;
    let jobs: Vec<_> = (0..20).map(|n| job(&format!("j{n}"))).collect();
    store.push(&jobs).await.unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.lease(8).await;
    send(&server, &["CONFIG", "SET", "maxmemory", "1"]);

    let before = everything(&server);
    match store.push(&[job("new")]).await {
        Err(PushError::Store(error @ StoreError::Full { .. })) => {
            assert!(error.is_passing() && error.to_string().contains("`maxmemory`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(everything(&server), before);

    // Everything else works: settlements, leases, joins, leaves, commands.
    let ends = [
        done(&leased[0]),
        failed(&leased[1]),
        end(&leased[2], |meta| Destination::Delayed(Duration::from_secs(60), meta)),
        end(&leased[3], Destination::Back),
        end(&leased[4], Destination::Front),
    ];
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(master.lease(2).await.len(), 2);
    let rate = ClaimKind::Rate { count: 1, burst: 1, per: Duration::from_secs(60) };
    for kind in [ClaimKind::Lock { limit: 1 }, rate] {
        let claim = Claim { id: leased[5].id, key: "k".into(), kind };
        assert_eq!(master.claim(claim).await, LimitDecision::Granted);
    }
    let mut other = Master::join(&store).await;
    assert_eq!(other.lease(1).await.len(), 1);
    assert_eq!(store.leave(&other.owner).await.unwrap(), 1);
    let seq = master.next();
    assert!(store.take(&master.owner, seq, leased[2].id).await.unwrap().is_some());
    assert_eq!(store.reap(Reap::Owner(&master.owner)).await.unwrap(), 6);
    store.pause(None).await.unwrap();
    store.resume().await.unwrap();
    assert_eq!(store.requeue(&[(leased[1].id, JobMeta::named("again"))]).await.unwrap(), 1);
    assert_eq!(store.list(JobState::Waiting, None, 50).await.unwrap().jobs.len(), 19);
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.done, status.total()), (19, 1, 20));
    store.wait(Duration::from_millis(20)).await.unwrap();
    let all = Clear { waiting: true, delayed: true, failed: true, reserved: true };
    assert_eq!(store.clear(all).await.unwrap().waiting, 19);

    send(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.push(&[job("new")]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn full_memory_refuses_only_pushes() {
    only_a_push_is_refused(open).await;
}

#[tokio::test]
async fn full_memory_refuses_only_pushes_without_flags() {
    only_a_push_is_refused(open_plain).await;
}
