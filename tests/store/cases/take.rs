//! Leasing one job by id.

use std::time::Duration;

use aint_queue::job::JobId;
use aint_queue::store::JobState;

use crate::fixture::{Fixture, done, failed, later, record};

conformance! {
    job_is_taken_from_its_state,
    missing_job_is_not_taken,
    job_deep_in_waiting_is_not_taken,
}

async fn job_is_taken_from_its_state(fixture: Fixture) {
    let mut master = fixture.master().await;
    let failing = fixture.push(1).await;
    let leased = master.lease_exactly(&failing).await;
    master.settle(&[failed(&leased[0])]).await;
    let waiting = fixture.push(3).await;
    let delayed = fixture.push_all(&[later("d", Duration::from_secs(60))]).await;
    assert_eq!(fixture.counts().await, [3, 0, 1, 0, 1, 0]);

    for (n, id) in [failing[0], delayed[0], waiting[1]].into_iter().enumerate() {
        let seq = master.next();
        let taken = record(master.store.take(&master.owner, seq, id).await.unwrap().expect("it is there"));
        assert_eq!(taken.id, id);
        assert_eq!(fixture.counts().await[1], n as u64 + 1);
        // A taken job cannot be taken again, by any owner.
        let seq = master.next();
        assert_eq!(master.store.take(&master.owner, seq, id).await.unwrap(), None);
    }
    assert_eq!(fixture.counts().await, [2, 3, 0, 0, 0, 0]);
    assert_eq!(fixture.ids(JobState::Waiting).await, [waiting[0], waiting[2]]);
    let mut held = vec![failing[0], delayed[0], waiting[1]];
    held.sort_unstable();
    assert_eq!(master.held().await, held);
    for id in held {
        assert_eq!(master.settle(&[crate::fixture::done_id(id)]).await, []);
    }
    assert_eq!(fixture.counts().await, [2, 0, 0, 3, 0, 0]);
}

async fn missing_job_is_not_taken(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    let leased = one.lease_exactly(&ids).await;
    one.settle(&[done(&leased[0])]).await;
    for id in [ids[0], ids[1], JobId(1), JobId(u64::MAX)] {
        let seq = two.next();
        assert_eq!(two.store.take(&two.owner, seq, id).await.unwrap(), None, "{id}");
    }
    assert_eq!(fixture.counts().await, [0, 1, 0, 1, 0, 0]);
}

async fn job_deep_in_waiting_is_not_taken(fixture: Fixture) {
    let ids = fixture.push(10_001).await;
    let mut master = fixture.master().await;
    let seq = master.next();
    assert_eq!(master.store.take(&master.owner, seq, ids[10_000]).await.unwrap(), None);
    let seq = master.next();
    assert_eq!(master.store.take(&master.owner, seq, ids[9_999]).await.unwrap().unwrap().id(), ids[9_999]);
    assert_eq!(fixture.counts().await, [10_000, 1, 0, 0, 0, 0]);
}
