//! Unique keys: at most one live job holds one.

use std::time::Duration;

use aint_queue::job::{JobId, NewJob, Start};
use aint_queue::store::{Clear, Destination, JobState, KeyRelease, Pushed};

use crate::harness::{
    CHANNEL, Master, World, done, end, failed, job, unique, unique_for, unique_until_start,
};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

async fn push(world: &World, key: &str) -> Pushed {
    world.store.push(&[unique("once", key)]).await.unwrap()[0]
}

async fn added(world: &World, key: &str) -> JobId {
    add(world, unique("once", key)).await
}

async fn add(world: &World, job: NewJob) -> JobId {
    match world.store.push(&[job]).await.unwrap()[0] {
        Pushed::Added(id) => id,
        Pushed::Existing(id) => panic!("the key is held by {id}"),
    }
}

fn free(id: JobId, key: &str) -> KeyRelease {
    KeyRelease::Unique { id, key: key.to_owned() }
}

pub async fn a_key_that_is_held_answers_with_its_holder(world: World) {
    let first = added(&world, "k").await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));
    let mut delayed = unique("once", "k");
    delayed.start = Start::After(Duration::from_secs(9));
    let batch = [job("a"), unique("b", "k"), unique("c", "new"), delayed, unique("d", "new")];
    let answers = world.store.push(&batch).await.unwrap();
    assert!(matches!(answers[0], Pushed::Added(_)));
    assert_eq!(answers[1], Pushed::Existing(first));
    assert!(matches!(answers[2], Pushed::Added(_)));
    assert_eq!(answers[3], Pushed::Existing(first));
    assert_eq!(answers[4], Pushed::Existing(answers[2].id()), "also within one batch");
    assert_eq!(world.counts().await, [3, 0, 0, 0, 0, 0]);

    // Held while reserved and delayed, too.
    let mut master = world.master().await;
    let record = master.lease(1).await.remove(0);
    assert_eq!((record.id, record.meta.unique.as_deref()), (first, Some("k")));
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));
    master.settle(&[end(&record, |meta| Destination::Delayed(Duration::from_secs(60), meta))]).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));
}

pub async fn a_key_is_free_after_done_failed_discard_and_clear(world: World) {
    let mut master = world.master().await;
    for ending in [done, failed] {
        let id = added(&world, "k").await;
        let record = master.lease_exactly(&[id]).await.remove(0);
        master.settle(&[ending(&record)]).await;
    }
    let id = added(&world, "k").await;
    assert_eq!(world.store.discard(&[id]).await.unwrap(), 1);
    added(&world, "k").await;
    world.store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
    added(&world, "k").await;
    master.lease(1).await;
    world.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    added(&world, "k").await;
}

pub async fn a_failed_job_takes_its_key_again_when_it_is_requeued(world: World) {
    let mut master = world.master().await;
    let first = added(&world, "k").await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let requeue = [(first, record.meta.clone().reloaded())];
    assert_eq!(world.store.requeue(&requeue).await.unwrap(), 1);
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));

    // Where another job took the key meanwhile, it stays with that one.
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let second = added(&world, "k").await;
    assert_eq!(world.store.requeue(&requeue).await.unwrap(), 1);
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));
    let both = master.lease(2).await;
    assert_eq!(both.iter().map(|r| r.id).collect::<Vec<_>>(), [second, first]);
    // The end of the one without the key does not free it.
    master.settle(&[done(&both[1])]).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));
    master.settle(&[done(&both[0])]).await;
    added(&world, "k").await;
}

pub async fn a_key_whose_record_is_gone_is_free(world: World) {
    let mut delayed = unique("once", "k");
    delayed.start = Start::After(Duration::from_secs(60));
    let first = world.store.push(&[delayed]).await.unwrap()[0].id();
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));
    world.driver.delete_record(CHANNEL, first).await;
    let second = added(&world, "k").await;
    assert!(second > first);
    assert_eq!(world.ids(JobState::Waiting).await, [second]);
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));
}

pub async fn of_many_pushers_of_one_key_one_adds(world: World) {
    let mut pushers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = world.second().await;
        pushers.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..10 {
                answers.push(store.push(&[unique("once", "k")]).await.unwrap()[0]);
            }
            answers
        });
    }
    let answers: Vec<_> = pushers.join_all().await.into_iter().flatten().collect();
    let added: Vec<_> = answers.iter().filter(|a| matches!(a, Pushed::Added(_))).collect();
    assert_eq!(added.len(), 1);
    assert!(answers.iter().all(|a| a.id() == added[0].id()));
    assert_eq!(world.counts().await[0], 1);
}

pub async fn a_key_until_start_is_free_when_the_channel_says_so(world: World) {
    let mut master = world.master().await;
    let first = add(&world, unique_until_start("once", "k")).await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    assert_eq!(push(&world, "k").await, Pushed::Existing(first), "leased is not begun");
    master.free(&[], &[free(first, "k")]).await;
    let second = add(&world, unique_until_start("once", "k")).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));

    // Neither its end nor a late word of its begin frees the key of the next one.
    master.free(&[], &[free(first, "k"), free(first, "k")]).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));
    master.free(&[failed(&record)], &[free(first, "k")]).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(second));

    // In the turn that settles it, wherever it goes.
    let record = master.lease_exactly(&[second]).await.remove(0);
    master.free(&[end(&record, |meta| Destination::Delayed(HOUR, meta))], &[free(second, "k")]).await;
    let third = add(&world, unique_until_start("once", "k")).await;
    let record = master.lease_exactly(&[third]).await.remove(0);
    master.free(&[done(&record)], &[free(third, "k"), free(JobId(7), "never")]).await;
    added(&world, "k").await;
}

pub async fn a_free_takes_no_key_of_another_job(world: World) {
    let mut master = world.master().await;
    let ids = [added(&world, "k").await, added(&world, "other").await];
    master.lease_exactly(&ids).await;
    let lock = KeyRelease::Lock { id: ids[0], key: "k".into() };
    master.free(&[], &[free(ids[1], "k"), free(ids[0], "other"), free(JobId(7), "k"), lock]).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(ids[0]));
    assert_eq!(push(&world, "other").await, Pushed::Existing(ids[1]));
    // Nor one of another channel.
    let other = world.driver.open("other").await;
    let theirs = other.push(&[unique("once", "k")]).await.unwrap()[0];
    master.free(&[], &[free(ids[0], "k")]).await;
    assert_eq!(other.push(&[unique("once", "k")]).await.unwrap()[0], Pushed::Existing(theirs.id()));
    Master::on(&other).await.free(&[], &[free(ids[1], "other")]).await;
    assert_eq!(push(&world, "other").await, Pushed::Existing(ids[1]));
}

pub async fn a_key_held_for_a_time_is_held_whatever_becomes_of_the_job(world: World) {
    let mut master = world.master().await;
    let timed = |key| unique_for("once", key, HOUR);
    let mut held = Vec::new();
    for (key, ending) in [("done", done as fn(&_) -> _), ("failed", failed)] {
        let id = add(&world, timed(key)).await;
        let record = master.lease_exactly(&[id]).await.remove(0);
        assert_eq!(record.meta, timed(key).meta);
        master.free(&[ending(&record)], &[free(id, key)]).await;
        held.push((key, id));
    }
    held.push(("discarded", add(&world, timed("discarded")).await));
    assert_eq!(world.store.discard(&[held[1].1, held[2].1]).await.unwrap(), 2);
    held.push(("cleared while it ran", add(&world, timed("cleared while it ran")).await));
    master.lease(1).await;
    held.push(("begun", add(&world, timed("begun")).await));
    master.lease(1).await;
    master.free(&[], &[free(held[4].1, "begun")]).await;
    held.push(("lost", add(&world, timed("lost")).await));
    world.driver.delete_record(CHANNEL, held[5].1).await;
    held.push(("cleared", add(&world, timed("cleared")).await));
    world.store.clear(Clear { waiting: true, reserved: true, ..Clear::default() }).await.unwrap();
    held.push(("waiting", add(&world, timed("waiting")).await));
    for (key, id) in held {
        assert_eq!(push(&world, key).await, Pushed::Existing(id), "{key}");
        assert_eq!(world.store.push(&[timed(key)]).await.unwrap(), [Pushed::Existing(id)], "{key}");
    }
    assert_eq!(world.counts().await[..5], [1, 0, 0, 1, 0]);
}

pub async fn a_key_is_free_when_its_time_is_over_and_not_taken_by_an_older_job(world: World) {
    let first = add(&world, unique_for("once", "k", SOON)).await;
    let mut master = world.master().await;
    let first = master.lease_exactly(&[first]).await.remove(0);
    world.driver.pass(SOON).await;
    let second = add(&world, unique_for("once", "k", HOUR)).await;
    assert_eq!(push(&world, "k").await, Pushed::Existing(second), "while the first one runs");
    assert_eq!(master.settle(&[failed(&first)]).await, []);
    assert_eq!(push(&world, "k").await, Pushed::Existing(second), "its end frees nothing of the second");

    // Nor does a plain key, taken after such a time, go with the older job.
    let first = add(&world, unique_for("once", "j", SOON)).await;
    world.driver.pass(SOON).await;
    let second = added(&world, "j").await;
    master.free(&[], &[free(first, "j")]).await;
    assert_eq!(world.store.discard(&[first]).await.unwrap(), 1);
    assert_eq!(world.store.push(&[unique_for("once", "j", HOUR)]).await.unwrap(), [Pushed::Existing(second)]);
    assert_eq!(world.store.discard(&[second]).await.unwrap(), 1);
    added(&world, "j").await;
}

pub async fn both_ways_of_holding_a_key_share_one_set(world: World) {
    let plain = added(&world, "k").await;
    let timed = unique_for("once", "k", HOUR);
    assert_eq!(world.store.push(std::slice::from_ref(&timed)).await.unwrap(), [Pushed::Existing(plain)]);
    assert_eq!(world.store.discard(&[plain]).await.unwrap(), 1);
    let batch = [timed.clone(), unique("once", "k"), timed.clone(), unique_until_start("once", "k")];
    let answers = world.store.push(&batch).await.unwrap();
    let id = answers[0].id();
    assert!(matches!(answers[0], Pushed::Added(_)));
    assert_eq!(answers[1..], [Pushed::Existing(id); 3]);
    let other = world.driver.open("other").await;
    assert!(matches!(other.push(&[timed]).await.unwrap()[0], Pushed::Added(_)), "another channel");
}

pub async fn a_key_held_for_a_time_is_not_taken_again(world: World) {
    let mut master = world.master().await;
    let (old, older) = (unique_for("once", "old", SOON), unique_for("once", "older", SOON));
    let ids = [added(&world, "k").await, add(&world, old).await, add(&world, older).await];
    let leased = master.lease_exactly(&ids).await;
    let ends: Vec<_> = leased.iter().map(failed).collect();
    assert_eq!(master.settle(&ends).await, []);
    world.driver.pass(SOON).await;

    // A plain one is, but not while another job holds it for a time.
    let holder = add(&world, unique_for("once", "k", HOUR)).await;
    let requeue = |n: usize| (ids[n], leased[n].meta.clone().reloaded());
    assert_eq!(world.store.requeue(&[requeue(0), requeue(1)]).await.unwrap(), 2);
    let seq = master.next();
    master.store.take(&master.owner, seq, ids[2]).await.unwrap().unwrap();
    assert_eq!(push(&world, "k").await, Pushed::Existing(holder));
    for key in ["old", "older"] {
        added(&world, key).await;
    }
    assert_eq!(world.store.discard(&[ids[0]]).await.unwrap(), 1);
    assert_eq!(push(&world, "k").await, Pushed::Existing(holder));
}

pub async fn a_failed_job_takes_its_key_again_when_it_is_taken(world: World) {
    let mut master = world.master().await;
    let first = added(&world, "k").await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let seq = master.next();
    let taken = master.store.take(&master.owner, seq, first).await.unwrap().unwrap();
    assert_eq!(push(&world, "k").await, Pushed::Existing(first));
    master.settle(&[done(&crate::harness::record(taken))]).await;
    added(&world, "k").await;
}

pub async fn whoever_asks_for_the_holder_of_a_key_hears_what_a_push_would_be_told(world: World) {
    let holder = async |key: &str| world.store.holder(key).await.unwrap();
    assert_eq!(holder("k").await, None);
    let mut master = world.master().await;
    let first = added(&world, "k").await;
    assert_eq!((holder("k").await, holder("K").await), (Some(first), None));
    let record = master.lease_exactly(&[first]).await.remove(0);
    assert_eq!(holder("k").await, Some(first), "while it is reserved");
    master.settle(&[failed(&record)]).await;
    assert_eq!(holder("k").await, None, "its end frees it");
    world.store.requeue(&[(first, record.meta.reloaded())]).await.unwrap();
    assert_eq!(holder("k").await, Some(first), "and a reload takes it again");
    world.store.discard(&[first]).await.unwrap();
    assert_eq!(holder("k").await, None);

    // For a time: longer than the job lives, and no longer than the time.
    let timed = add(&world, unique_for("once", "hour", HOUR)).await;
    let short = add(&world, unique_for("once", "soon", SOON)).await;
    world.store.discard(&[timed]).await.unwrap();
    world.driver.pass(SOON).await;
    assert_eq!((holder("hour").await, holder("soon").await), (Some(timed), None));
    assert!(world.store.get(short).await.unwrap().is_some());

    // A job that is cleared gives it up at once, and other channels have keys of their own.
    let strange = add(&world, unique("once", "a}{:\n\u{1f980}")).await;
    assert_eq!(holder("a}{:\n\u{1f980}").await, Some(strange));
    world.store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
    assert_eq!(holder("a}{:\n\u{1f980}").await, None);
    assert_eq!(world.driver.open("other").await.holder("hour").await.unwrap(), None);
}
