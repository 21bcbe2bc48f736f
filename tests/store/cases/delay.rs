//! Jobs that wait for their time, by the store's clock.

use std::time::Duration;

use aint_queue::job::{NewJob, Start, Timestamp};
use aint_queue::store::{Destination, JobState, MAX_BATCH};

use crate::harness::{World, done, end, job, later};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(40);

pub async fn a_delayed_job_runs_when_the_stores_clock_says_so(world: World) {
    let ids = world.push_all(&[later("later", HOUR), later("soon", SOON), job("now")]).await;
    let [later, soon] = [0, 1].map(|n| ids[n]);
    let due = async |id| world.store.get(id).await.unwrap().unwrap().at;
    let (later_due, soon_due) = (due(later).await, due(soon).await);
    let mut master = world.master().await;
    assert_eq!(master.lease(1).await[0].id, ids[2]);

    // However slow the store is today: never before it is due, and at once when it is.
    let now = loop {
        let reply = master.turn(&[], 10).await.unwrap();
        if !reply.leased.is_empty() {
            assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), [soon]);
            assert_eq!(reply.next_due, Some(later_due.since(reply.now)));
            break reply.now;
        }
        let next = reply.next_due.expect("two jobs are delayed");
        assert!(reply.now < soon_due && next == soon_due.since(reply.now), "due in {next:?}");
        world.driver.pass(next).await;
    };
    assert!(now >= soon_due && now < later_due);
    assert_eq!(world.counts().await, [0, 2, 1, 0, 0, 0]);
}

pub async fn due_jobs_go_to_the_back_in_the_order_they_are_due(world: World) {
    let first = world.push(2).await;
    let delayed = world.push_all(&[later("b", SOON), later("a", SOON / 2), later("c", SOON)]).await;
    world.driver.pass(SOON).await;
    let last = world.push(1).await;
    let mut master = world.master().await;
    let order = [first[0], first[1], last[0], delayed[1], delayed[0], delayed[2]];
    master.lease_exactly(&order).await;
}

pub async fn a_time_that_has_passed_means_now(world: World) {
    let now = world.master().await.turn(&[], 0).await.unwrap().now;
    let past = NewJob { start: Start::At(Timestamp(now.0 - 1)), ..job("past") };
    let zero = later("zero", Duration::ZERO);
    let future = NewJob { start: Start::At(now.after(HOUR)), ..job("future") };
    let ids = world.push_all(&[past, zero, future]).await;
    assert_eq!(world.ids(JobState::Waiting).await, ids[..2]);
    assert_eq!(world.store.get(ids[2]).await.unwrap().unwrap().at, now.after(HOUR));
}

pub async fn a_settlement_can_delay_a_job(world: World) {
    let ids = world.push(3).await;
    let mut master = world.master().await;
    let leased = master.lease_exactly(&ids).await;
    let far = |meta| Destination::Delayed(HOUR, meta);
    let now = |meta| Destination::Delayed(Duration::ZERO, meta);
    let ends = [end(&leased[0], far), end(&leased[1], now), done(&leased[2])];
    let reply = master.turn(&ends, 1).await.unwrap();
    // A delay of nothing is over in the same turn.
    assert_eq!(reply.leased.iter().map(|l| l.id()).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(world.ids(JobState::Delayed).await, [ids[0]]);
    let listed = world.store.get(ids[0]).await.unwrap().unwrap();
    assert_eq!(listed.at, reply.now.after(HOUR));
    assert_eq!(world.counts().await, [0, 1, 1, 1, 0, 0]);
}

pub async fn many_that_are_due_at_once_are_moved_in_bounded_steps(world: World) {
    let jobs: Vec<_> = (0..MAX_BATCH + 20).map(|n| later(&format!("j{n}"), SOON)).collect();
    let ids = world.push_all(&jobs).await;
    world.driver.pass(SOON).await;
    let mut master = world.master().await;
    let reply = master.turn(&[], 0).await.unwrap();
    assert_eq!(reply.next_due, Some(Duration::ZERO), "the rest is due already");
    assert_eq!(world.counts().await[..3], [MAX_BATCH as u64, 0, 20]);
    let leased = master.lease(MAX_BATCH).await;
    assert_eq!(leased.iter().map(|r| r.id).collect::<Vec<_>>(), ids[..MAX_BATCH]);
    master.lease_exactly(&ids[MAX_BATCH..]).await;
}
