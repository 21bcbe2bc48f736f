//! Waking up when work may be there.

use std::time::Duration;

use aint_queue::store::Reap;
use tokio::time::Instant;

use crate::harness::{World, failed, job, later};

const LONG: Duration = Duration::from_secs(30);

/// Uses up what earlier calls left behind, so that the next wait waits.
async fn settle_down(world: &World) {
    for store in [&world.store, &world.second().await] {
        store.wait(Duration::from_millis(50)).await.unwrap();
        store.wait(Duration::from_millis(50)).await.unwrap();
    }
}

pub async fn without_work_it_ends_by_its_time_limit(world: World) {
    settle_down(&world).await;
    let begin = Instant::now();
    world.store.wait(Duration::from_millis(60)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(55));
}

pub async fn a_push_from_before_the_wait_is_not_missed(world: World) {
    settle_down(&world).await;
    world.push(1).await;
    let begin = Instant::now();
    world.store.wait(LONG).await.unwrap();
    assert!(begin.elapsed() < LONG / 2);
}

/// Does `act` on another handle while the first one waits, and expects it to wake.
async fn wakes(world: &World, what: &str, act: impl AsyncFnOnce(&dyn aint_queue::store::Store)) {
    settle_down(world).await;
    let other = world.second().await;
    let begin = Instant::now();
    let (waited, ()) = tokio::join!(world.store.wait(LONG), async {
        // The wait is polled first, so it stands before this is done.
        tokio::task::yield_now().await;
        act(&*other).await;
    });
    waited.unwrap();
    assert!(begin.elapsed() < LONG / 2, "{what} did not wake the one who waits");
}

pub async fn it_wakes_when_another_handle_makes_work(world: World) {
    wakes(&world, "a push", async |other| {
        other.push(&[job("a")]).await.unwrap();
    })
    .await;
    wakes(&world, "an earlier delayed job", async |other| {
        other.push(&[later("b", Duration::from_millis(30))]).await.unwrap();
    })
    .await;
    // Who waits has to know when it ends.
    wakes(&world, "a pause", async |other| {
        other.pause(Some(LONG)).await.unwrap();
    })
    .await;
    wakes(&world, "resume", async |other| {
        assert!(other.resume().await.unwrap());
    })
    .await;

    let mut master = world.master().await;
    let record = master.lease(1).await.remove(0);
    wakes(&world, "leave", async |other| {
        other.leave(&master.owner).await.unwrap();
    })
    .await;
    let mut master = world.master().await;
    master.lease(1).await;
    wakes(&world, "reap", async |other| {
        other.reap(Reap::Owner(&master.owner)).await.unwrap();
    })
    .await;
    let mut master = world.master().await;
    assert_eq!(master.lease(1).await[0].id, record.id);
    master.settle(&[failed(&record)]).await;
    wakes(&world, "requeue", async |other| {
        other.requeue(&[(record.id, record.meta.clone())]).await.unwrap();
    })
    .await;
    let record = master.lease(1).await.remove(0);
    wakes(&world, "a job handed back", async |_| {
        let back = crate::harness::end(&record, aint_queue::store::Destination::Back);
        master.settle(&[back]).await;
    })
    .await;
}

pub async fn it_wakes_when_its_own_handle_makes_work(world: World) {
    settle_down(&world).await;
    let begin = Instant::now();
    let (waited, ()) = tokio::join!(world.store.wait(LONG), async {
        tokio::task::yield_now().await;
        world.push(1).await;
    });
    waited.unwrap();
    assert!(begin.elapsed() < LONG / 2);
}
