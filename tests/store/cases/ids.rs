//! Ids: exact, increasing, never reused.

use std::collections::BTreeSet;

use aint_queue::store::{Clear, SettleConflict};

use crate::fixture::{CHANNEL, Fixture, done, done_id};

conformance! {
    ids_are_exact_and_carry_the_push_time,
    ids_are_never_reused,
    channels_of_one_store_are_isolated,
}

const ALL: Clear = Clear { waiting: true, delayed: true, failed: true, reserved: true };

async fn ids_are_exact_and_carry_the_push_time(fixture: Fixture) {
    let mut master = fixture.master().await;
    let before = master.turn(&[], 0).await.unwrap().now;
    let ids = fixture.push(300).await;
    let reply = master.turn(&[], 300).await.unwrap();
    assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), ids, "no digit is lost on the way");
    assert!(ids[0].pushed_at() >= before);
    assert!(ids[299].0 <= reply.now.0 + 1_000_000, "at most one second ahead");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 300);
}

async fn ids_are_never_reused(fixture: Fixture) {
    let mut used = BTreeSet::new();
    let mut master = fixture.master().await;
    let mut fresh = async |count| {
        for id in fixture.push(count).await {
            assert!(used.insert(id), "{id} came twice");
            assert_eq!(used.last(), Some(&id), "ids grow");
        }
    };
    fresh(100).await;
    fixture.store.clear(ALL).await.unwrap();
    fresh(100).await;
    let ends: Vec<_> = master.lease(100).await.iter().map(done).collect();
    master.settle(&ends).await;
    fresh(100).await;
    // Stored jobs bound the next id from below when the last id is lost.
    fixture.driver.forget_last_id(CHANNEL).await;
    fresh(100).await;
    // Without any job, the clock alone keeps ids unique.
    fixture.store.clear(ALL).await.unwrap();
    fixture.driver.pass(std::time::Duration::from_millis(2)).await;
    fixture.driver.forget_last_id(CHANNEL).await;
    fresh(100).await;
}

async fn channels_of_one_store_are_isolated(fixture: Fixture) {
    let other = fixture.driver.open("other").await;
    let ids = fixture.push(3).await;
    let theirs = other.push(&[crate::fixture::unique("x", "k")]).await.unwrap()[0].id();
    fixture.store.push(&[crate::fixture::unique("x", "k")]).await.unwrap();
    let status = other.status().await.unwrap();
    assert_eq!((status.waiting, status.total()), (1, 1));

    let mut master = crate::fixture::Master::join(&other).await;
    assert_eq!(master.lease(10).await.len(), 1);
    if !ids.contains(&theirs) {
        assert_eq!(fixture.store.get(theirs).await.unwrap(), None);
        assert_eq!(fixture.store.discard(&[theirs]).await.unwrap(), 0);
    }
    let foreign = ids.iter().copied().find(|id| *id != theirs).unwrap();
    assert_eq!(master.settle(&[done_id(foreign)]).await, [(foreign, SettleConflict::Cleared)]);
    let mut here = fixture.master().await;
    let seq = here.next();
    assert_eq!(other.clear(ALL).await.unwrap().reserved, 1);
    other.pause(None).await.unwrap();
    assert_eq!(here.store.take(&here.owner, seq, ids[0]).await.unwrap().unwrap().id(), ids[0]);
    assert_eq!(here.lease(10).await.len(), 3);
    assert!(here.store.status().await.unwrap().total() == 4);
}
