//! Concurrent calls.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aint_queue::job::JobId;
use aint_queue::store::{Destination, Pushed};

use crate::fixture::{CHANNEL, Fixture, Master, done, end, failed, job, later, unique};

conformance! {
    two_thousand_leases_by_fifty_owners_are_distinct,
    concurrent_masters_do_every_job_once,
    status_counts_add_up_under_load,
    ten_thousand_pushes_of_one_key_make_one_job,
}

async fn two_thousand_leases_by_fifty_owners_are_distinct(fixture: Fixture) {
    let pushed = fixture.push(2000).await;
    let mut owners = tokio::task::JoinSet::new();
    for n in 0..50 {
        // A few handles, like a few processes.
        let store = if n % 10 == 0 { fixture.another_handle().await } else { Arc::clone(&fixture.store) };
        owners.spawn(async move {
            let mut master = Master::join(&store).await;
            let mut ids = Vec::new();
            loop {
                let leased = master.lease(7).await;
                if leased.is_empty() {
                    assert_eq!(master.held().await.len(), ids.len());
                    return ids;
                }
                assert!(leased.is_sorted_by_key(|r| r.id));
                ids.extend(leased.iter().map(|r| r.id));
            }
        });
    }
    let leased: Vec<JobId> = owners.join_all().await.into_iter().flatten().collect();
    assert_eq!(leased.len(), 2000);
    assert_eq!(leased.into_iter().collect::<BTreeSet<_>>(), pushed.into_iter().collect());
    assert_eq!(fixture.counts().await, [0, 2000, 0, 0, 0, 0]);
}

async fn concurrent_masters_do_every_job_once(fixture: Fixture) {
    let mut pushers = tokio::task::JoinSet::new();
    for p in 0..5 {
        let store = if p % 2 == 0 { fixture.another_handle().await } else { Arc::clone(&fixture.store) };
        pushers.spawn(async move {
            let mut ids = Vec::new();
            for n in 0..40 {
                let jobs: Vec<_> = (0..5).map(|m| job(&format!("p{p}-{n}-{m}"))).collect();
                ids.extend(store.push(&jobs).await.unwrap().iter().map(|p| p.id()));
            }
            ids
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut masters = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (store, stop) = (fixture.another_handle().await, Arc::clone(&stop));
        masters.spawn(async move {
            let (mut master, mut ids) = (Master::join(&store).await, Vec::new());
            loop {
                let last = stop.load(Ordering::Relaxed);
                let leased = master.lease(16).await;
                if leased.is_empty() && last {
                    return ids;
                }
                ids.extend(leased.iter().map(|r| r.id));
                let ends: Vec<_> = leased.iter().map(done).collect();
                assert_eq!(master.settle(&ends).await, []);
                tokio::task::yield_now().await;
            }
        });
    }
    let pushed: BTreeSet<JobId> = pushers.join_all().await.into_iter().flatten().collect();
    stop.store(true, Ordering::Relaxed);
    let done: Vec<JobId> = masters.join_all().await.into_iter().flatten().collect();
    assert_eq!((pushed.len(), done.len()), (1000, 1000));
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), pushed);
    assert_eq!(fixture.counts().await, [0, 0, 0, 1000, 0, 0]);
}

async fn status_counts_add_up_under_load(fixture: Fixture) {
    const PUSHED: u64 = 300;
    fixture.push(PUSHED as usize).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut churners = tokio::task::JoinSet::new();
    for seed in 0..3_u64 {
        let (store, stop) = (fixture.another_handle().await, Arc::clone(&stop));
        churners.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut master = Master::join(&store).await;
            while !stop.load(Ordering::Relaxed) {
                let leased = master.lease(random.usize(1..20)).await;
                let ends: Vec<_> = leased
                    .iter()
                    .map(|record| match random.u8(..6) {
                        0 => done(record),
                        1 => failed(record),
                        2 => end(record, Destination::Front),
                        3 => end(record, |meta| Destination::Delayed(Duration::from_millis(1), meta)),
                        _ => end(record, Destination::Back),
                    })
                    .collect();
                if random.u8(..4) == 0 {
                    store.leave(&master.owner).await.unwrap();
                    master = Master::join(&store).await;
                } else {
                    assert_eq!(master.settle(&ends).await, []);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for round in 0..200 {
        let status = fixture.store.status().await.unwrap();
        assert_eq!(status.total() + status.cleared, PUSHED, "round {round}: {status:?}");
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    churners.join_all().await;
    fixture.store.push(&[later("d", Duration::from_secs(60))]).await.unwrap();
    assert_eq!(fixture.store.status().await.unwrap().total(), PUSHED + 1);
}

async fn ten_thousand_pushes_of_one_key_make_one_job(fixture: Fixture) {
    // Each thread has a runtime and a handle of its own, as twenty processes would.
    let pushes = |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = fixture.driver.open(CHANNEL).await;
            let mut answers = Vec::new();
            for _ in 0..500 {
                answers.push(store.push(&[unique("once", "k")]).await.unwrap()[0]);
            }
            answers
        })
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|n| scope.spawn(move || pushes(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.len(), 10_000);
    let added: Vec<_> = answers.iter().filter(|answer| matches!(answer, Pushed::Added(_))).collect();
    assert_eq!(added.len(), 1);
    assert!(answers.iter().all(|answer| answer.id() == added[0].id()));
    assert_eq!(fixture.counts().await, [1, 0, 0, 0, 0, 0]);

    let mut master = fixture.master().await;
    let record = master.lease_exactly(&[added[0].id()]).await.remove(0);
    assert_eq!(master.settle(&[done(&record)]).await, []);
    let again = fixture.store.push(&[unique("once", "k")]).await.unwrap()[0];
    assert!(matches!(again, Pushed::Added(id) if id > record.id));
}
