//! Delayed jobs, by the store's clock.

use std::time::Duration;

use aint_queue::job::{NewJob, Start, Timestamp};
use aint_queue::store::{Destination, JobState, MAX_BATCH};

use crate::fixture::{Fixture, done, end, job, later};

conformance! {
    delayed_job_is_due_by_the_store_clock,
    due_jobs_go_to_the_back_in_due_order,
    past_start_means_now,
    settlement_can_delay_a_job,
    many_due_jobs_are_moved_in_bounded_steps,
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT_DELAY: Duration = Duration::from_millis(40);

async fn delayed_job_is_due_by_the_store_clock(fixture: Fixture) {
    let ids = fixture.push_all(&[later("later", HOUR), later("soon", SHORT_DELAY), job("now")]).await;
    let [later, soon] = [0, 1].map(|n| ids[n]);
    let due = async |id| fixture.store.get(id).await.unwrap().unwrap().at;
    let (later_due, soon_due) = (due(later).await, due(soon).await);
    let mut master = fixture.master().await;
    assert_eq!(master.lease(1).await[0].id, ids[2]);

    // Never before the due time, and immediately after it, on slow stores as well.
    let now = loop {
        let reply = master.turn(&[], 10).await.unwrap();
        if !reply.leased.is_empty() {
            assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), [soon]);
            assert_eq!(reply.next_due, Some(later_due.since(reply.now)));
            break reply.now;
        }
        let next = reply.next_due.expect("two jobs are delayed");
        assert!(reply.now < soon_due && next == soon_due.since(reply.now), "due in {next:?}");
        fixture.driver.pass(next).await;
    };
    assert!(now >= soon_due && now < later_due);
    assert_eq!(fixture.counts().await, [0, 2, 1, 0, 0, 0]);
}

async fn due_jobs_go_to_the_back_in_due_order(fixture: Fixture) {
    let first = fixture.push(2).await;
    let delayed = fixture
        .push_all(&[later("b", SHORT_DELAY), later("a", SHORT_DELAY / 2), later("c", SHORT_DELAY)])
        .await;
    fixture.driver.pass(SHORT_DELAY).await;
    let last = fixture.push(1).await;
    let mut master = fixture.master().await;
    let order = [first[0], first[1], last[0], delayed[1], delayed[0], delayed[2]];
    master.lease_exactly(&order).await;
}

async fn past_start_means_now(fixture: Fixture) {
    let now = fixture.master().await.turn(&[], 0).await.unwrap().now;
    let past = NewJob { start: Start::At(Timestamp(now.0 - 1)), ..job("past") };
    let zero = later("zero", Duration::ZERO);
    let future = NewJob { start: Start::At(now.after(HOUR)), ..job("future") };
    let ids = fixture.push_all(&[past, zero, future]).await;
    assert_eq!(fixture.ids(JobState::Waiting).await, ids[..2]);
    assert_eq!(fixture.store.get(ids[2]).await.unwrap().unwrap().at, now.after(HOUR));
}

async fn settlement_can_delay_a_job(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let far = |meta| Destination::Delayed(HOUR, meta);
    let now = |meta| Destination::Delayed(Duration::ZERO, meta);
    let ends = [end(&leased[0], far), end(&leased[1], now), done(&leased[2])];
    let reply = master.turn(&ends, 1).await.unwrap();
    // A zero delay is over within the same turn.
    assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(fixture.ids(JobState::Delayed).await, [ids[0]]);
    let listed = fixture.store.get(ids[0]).await.unwrap().unwrap();
    assert_eq!(listed.at, reply.now.after(HOUR));
    assert_eq!(fixture.counts().await, [0, 1, 1, 1, 0, 0]);
}

async fn many_due_jobs_are_moved_in_bounded_steps(fixture: Fixture) {
    let jobs: Vec<_> = (0..MAX_BATCH + 20).map(|n| later(&format!("j{n}"), SHORT_DELAY)).collect();
    let ids = fixture.push_all(&jobs).await;
    fixture.driver.pass(SHORT_DELAY).await;
    let mut master = fixture.master().await;
    let reply = master.turn(&[], 0).await.unwrap();
    assert_eq!(reply.next_due, Some(Duration::ZERO), "the rest is due already");
    assert_eq!(fixture.counts().await[..3], [MAX_BATCH as u64, 0, 20]);
    let leased = master.lease(MAX_BATCH).await;
    assert_eq!(leased.iter().map(|r| r.id).collect::<Vec<_>>(), ids[..MAX_BATCH]);
    master.lease_exactly(&ids[MAX_BATCH..]).await;
}
