//! Unreadable records are set aside and block no other job.

use aint_queue::job::{FailReason, JobId, JobMeta};
use aint_queue::store::{Destination, JobState, Leased, OutputChange, Settlement, reload_failed};

use crate::fixture::{CHANNEL, Fixture, Master, done, record};

conformance! {
    malformed_record_is_set_aside_as_found,
    malformed_record_is_listed_in_every_state,
    malformed_record_supports_all_operations,
    reloaded_malformed_record_fails_again,
}

/// No record of any driver, and not JSON.
const GARBAGE: &str = "\u{1}garbage {\"";

/// Settles an unreadable record as a channel does.
fn set_aside(leased: &Leased, now: aint_queue::job::Timestamp) -> Settlement {
    let Leased::Malformed { id, why } = leased else { panic!("{leased:?} can be read") };
    Settlement {
        id: *id,
        unique: None,
        to: Destination::Failed(JobMeta::malformed(now, why)),
        output: OutputChange::Keep,
    }
}

async fn lease_one_malformed(master: &mut Master, id: JobId) -> Settlement {
    let reply = master.turn(&[], 1).await.unwrap();
    assert_eq!(reply.leased.len(), 1);
    assert_eq!(reply.leased[0].id(), id);
    set_aside(&reply.leased[0], reply.now)
}

async fn malformed_record_is_set_aside_as_found(fixture: Fixture) {
    let ids = fixture.push(10).await;
    fixture.driver.corrupt_record(CHANNEL, ids[4], GARBAGE).await;
    let mut master = fixture.master().await;
    let reply = master.turn(&[], 10).await.unwrap();
    assert_eq!(reply.leased.iter().map(Leased::id).collect::<Vec<_>>(), ids);
    assert_eq!(reply.held, 10);
    let mut ends = Vec::new();
    for leased in reply.leased {
        match leased {
            Leased::Job(record) => ends.push(done(&record)),
            malformed @ Leased::Malformed { .. } => ends.push(set_aside(&malformed, reply.now)),
        }
    }
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(fixture.counts().await, [0, 0, 0, 9, 1, 0]);

    let shown = fixture.store.get(ids[4]).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.meta.failed), (JobState::Failed, Some(FailReason::Malformed)));
    assert_eq!(shown.meta.errors.len(), 1);
    assert!(shown.payload.contains(GARBAGE), "{:?}", shown.payload);
    assert_eq!(fixture.all(JobState::Failed).await, [shown]);
}

async fn malformed_record_is_listed_in_every_state(fixture: Fixture) {
    let ids = fixture.push(5).await;
    fixture.driver.corrupt_record(CHANNEL, ids[2], GARBAGE).await;
    let jobs = fixture.all(JobState::Waiting).await;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert_eq!((jobs[2].meta.job.as_str(), jobs[2].meta.failed), ("?", Some(FailReason::Malformed)));
    assert!(jobs[2].payload.contains(GARBAGE));
    assert_eq!(fixture.store.get(ids[2]).await.unwrap().unwrap(), jobs[2]);
}

async fn malformed_record_supports_all_operations(fixture: Fixture) {
    let ids = fixture.push(4).await;
    for id in &ids[1..] {
        fixture.driver.corrupt_record(CHANNEL, *id, GARBAGE).await;
    }
    let mut master = fixture.master().await;
    let seq = master.next();
    let taken = master.store.take(&master.owner, seq, ids[1]).await.unwrap().unwrap();
    assert!(matches!(taken, Leased::Malformed { id, .. } if id == ids[1]));
    record(master.turn(&[], 1).await.unwrap().leased.remove(0));
    let fetched = master.store.fetch(&master.owner, &ids[..2]).await.unwrap();
    assert!(matches!(fetched[..], [Leased::Job(_), Leased::Malformed { .. }]), "{fetched:?}");
    assert_eq!(fixture.store.discard(&ids[2..3]).await.unwrap(), 1);
    assert_eq!(master.store.leave(&master.owner).await.unwrap(), 2);
    assert_eq!(fixture.ids(JobState::Waiting).await, [ids[0], ids[1], ids[3]]);

    let mut next = fixture.master().await;
    next.lease(1).await;
    let end = lease_one_malformed(&mut next, ids[1]).await;
    assert_eq!(next.settle(&[end]).await, []);
    assert_eq!(fixture.counts().await, [1, 1, 0, 0, 1, 1]);
}

async fn reloaded_malformed_record_fails_again(fixture: Fixture) {
    let ids = fixture.push(1).await;
    fixture.driver.corrupt_record(CHANNEL, ids[0], GARBAGE).await;
    let mut master = fixture.master().await;
    for _ in 0..3 {
        let end = lease_one_malformed(&mut master, ids[0]).await;
        assert_eq!(master.settle(&[end]).await, []);
        assert!(fixture.all(JobState::Failed).await[0].payload.contains(GARBAGE));
        assert_eq!(reload_failed(&*fixture.store, &Default::default()).await.unwrap(), 1);
    }
}
