//! Batches at their bounds, close to the limits of Lua.

use std::time::Duration;

use aint_queue::job::{FailReason, JobId, JobRecord, NewJob, Payload, Start};
use aint_queue::store::{Clear, Destination, JobState, Leased, MAX_BATCH, Settlement, Turn};

use super::{open, open_plain};
use crate::fixture::{Master, done, done_id, end, failed, job, record, unique};
use crate::support::redis::Server;

type Ending = fn(&JobRecord) -> Settlement;

#[tokio::test]
async fn full_settlement_batch_is_one_turn() {
    let server = Server::start();
    for store in [open(&server).await, open_plain(&server).await] {
        let mut master = Master::join(&store).await;
        let kinds: [(u64, Ending); 6] = [
            (0, done),
            (500, failed),
            (500, |record| end(record, Destination::Front)),
            (500, |record| end(record, Destination::Back)),
            (500, |record| end(record, |meta| Destination::Delayed(Duration::from_secs(60), meta))),
            (500, |record| {
                end(record, |mut meta| {
                    meta.failed = Some(FailReason::Malformed);
                    Destination::Failed(meta)
                })
            }),
        ];
        for with_key in [false, true] {
            for (left, kind) in kinds {
                let jobs: Vec<_> = (0..MAX_BATCH)
                    .map(|n| if with_key { unique("u", &format!("k{n}")) } else { job("j") })
                    .collect();
                assert_eq!(store.push(&jobs).await.unwrap().len(), MAX_BATCH);
                let ends: Vec<_> = master.lease(MAX_BATCH).await.iter().map(kind).collect();
                assert_eq!(ends.len(), MAX_BATCH);
                assert_eq!(master.settle(&ends).await, []);
                assert_eq!(master.held().await, []);
                let status = store.status().await.unwrap();
                assert_eq!(status.waiting + status.delayed + status.failed, left);
                store
                    .clear(Clear { waiting: true, delayed: true, failed: true, reserved: true })
                    .await
                    .unwrap();
                assert_eq!(store.status().await.unwrap().total(), store.status().await.unwrap().done);
            }
        }
    }
}

/// The lease required by the contract.
fn expected(sizes: &[(JobId, usize)], want: usize, max_bytes: usize) -> Vec<JobId> {
    let (mut ids, mut bytes) = (Vec::new(), 0);
    for (id, size) in sizes {
        if ids.len() >= want || (!ids.is_empty() && bytes >= max_bytes) {
            break;
        }
        ids.push(*id);
        bytes += size;
    }
    ids
}

#[tokio::test]
async fn leases_of_any_size_between_tombstones_are_exact() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let mut random = fastrand::Rng::with_seed(20_261_121);
    for round in 0..60 {
        let largest = [20, 300, 5_000, 40_000][round % 4];
        let jobs: Vec<_> = (0..random.usize(1..200))
            .map(|_| {
                let text = format!("\"{}\"", "x".repeat(random.usize(0..largest)));
                NewJob::new("sized", Payload::parse(text).unwrap())
            })
            .collect();
        let mut waiting = Vec::new();
        for batch in jobs.chunks(100) {
            let pushed = store.push(batch).await.unwrap();
            waiting.extend(pushed.iter().zip(batch).map(|(p, j)| (p.id(), j.payload.as_str().len())));
        }
        let share = random.f64();
        let gone: Vec<_> = waiting.iter().map(|(id, _)| *id).filter(|_| random.f64() < share).collect();
        store.discard(&gone).await.unwrap();
        waiting.retain(|(id, _)| !gone.contains(id));
        while !waiting.is_empty() {
            assert_eq!(store.status().await.unwrap().waiting, waiting.len() as u64);
            let (want, max_bytes) = (random.usize(1..150), random.usize(0..largest * 100));
            let seq = master.next();
            let turn = Turn {
                owner: &master.owner,
                seq,
                settlements: &[],
                releases: &[],
                want,
                max_bytes,
                overdue: None,
                publish: None,
            };
            let leased = store.turn(turn).await.unwrap().leased;
            let ids: Vec<_> = leased.iter().map(Leased::id).collect();
            assert_eq!(ids, expected(&waiting, want, max_bytes), "round {round}");
            waiting.drain(..ids.len());
            let ends: Vec<_> = ids.into_iter().map(done_id).collect();
            master.settle(&ends).await;
        }
        assert!(store.list(JobState::Waiting, None, 10).await.unwrap().jobs.is_empty());
    }
}

#[tokio::test]
async fn page_is_bounded_in_bytes_and_resumable() {
    let server = Server::start();
    let store = open(&server).await;
    let large = NewJob::new("large", Payload::parse(format!("\"{}\"", "x".repeat(1_000_000))).unwrap());
    for _ in 0..4 {
        store.push(&vec![large.clone(); 4]).await.unwrap();
    }
    let mut master = Master::join(&store).await;
    for state in [JobState::Waiting, JobState::Reserved, JobState::Failed] {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(state, after, 100).await.unwrap();
            assert!(state == JobState::Reserved || page.jobs.len() <= 5, "{}", page.jobs.len());
            ids.extend(page.jobs.iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids.len(), 16, "{state:?}");
        match state {
            JobState::Waiting => drop(master.lease(16).await),
            _ => {
                let held = master.held().await;
                let fetched = store.fetch(&master.owner, &held).await.unwrap();
                let ends: Vec<_> = fetched.into_iter().map(|l| failed(&record(l))).collect();
                master.settle(&ends).await;
            }
        }
    }
}

#[tokio::test]
async fn same_time_jobs_page_without_gap_or_repeat() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let mut at = job("d");
    // The same due time for several batches.
    let far = store.push(&[job("now")]).await.unwrap()[0].id().pushed_at().after(Duration::from_secs(3600));
    at.start = Start::At(far);
    for _ in 0..3 {
        store.push(&vec![at.clone(); 400]).await.unwrap();
    }
    for limit in [7, 100, 500] {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(JobState::Delayed, after, limit).await.unwrap();
            ids.extend(page.jobs.iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids.len(), 1200);
        assert!(ids.is_sorted());
        ids.dedup();
        assert_eq!(ids.len(), 1200);
    }
    // Many jobs failed in one turn, newest first, while some are moved.
    let jobs: Vec<_> = (0..400).map(|n| job(&format!("j{n}"))).collect();
    store.push(&jobs).await.unwrap();
    let ends: Vec<_> = master.lease(401).await.iter().map(failed).collect();
    master.settle(&ends).await;
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(JobState::Failed, after, 50).await.unwrap();
        store.discard(&page.jobs.iter().map(|job| job.id).collect::<Vec<_>>()).await.unwrap();
        ids.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids.len(), 401);
    assert!(ids.is_sorted_by(|a, b| a > b));
}
