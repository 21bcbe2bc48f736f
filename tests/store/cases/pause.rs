//! Pauses: nothing is leased, all else goes on, and those with an end are over by themselves.

use std::time::Duration;

use aint_queue::store::{Destination, JobState, MAX_BATCH};

use crate::harness::{Master, World, done, end, job, later};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(60);

pub async fn it_stops_leasing_for_everybody_and_resume_ends_it(world: World) {
    let ids = world.push(3).await;
    let (mut one, mut two) = (world.master().await, Master::on(&world.second().await).await);
    let leased = one.lease(1).await;
    assert!(!world.store.resume().await.unwrap(), "there is none yet");
    assert_eq!(world.store.pause(None).await.unwrap(), None);
    assert_eq!(world.store.pause(None).await.unwrap(), None);
    let status = world.store.status().await.unwrap();
    assert_eq!((status.paused, status.paused_until), (true, None));
    assert!(one.lease(5).await.is_empty() && two.lease(5).await.is_empty());
    // Ends are written, pushes are taken, counts are shown.
    assert_eq!(one.settle(&[done(&leased[0])]).await, []);
    world.push(1).await;
    assert_eq!(world.counts().await, [3, 0, 0, 1, 0, 0]);
    let reply = two.turn(&[], 5).await.unwrap();
    assert_eq!((reply.waiting, reply.next_due), (0, None), "nothing will change by itself");
    assert!(world.store.resume().await.unwrap());
    assert!(!world.store.resume().await.unwrap(), "it ends once");
    assert!(!world.store.status().await.unwrap().paused);
    assert_eq!(two.lease(5).await[0].id, ids[1]);
}

pub async fn one_with_an_end_is_over_when_the_stores_clock_says_so(world: World) {
    let ids = world.push(2).await;
    let (mut one, mut two) = (world.master().await, Master::on(&world.second().await).await);
    let until = world.store.pause(Some(SOON)).await.unwrap().expect("it has an end");
    // However slow the store is today: never before its end, and at once when that has come.
    let reply = loop {
        let reply = one.turn(&[], 1).await.unwrap();
        if !reply.leased.is_empty() {
            break reply;
        }
        let next = reply.next_due.expect("a pause is to end");
        assert!(reply.now < until && next == until.since(reply.now), "ends in {next:?}");
        assert_eq!(reply.waiting, 0);
        world.driver.pass(next).await;
    };
    assert!(reply.now >= until);
    assert_eq!((reply.leased[0].id(), reply.next_due, reply.waiting), (ids[0], None, 1));
    // It is over for all, and there is nothing left to end.
    let status = world.store.status().await.unwrap();
    assert_eq!((status.paused, status.paused_until), (false, None));
    two.lease_exactly(&ids[1..]).await;
    assert!(!world.store.resume().await.unwrap());
}

pub async fn one_that_is_over_is_so_before_any_master_looks(world: World) {
    world.store.pause(Some(SOON)).await.unwrap();
    world.driver.pass(2 * SOON).await;
    assert!(!world.store.status().await.unwrap().paused);
    assert!(!world.store.resume().await.unwrap());
    world.store.pause(Some(Duration::ZERO)).await.unwrap();
    let ids = world.push(1).await;
    world.master().await.lease_exactly(&ids).await;
}

pub async fn a_later_one_replaces_an_earlier_one(world: World) {
    let ids = world.push(1).await;
    let mut master = world.master().await;
    for (time, lasts) in [(Some(SOON), true), (Some(HOUR), true), (None, true), (Some(SOON), false)] {
        let until = world.store.pause(time).await.unwrap();
        assert_eq!(world.store.status().await.unwrap().paused_until, until);
        if lasts {
            // Neither does the end of the first one end the second.
            assert!(master.lease(1).await.is_empty());
        }
    }
    world.driver.pass(2 * SOON).await;
    master.lease_exactly(&ids).await;
    world.store.pause(Some(SOON)).await.unwrap();
    world.store.pause(None).await.unwrap();
    world.driver.pass(2 * SOON).await;
    assert!(world.store.status().await.unwrap().paused, "the end of the one before does not end it");
}

pub async fn all_but_leasing_goes_on_meanwhile(world: World) {
    let ids = world.push_all(&[job("a"), later("soon", SOON / 2), later("far", HOUR)]).await;
    let mut master = world.master().await;
    let leased = master.lease_exactly(&ids[..1]).await;
    let until = world.store.pause(Some(2 * HOUR)).await.unwrap().unwrap();
    world.driver.pass(SOON).await;
    let reply = master.turn(&[end(&leased[0], Destination::Front)], 5).await.unwrap();
    assert!(reply.leased.is_empty());
    // Due jobs moved, also while nothing is leased; what is next is the other job, before the end of the pause.
    assert_eq!(world.ids(JobState::Waiting).await, ids[..2]);
    let due = world.store.get(ids[2]).await.unwrap().unwrap().at;
    assert!(due < until);
    assert_eq!(reply.next_due, Some(due.since(reply.now)));
    // Who asks for one job by its id gets it, and owners come and go.
    let seq = master.next();
    assert!(master.store.take(&master.owner, seq, ids[0]).await.unwrap().is_some());
    assert_eq!(world.store.leave(&master.owner).await.unwrap(), 1);
    let mut master = world.master().await;
    assert!(master.lease(MAX_BATCH).await.is_empty());
    assert!(world.store.resume().await.unwrap());
    master.lease_exactly(&ids[..2]).await;
}

pub async fn the_longest_is_ten_years_and_of_one_channel_only(world: World) {
    let other = world.driver.open("other").await;
    let until = world.store.pause(Some(Duration::MAX)).await.unwrap().unwrap();
    assert_eq!(world.store.status().await.unwrap().paused_until, Some(until));
    let now = world.master().await.turn(&[], 0).await.unwrap().now;
    let years = until.since(now).as_secs() / (366 * 24 * 3600);
    assert!((9..=10).contains(&years), "{years}");
    assert!(!other.status().await.unwrap().paused);
}
