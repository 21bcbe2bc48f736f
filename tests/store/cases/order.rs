//! The order in which jobs are leased.

use aint_queue::job::JobMeta;
use aint_queue::store::{Destination, JobState, MAX_BATCH};

use crate::fixture::{Fixture, end};

conformance! {
    first_in_first_out,
    front_precedes_and_back_follows_waiting_jobs,
    jobs_of_leaving_owner_come_first_by_id,
    settled_job_can_be_leased_in_the_same_turn,
    pages_are_contiguous,
    reserved_jobs_of_all_owners_are_listed,
}

async fn first_in_first_out(fixture: Fixture) {
    let ids = fixture.push(50).await;
    assert!(ids.is_sorted());
    assert_eq!(fixture.ids(JobState::Waiting).await, ids);

    let mut master = fixture.master().await;
    master.lease_exactly(&ids[..20]).await;
    let more = fixture.push(5).await;
    master.lease_exactly(&ids[20..]).await;
    master.lease_exactly(&more).await;
    assert!(master.lease(1).await.is_empty());
    assert_eq!(fixture.counts().await, [0, 55, 0, 0, 0, 0]);
}

async fn front_precedes_and_back_follows_waiting_jobs(fixture: Fixture) {
    let ids = fixture.push(6).await;
    let mut master = fixture.master().await;
    let leased = master.lease(4).await;
    let to: [fn(JobMeta) -> Destination; 4] =
        [Destination::Front, Destination::Back, Destination::Front, Destination::Back];
    let ends: Vec<_> = leased.iter().zip(to).map(|(record, to)| end(record, to)).collect();
    assert_eq!(master.settle(&ends).await, []);

    // Jobs of one batch keep their order at the front.
    let order = [ids[0], ids[2], ids[4], ids[5], ids[1], ids[3]];
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    master.lease_exactly(&order).await;
}

async fn jobs_of_leaving_owner_come_first_by_id(fixture: Fixture) {
    let ids = fixture.push(8).await;
    let (mut leaving, mut staying) = (fixture.master().await, fixture.master().await);
    leaving.lease_exactly(&ids[..2]).await;
    staying.lease_exactly(&ids[2..4]).await;
    leaving.lease_exactly(&ids[4..6]).await;

    assert_eq!(leaving.store.leave(&leaving.owner).await.unwrap(), 4);
    let order = [ids[0], ids[1], ids[4], ids[5], ids[6], ids[7]];
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    assert_eq!(fixture.counts().await, [6, 2, 0, 0, 0, 0]);
    staying.lease_exactly(&order).await;
}

async fn settled_job_can_be_leased_in_the_same_turn(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let reply = master
        .turn(&[end(&leased[0], Destination::Front), end(&leased[1], Destination::Back)], 5)
        .await
        .unwrap();
    assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), ids);
    assert_eq!(reply.held, 2);
}

async fn pages_are_contiguous(fixture: Fixture) {
    let ids = fixture.push(25).await;
    let mut master = fixture.master().await;
    let mut ends = Vec::new();
    for record in &master.lease(10).await {
        ends.push(crate::fixture::failed(record));
    }
    master.settle(&ends).await;

    for (state, expected) in [
        (JobState::Waiting, ids[10..].to_vec()),
        (JobState::Failed, ids[..10].iter().rev().copied().collect()),
        (JobState::Delayed, vec![]),
    ] {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = fixture.store.list(state, after, 4).await.unwrap();
            assert!(page.jobs.len() <= 4 && page.jobs.iter().all(|job| job.state == state));
            found.extend(page.jobs.iter().map(|job| job.id));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{state:?}");
        assert!(pages <= expected.len() / 4 + 1);
    }
    assert_eq!(fixture.store.list(JobState::Waiting, None, usize::MAX).await.unwrap().jobs.len(), 15);
    assert!(fixture.push(MAX_BATCH).await.len() == MAX_BATCH);
    assert_eq!(fixture.store.list(JobState::Waiting, None, usize::MAX).await.unwrap().jobs.len(), MAX_BATCH);
}

async fn reserved_jobs_of_all_owners_are_listed(fixture: Fixture) {
    let ids = fixture.push(7).await;
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    one.lease_exactly(&ids[..3]).await;
    two.lease_exactly(&ids[3..6]).await;
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.list(JobState::Reserved, after, 2).await.unwrap();
        listed.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    listed.sort_unstable();
    assert_eq!(listed, ids[..6]);
}
