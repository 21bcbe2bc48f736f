//! Wake-ups of waiting masters.

use std::time::Duration;

use aint_queue::store::Reap;
use tokio::time::Instant;

use crate::fixture::{Fixture, failed, job, later};

conformance! {
    wait_without_work_times_out,
    push_before_the_wait_is_not_missed,
    wait_wakes_on_work_of_another_handle,
    wait_wakes_on_work_of_its_own_handle,
}

const LONG: Duration = Duration::from_secs(30);

/// Consumes earlier wake-ups, so that the next wait blocks.
async fn drain_wakeups(fixture: &Fixture) {
    for store in [&fixture.store, &fixture.another_handle().await] {
        store.wait(Duration::from_millis(50)).await.unwrap();
        store.wait(Duration::from_millis(50)).await.unwrap();
    }
}

async fn wait_without_work_times_out(fixture: Fixture) {
    drain_wakeups(&fixture).await;
    let begin = Instant::now();
    fixture.store.wait(Duration::from_millis(60)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(55));
}

async fn push_before_the_wait_is_not_missed(fixture: Fixture) {
    drain_wakeups(&fixture).await;
    fixture.push(1).await;
    let begin = Instant::now();
    fixture.store.wait(LONG).await.unwrap();
    assert!(begin.elapsed() < LONG / 2);
}

/// Runs `act` on another handle while the first one waits, and expects a wake-up.
async fn wakes(fixture: &Fixture, what: &str, act: impl AsyncFnOnce(&dyn aint_queue::store::Store)) {
    drain_wakeups(fixture).await;
    let other = fixture.another_handle().await;
    let begin = Instant::now();
    let (waited, ()) = tokio::join!(fixture.store.wait(LONG), async {
        // The wait is polled first, so it is registered before `act`.
        tokio::task::yield_now().await;
        act(&*other).await;
    });
    waited.unwrap();
    assert!(begin.elapsed() < LONG / 2, "{what} did not wake the one who waits");
}

async fn wait_wakes_on_work_of_another_handle(fixture: Fixture) {
    wakes(&fixture, "a push", async |other| {
        other.push(&[job("a")]).await.unwrap();
    })
    .await;
    wakes(&fixture, "an earlier delayed job", async |other| {
        other.push(&[later("b", Duration::from_millis(30))]).await.unwrap();
    })
    .await;
    // A waiting master must learn the end of a pause.
    wakes(&fixture, "a pause", async |other| {
        other.pause(Some(LONG)).await.unwrap();
    })
    .await;
    wakes(&fixture, "resume", async |other| {
        assert!(other.resume().await.unwrap());
    })
    .await;

    let mut master = fixture.master().await;
    let record = master.lease(1).await.remove(0);
    wakes(&fixture, "leave", async |other| {
        other.leave(&master.owner).await.unwrap();
    })
    .await;
    let mut master = fixture.master().await;
    master.lease(1).await;
    wakes(&fixture, "reap", async |other| {
        other.reap(Reap::Owner(&master.owner)).await.unwrap();
    })
    .await;
    let mut master = fixture.master().await;
    assert_eq!(master.lease(1).await[0].id, record.id);
    master.settle(&[failed(&record)]).await;
    wakes(&fixture, "requeue", async |other| {
        other.requeue(&[(record.id, record.meta.clone())]).await.unwrap();
    })
    .await;
    let record = master.lease(1).await.remove(0);
    wakes(&fixture, "a job handed back", async |_| {
        let back = crate::fixture::end(&record, aint_queue::store::Destination::Back);
        master.settle(&[back]).await;
    })
    .await;
}

async fn wait_wakes_on_work_of_its_own_handle(fixture: Fixture) {
    drain_wakeups(&fixture).await;
    let begin = Instant::now();
    let (waited, ()) = tokio::join!(fixture.store.wait(LONG), async {
        tokio::task::yield_now().await;
        fixture.push(1).await;
    });
    waited.unwrap();
    assert!(begin.elapsed() < LONG / 2);
}
