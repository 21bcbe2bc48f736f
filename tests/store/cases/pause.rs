//! Pauses: no leases, everything else works; a timed pause ends by itself.

use std::time::Duration;

use aint_queue::store::{Destination, JobState, MAX_BATCH};

use crate::fixture::{Fixture, Master, done, end, job, later};

conformance! {
    pause_stops_all_leasing_until_resume,
    timed_pause_ends_by_the_store_clock,
    expired_pause_needs_no_master_to_end,
    later_pause_replaces_an_earlier_one,
    pause_stops_only_leasing,
    pause_is_at_most_ten_years_and_per_channel,
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT_DELAY: Duration = Duration::from_millis(60);

async fn pause_stops_all_leasing_until_resume(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let (mut one, mut two) = (fixture.master().await, Master::join(&fixture.another_handle().await).await);
    let leased = one.lease(1).await;
    assert!(!fixture.store.resume().await.unwrap(), "there is none yet");
    assert_eq!(fixture.store.pause(None).await.unwrap(), None);
    assert_eq!(fixture.store.pause(None).await.unwrap(), None);
    let status = fixture.store.status().await.unwrap();
    assert_eq!((status.paused, status.paused_until), (true, None));
    assert!(one.lease(5).await.is_empty() && two.lease(5).await.is_empty());
    // Settlements, pushes and counts work during the pause.
    assert_eq!(one.settle(&[done(&leased[0])]).await, []);
    fixture.push(1).await;
    assert_eq!(fixture.counts().await, [3, 0, 0, 1, 0, 0]);
    let reply = two.turn(&[], 5).await.unwrap();
    assert_eq!((reply.waiting, reply.next_due), (0, None), "nothing will change by itself");
    assert!(fixture.store.resume().await.unwrap());
    assert!(!fixture.store.resume().await.unwrap(), "it ends once");
    assert!(!fixture.store.status().await.unwrap().paused);
    assert_eq!(two.lease(5).await[0].id, ids[1]);
}

async fn timed_pause_ends_by_the_store_clock(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let (mut one, mut two) = (fixture.master().await, Master::join(&fixture.another_handle().await).await);
    let until = fixture.store.pause(Some(SHORT_DELAY)).await.unwrap().expect("it has an end");
    // Never before its end, and immediately after it, on slow stores as well.
    let reply = loop {
        let reply = one.turn(&[], 1).await.unwrap();
        if !reply.leased.is_empty() {
            break reply;
        }
        let next = reply.next_due.expect("a pause is to end");
        assert!(reply.now < until && next == until.since(reply.now), "ends in {next:?}");
        assert_eq!(reply.waiting, 0);
        fixture.driver.pass(next).await;
    };
    assert!(reply.now >= until);
    assert_eq!((reply.leased[0].id(), reply.next_due, reply.waiting), (ids[0], None, 1));
    // The pause is over for all masters, and a resume finds none.
    let status = fixture.store.status().await.unwrap();
    assert_eq!((status.paused, status.paused_until), (false, None));
    two.lease_exactly(&ids[1..]).await;
    assert!(!fixture.store.resume().await.unwrap());
}

async fn expired_pause_needs_no_master_to_end(fixture: Fixture) {
    fixture.store.pause(Some(SHORT_DELAY)).await.unwrap();
    fixture.driver.pass(2 * SHORT_DELAY).await;
    assert!(!fixture.store.status().await.unwrap().paused);
    assert!(!fixture.store.resume().await.unwrap());
    fixture.store.pause(Some(Duration::ZERO)).await.unwrap();
    let ids = fixture.push(1).await;
    fixture.master().await.lease_exactly(&ids).await;
}

async fn later_pause_replaces_an_earlier_one(fixture: Fixture) {
    let ids = fixture.push(1).await;
    let mut master = fixture.master().await;
    for (time, lasts) in
        [(Some(SHORT_DELAY), false), (Some(HOUR), true), (None, true), (Some(SHORT_DELAY), false)]
    {
        let until = fixture.store.pause(time).await.unwrap();
        // A short pause may be over before the next call.
        if lasts {
            // The end of the replaced pause does not end the new one.
            assert_eq!(fixture.store.status().await.unwrap().paused_until, until);
            assert!(master.lease(1).await.is_empty());
        }
    }
    fixture.driver.pass(2 * SHORT_DELAY).await;
    master.lease_exactly(&ids).await;
    fixture.store.pause(Some(SHORT_DELAY)).await.unwrap();
    fixture.store.pause(None).await.unwrap();
    fixture.driver.pass(2 * SHORT_DELAY).await;
    assert!(fixture.store.status().await.unwrap().paused, "the end of the one before does not end it");
}

async fn pause_stops_only_leasing(fixture: Fixture) {
    let ids = fixture.push_all(&[job("a"), later("soon", SHORT_DELAY / 2), later("far", HOUR)]).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids[..1]).await;
    let until = fixture.store.pause(Some(2 * HOUR)).await.unwrap().unwrap();
    fixture.driver.pass(SHORT_DELAY).await;
    let reply = master.turn(&[end(&leased[0], Destination::Front)], 5).await.unwrap();
    assert!(reply.leased.is_empty());
    // Due jobs move to waiting during the pause; the next event is the other job, before the end of the pause.
    assert_eq!(fixture.ids(JobState::Waiting).await, ids[..2]);
    let due = fixture.store.get(ids[2]).await.unwrap().unwrap().at;
    assert!(due < until);
    assert_eq!(reply.next_due, Some(due.since(reply.now)));
    // Leasing one job by id works, and owners can join and leave.
    let seq = master.next();
    assert!(master.store.take(&master.owner, seq, ids[0]).await.unwrap().is_some());
    assert_eq!(fixture.store.leave(&master.owner).await.unwrap(), 1);
    let mut master = fixture.master().await;
    assert!(master.lease(MAX_BATCH).await.is_empty());
    assert!(fixture.store.resume().await.unwrap());
    master.lease_exactly(&ids[..2]).await;
}

async fn pause_is_at_most_ten_years_and_per_channel(fixture: Fixture) {
    let other = fixture.driver.open("other").await;
    let until = fixture.store.pause(Some(Duration::MAX)).await.unwrap().unwrap();
    assert_eq!(fixture.store.status().await.unwrap().paused_until, Some(until));
    let now = fixture.master().await.turn(&[], 0).await.unwrap().now;
    let years = until.since(now).as_secs() / (366 * 24 * 3600);
    assert!((9..=10).contains(&years), "{years}");
    assert!(!other.status().await.unwrap().paused);
}
