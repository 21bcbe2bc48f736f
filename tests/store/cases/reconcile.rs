//! Recovery from a lost reply: a master asks for the jobs it holds.

use aint_queue::store::{SettleConflict, StoreError};

use crate::fixture::{Fixture, done, record};

conformance! {
    lost_lease_reply_is_adopted,
    lost_settle_reply_is_applied_once,
    held_count_of_a_turn_is_exact,
}

async fn lost_lease_reply_is_adopted(fixture: Fixture) {
    let ids = fixture.push(5).await;
    let mut master = fixture.master().await;
    let known = master.lease(2).await;
    // The reply of this turn is lost.
    master.turn(&[done(&known[0])], 2).await.unwrap();

    let late = master.seq;
    assert_eq!(master.held().await, ids[1..4]);
    let fetched = master.store.fetch(&master.owner, &ids[2..]).await.unwrap();
    let fetched: Vec<_> = fetched.into_iter().map(record).collect();
    assert_eq!(
        fetched.iter().map(|r| r.id).collect::<Vec<_>>(),
        ids[2..4],
        "what it does not hold is left out"
    );
    assert_eq!(fetched[0].payload.as_str(), "{\"name\":\"j2\"}");
    // A late copy of the lost call is refused.
    assert!(matches!(master.turn_as(late, &[], 2).await, Err(StoreError::Replayed)));
    assert_eq!(master.settle(&[done(&fetched[0]), done(&fetched[1]), done(&known[1])]).await, []);
    assert_eq!(fixture.counts().await, [1, 0, 0, 4, 0, 0]);
}

async fn lost_settle_reply_is_applied_once(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    // The first call was applied and its reply lost: no held job is left to settle.
    master.settle(&[done(&leased[0])]).await;
    assert_eq!(master.held().await, ids[1..]);
    // The second call never arrived: jobs that are still held are settled again.
    let lost = master.next();
    assert_eq!(master.held().await, ids[1..]);
    let late = master.turn_as(lost, &[done(&leased[1])], 0).await;
    assert!(matches!(late, Err(StoreError::Replayed)), "{late:?}");
    assert_eq!(master.settle(&[done(&leased[1])]).await, []);
    assert_eq!(master.settle(&[done(&leased[1])]).await, [(ids[1], SettleConflict::Cleared)]);
    assert_eq!(fixture.counts().await, [0, 1, 0, 2, 0, 0]);
}

async fn held_count_of_a_turn_is_exact(fixture: Fixture) {
    fixture.push(10).await;
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    let leased = one.lease(4).await;
    assert_eq!(two.turn(&[], 3).await.unwrap().held, 3);
    assert_eq!(one.turn(&[done(&leased[0])], 2).await.unwrap().held, 5);
    assert_eq!(one.turn(&[], 0).await.unwrap().held, 5);
    assert_eq!(one.held().await.len(), 5);
    assert_eq!(two.held().await.len(), 3);
}
