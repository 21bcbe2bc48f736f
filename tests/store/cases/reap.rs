//! Recovery of the jobs of dead owners.

use aint_queue::job::FailReason;
use aint_queue::store::{JobState, MAX_BATCH, Owner, Reap, StoreError};

use crate::fixture::{CHANNEL, Fixture, Master, done, end};

conformance! {
    only_the_lapsed_owner_is_reaped,
    unreaped_lapsed_owner_renews_by_its_next_turn,
    owner_known_dead_is_reaped_at_once,
    owner_without_jobs_is_reaped,
    third_lost_master_fails_job_and_frees_key,
    leaving_and_settling_do_not_count_as_lost,
    reap_against_settle_leaves_every_job_in_one_place,
    malformed_record_does_not_stop_the_reaper,
    reaped_jobs_keep_their_order_over_batches,
    interrupted_reap_is_finished_by_another,
}

async fn only_the_lapsed_owner_is_reaped(fixture: Fixture) {
    let ids = fixture.push(7).await;
    let (mut dead, mut alive) = (fixture.master().await, fixture.master().await);
    dead.lease_exactly(&ids[..3]).await;
    alive.lease_exactly(&ids[3..5]).await;
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 0);

    fixture.driver.expire_lease(CHANNEL, &dead.owner).await;
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 3);
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 0);
    let order = [ids[0], ids[1], ids[2], ids[5], ids[6]];
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    assert_eq!(alive.held().await, ids[3..5]);
    let leased = alive.lease_exactly(&order).await;
    let lost: Vec<_> = leased.iter().map(|r| (r.meta.lost, r.meta.attempts)).collect();
    assert_eq!(lost, [(1, 0), (1, 0), (1, 0), (0, 0), (0, 0)]);
}

async fn unreaped_lapsed_owner_renews_by_its_next_turn(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    fixture.driver.expire_lease(CHANNEL, &master.owner).await;
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 0);
    assert_eq!(master.held().await, ids[1..]);
}

async fn owner_known_dead_is_reaped_at_once(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let (mut dead, mut alive) = (fixture.master().await, fixture.master().await);
    dead.lease_exactly(&ids[..2]).await;
    alive.lease_exactly(&ids[2..]).await;
    assert_eq!(fixture.store.reap(Reap::Owner(&dead.owner)).await.unwrap(), 2);
    assert_eq!(fixture.store.reap(Reap::Owner(&dead.owner)).await.unwrap(), 0);
    assert_eq!(fixture.store.reap(Reap::Owner(&Owner::named("stranger"))).await.unwrap(), 0);
    assert!(matches!(dead.turn(&[], 0).await, Err(StoreError::Lost)));
    assert_eq!(fixture.counts().await, [2, 1, 0, 0, 0, 0]);
}

async fn owner_without_jobs_is_reaped(fixture: Fixture) {
    let mut dead = fixture.master().await;
    fixture.driver.expire_lease(CHANNEL, &dead.owner).await;
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 0);
    assert!(matches!(dead.turn(&[], 0).await, Err(StoreError::Lost)));
}

async fn third_lost_master_fails_job_and_frees_key(fixture: Fixture) {
    let mut job = crate::fixture::unique("fragile", "key");
    job.meta.max_attempts = Some(1);
    let id = fixture.push_all(&[job.clone()]).await[0];
    for lost in 0..3 {
        let mut master = fixture.master().await;
        let record = master.lease_exactly(&[id]).await.remove(0);
        assert_eq!((record.meta.lost, record.meta.attempts), (lost, 0));
        assert_eq!(fixture.store.reap(Reap::Owner(&master.owner)).await.unwrap(), 1);
    }
    let failed = fixture.all(JobState::Failed).await.remove(0);
    assert_eq!((failed.id, failed.meta.lost, failed.meta.failed), (id, 3, Some(FailReason::Lost)));
    assert_eq!(failed.meta.errors.len(), 1);
    assert_eq!(fixture.counts().await, [0, 0, 0, 0, 1, 0]);
    assert!(fixture.push_all(&[job]).await[0] > id);
}

async fn leaving_and_settling_do_not_count_as_lost(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    master.settle(&[end(&leased[0], aint_queue::store::Destination::Front)]).await;
    master.store.leave(&master.owner).await.unwrap();
    for record in fixture.master().await.lease(2).await {
        assert_eq!((record.meta.lost, record.meta.attempts, record.meta.crashes), (0, 0, 0));
    }
}

async fn reap_against_settle_leaves_every_job_in_one_place(fixture: Fixture) {
    // Both orders and everything between: the two calls run at once, again and again.
    for round in 0..20 {
        let ids = fixture.push(10).await;
        let mut master = fixture.master().await;
        let leased = master.lease_exactly(&ids).await;
        let ends: Vec<_> = leased.iter().map(done).collect();
        fixture.driver.expire_lease(CHANNEL, &master.owner).await;
        let other = fixture.another_handle().await;
        let before = fixture.counts().await;
        let (settled, reaped) = tokio::join!(master.turn(&ends, 0), other.reap(Reap::Expired));
        let counts = fixture.counts().await;
        match settled {
            Ok(reply) => {
                assert_eq!((reply.conflicts, reaped.unwrap()), (vec![], 0), "round {round}");
                assert_eq!((counts[0], counts[1], counts[3]), (0, 0, before[3] + 10));
            }
            Err(StoreError::Lost) => {
                assert_eq!(reaped.unwrap(), 10, "round {round}");
                assert_eq!((counts[0], counts[1], counts[3]), (10, 0, before[3]));
                fixture.store.discard(&ids).await.unwrap();
            }
            Err(error) => panic!("round {round}: {error:?}"),
        }
    }
}

async fn malformed_record_does_not_stop_the_reaper(fixture: Fixture) {
    let ids = fixture.push(10_000).await;
    let mut dead = fixture.master().await;
    for _ in 0..10_000 / MAX_BATCH {
        assert_eq!(dead.lease(MAX_BATCH).await.len(), MAX_BATCH);
    }
    fixture.driver.corrupt_record(CHANNEL, ids[4321], "\u{1}garbage").await;
    fixture.driver.expire_lease(CHANNEL, &dead.owner).await;

    // Two concurrent reapers on two handles share the work and count each job once.
    let other = fixture.another_handle().await;
    let (one, two) = tokio::join!(fixture.store.reap(Reap::Expired), other.reap(Reap::Expired));
    assert_eq!(one.unwrap() + two.unwrap(), 10_000);
    assert_eq!(fixture.counts().await, [10_000, 0, 0, 0, 0, 0]);
    // A single reaper preserves the order; with two only the set is certain.
    let mut waiting = fixture.ids(JobState::Waiting).await;
    waiting.sort_unstable();
    assert_eq!(waiting, ids);
}

async fn reaped_jobs_keep_their_order_over_batches(fixture: Fixture) {
    let ids = fixture.push(1200).await;
    let behind = fixture.push(3).await;
    let mut dead = fixture.master().await;
    for _ in 0..3 {
        dead.lease(400).await;
    }
    assert_eq!(fixture.store.reap(Reap::Owner(&dead.owner)).await.unwrap(), 1200);
    let order: Vec<_> = ids.into_iter().chain(behind).collect();
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
}

async fn interrupted_reap_is_finished_by_another(fixture: Fixture) {
    let ids = fixture.push(3000).await;
    for micros in [0, 200, 1_000, 3_000, 10_000] {
        let mut dead = fixture.master().await;
        while !dead.lease(MAX_BATCH).await.is_empty() {}
        fixture.driver.expire_lease(CHANNEL, &dead.owner).await;
        let cut = std::time::Duration::from_micros(micros);
        let _ = tokio::time::timeout(cut, fixture.store.reap(Reap::Expired)).await;
        let mut survivor = Master::join(&fixture.another_handle().await).await;
        survivor.store.reap(Reap::Expired).await.unwrap();
        assert_eq!(fixture.counts().await[..2], [3000, 0], "interrupted after {micros} µs");
        // The lost counts are reset, so that the jobs do not fail for being lost too often.
        reset_lost(&mut survivor).await;
    }
    let mut waiting = fixture.ids(JobState::Waiting).await;
    waiting.sort_unstable();
    assert_eq!(waiting, ids);
}

/// Leases everything and settles it to the back with `lost` reset.
async fn reset_lost(master: &mut Master) {
    let mut ends = Vec::new();
    loop {
        let leased = master.lease(MAX_BATCH).await;
        if leased.is_empty() {
            break;
        }
        ends.extend(leased.iter().map(|r| {
            end(r, |mut meta| {
                meta.lost = 0;
                aint_queue::store::Destination::Back(meta)
            })
        }));
    }
    for ends in ends.chunks(MAX_BATCH) {
        assert_eq!(master.settle(ends).await, []);
    }
}
