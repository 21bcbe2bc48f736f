//! Ids: exact, growing, never used twice.

use std::collections::BTreeSet;

use aint_queue::store::{Clear, SettleConflict};

use crate::harness::{CHANNEL, World, done, done_id};

const ALL: Clear = Clear { waiting: true, delayed: true, failed: true, reserved: true };

pub async fn ids_are_exact_and_tell_when_the_job_was_pushed(world: World) {
    let mut master = world.master().await;
    let before = master.turn(&[], 0).await.unwrap().now;
    let ids = world.push(300).await;
    let reply = master.turn(&[], 300).await.unwrap();
    assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), ids, "no digit is lost on the way");
    assert!(ids[0].pushed_at() >= before);
    assert!(ids[299].0 <= reply.now.0 + 1_000_000, "at most one second ahead");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 300);
}

pub async fn an_id_is_never_used_again(world: World) {
    let mut used = BTreeSet::new();
    let mut master = world.master().await;
    let mut fresh = async |count| {
        for id in world.push(count).await {
            assert!(used.insert(id), "{id} came twice");
            assert_eq!(used.last(), Some(&id), "ids grow");
        }
    };
    fresh(100).await;
    world.store.clear(ALL).await.unwrap();
    fresh(100).await;
    let ends: Vec<_> = master.lease(100).await.iter().map(done).collect();
    master.settle(&ends).await;
    fresh(100).await;
    // Those are still there when the store forgets which id was the last.
    world.driver.forget_last_id(CHANNEL).await;
    fresh(100).await;
    // The clock alone keeps them apart when nothing is there any more.
    world.store.clear(ALL).await.unwrap();
    world.driver.pass(std::time::Duration::from_millis(2)).await;
    world.driver.forget_last_id(CHANNEL).await;
    fresh(100).await;
}

pub async fn channels_of_one_store_do_not_see_each_other(world: World) {
    let other = world.driver.open("other").await;
    let ids = world.push(3).await;
    let theirs = other.push(&[crate::harness::unique("x", "k")]).await.unwrap()[0].id();
    world.store.push(&[crate::harness::unique("x", "k")]).await.unwrap();
    let status = other.status().await.unwrap();
    assert_eq!((status.waiting, status.total()), (1, 1));

    let mut master = crate::harness::Master::on(&other).await;
    assert_eq!(master.lease(10).await.len(), 1);
    if !ids.contains(&theirs) {
        assert_eq!(world.store.get(theirs).await.unwrap(), None);
        assert_eq!(world.store.discard(&[theirs]).await.unwrap(), 0);
    }
    let foreign = ids.iter().copied().find(|id| *id != theirs).unwrap();
    assert_eq!(master.settle(&[done_id(foreign)]).await, [(foreign, SettleConflict::Cleared)]);
    let mut here = world.master().await;
    let seq = here.next();
    assert_eq!(other.clear(ALL).await.unwrap().reserved, 1);
    other.pause(None).await.unwrap();
    assert_eq!(here.store.take(&here.owner, seq, ids[0]).await.unwrap().unwrap().id(), ids[0]);
    assert_eq!(here.lease(10).await.len(), 3);
    assert!(here.store.status().await.unwrap().total() == 4);
}
