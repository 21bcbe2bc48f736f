//! Unique keys: held by at most one job.

use std::time::Duration;

use aint_queue::config::{self, Config};
use aint_queue::job::{JobId, NewJob, Start};
use aint_queue::store::{Clear, Destination, JobState, KeyRelease, PushError, PushLimit, Pushed, StoreError};

use crate::fixture::{
    CHANNEL, Fixture, Master, done, end, failed, job, unique, unique_for, unique_until_start,
};

conformance! {
    held_key_returns_its_holder,
    key_is_free_after_done_failed_discard_and_clear,
    requeued_job_takes_its_key_again,
    key_of_a_missing_record_is_free,
    concurrent_pushes_of_one_key_add_one,
    key_until_start_is_freed_by_the_channel,
    release_takes_no_key_of_another_job,
    timed_key_is_held_after_its_job_ends,
    expired_key_is_not_retaken_by_an_older_job,
    timed_and_untimed_keys_share_one_namespace,
    timed_key_is_not_taken_again,
    taken_failed_job_takes_its_key_again,
    holder_matches_what_push_reports,
    full_channel_answers_pushes_that_add_nothing,
}

const HOUR: Duration = Duration::from_secs(3600);
const SHORT_DELAY: Duration = Duration::from_millis(20);

async fn push(fixture: &Fixture, key: &str) -> Pushed {
    fixture.store.push(&[unique("once", key)]).await.unwrap()[0]
}

async fn added(fixture: &Fixture, key: &str) -> JobId {
    add(fixture, unique("once", key)).await
}

async fn add(fixture: &Fixture, job: NewJob) -> JobId {
    match fixture.store.push(&[job]).await.unwrap()[0] {
        Pushed::Added(id) => id,
        Pushed::Existing(id) => panic!("the key is held by {id}"),
    }
}

fn free(id: JobId, key: &str) -> KeyRelease {
    KeyRelease::Unique { id, key: key.to_owned() }
}

async fn held_key_returns_its_holder(fixture: Fixture) {
    let first = added(&fixture, "k").await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));
    let mut delayed = unique("once", "k");
    delayed.start = Start::After(Duration::from_secs(9));
    let batch = [job("a"), unique("b", "k"), unique("c", "new"), delayed, unique("d", "new")];
    let answers = fixture.store.push(&batch).await.unwrap();
    assert!(matches!(answers[0], Pushed::Added(_)));
    assert_eq!(answers[1], Pushed::Existing(first));
    assert!(matches!(answers[2], Pushed::Added(_)));
    assert_eq!(answers[3], Pushed::Existing(first));
    assert_eq!(answers[4], Pushed::Existing(answers[2].id()), "also within one batch");
    assert_eq!(fixture.counts().await, [3, 0, 0, 0, 0, 0]);

    // The key stays held while the job is reserved and delayed.
    let mut master = fixture.master().await;
    let record = master.lease(1).await.remove(0);
    assert_eq!((record.id, record.meta.unique.as_deref()), (first, Some("k")));
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));
    master.settle(&[end(&record, |meta| Destination::Delayed(Duration::from_secs(60), meta))]).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));
}

async fn key_is_free_after_done_failed_discard_and_clear(fixture: Fixture) {
    let mut master = fixture.master().await;
    for ending in [done, failed] {
        let id = added(&fixture, "k").await;
        let record = master.lease_exactly(&[id]).await.remove(0);
        master.settle(&[ending(&record)]).await;
    }
    let id = added(&fixture, "k").await;
    assert_eq!(fixture.store.discard(&[id]).await.unwrap(), 1);
    added(&fixture, "k").await;
    fixture.store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
    added(&fixture, "k").await;
    master.lease(1).await;
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    added(&fixture, "k").await;
}

async fn requeued_job_takes_its_key_again(fixture: Fixture) {
    let mut master = fixture.master().await;
    let first = added(&fixture, "k").await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let requeue = [(first, record.meta.clone().reloaded())];
    assert_eq!(fixture.store.requeue(&requeue).await.unwrap(), 1);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));

    // A key taken by another job in the meantime stays with that job.
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let second = added(&fixture, "k").await;
    assert_eq!(fixture.store.requeue(&requeue).await.unwrap(), 1);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));
    let both = master.lease(2).await;
    assert_eq!(both.iter().map(|r| r.id).collect::<Vec<_>>(), [second, first]);
    // The end of a job that lost its key does not release the key.
    master.settle(&[done(&both[1])]).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));
    master.settle(&[done(&both[0])]).await;
    added(&fixture, "k").await;
}

async fn key_of_a_missing_record_is_free(fixture: Fixture) {
    let mut delayed = unique("once", "k");
    delayed.start = Start::After(Duration::from_secs(60));
    let first = fixture.store.push(&[delayed]).await.unwrap()[0].id();
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));
    fixture.driver.delete_record(CHANNEL, first).await;
    let second = added(&fixture, "k").await;
    assert!(second > first);
    assert_eq!(fixture.ids(JobState::Waiting).await, [second]);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));
}

async fn concurrent_pushes_of_one_key_add_one(fixture: Fixture) {
    let mut pushers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = fixture.another_handle().await;
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
    assert_eq!(fixture.counts().await[0], 1);
}

async fn key_until_start_is_freed_by_the_channel(fixture: Fixture) {
    let mut master = fixture.master().await;
    let first = add(&fixture, unique_until_start("once", "k")).await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first), "leased is not begun");
    master.free(&[], &[free(first, "k")]).await;
    let second = add(&fixture, unique_until_start("once", "k")).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));

    // Neither the end of the first job nor a late release by it frees the key of the second one.
    master.free(&[], &[free(first, "k"), free(first, "k")]).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));
    master.free(&[failed(&record)], &[free(first, "k")]).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second));

    // The settling turn releases the key, whatever the destination.
    let record = master.lease_exactly(&[second]).await.remove(0);
    master.free(&[end(&record, |meta| Destination::Delayed(HOUR, meta))], &[free(second, "k")]).await;
    let third = add(&fixture, unique_until_start("once", "k")).await;
    let record = master.lease_exactly(&[third]).await.remove(0);
    master.free(&[done(&record)], &[free(third, "k"), free(JobId(7), "never")]).await;
    added(&fixture, "k").await;
}

async fn release_takes_no_key_of_another_job(fixture: Fixture) {
    let mut master = fixture.master().await;
    let ids = [added(&fixture, "k").await, added(&fixture, "other").await];
    master.lease_exactly(&ids).await;
    let lock = KeyRelease::Lock { id: ids[0], key: "k".into() };
    master.free(&[], &[free(ids[1], "k"), free(ids[0], "other"), free(JobId(7), "k"), lock]).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(ids[0]));
    assert_eq!(push(&fixture, "other").await, Pushed::Existing(ids[1]));
    // Keys of another channel are independent.
    let other = fixture.driver.open("other").await;
    let theirs = other.push(&[unique("once", "k")]).await.unwrap()[0];
    master.free(&[], &[free(ids[0], "k")]).await;
    assert_eq!(other.push(&[unique("once", "k")]).await.unwrap()[0], Pushed::Existing(theirs.id()));
    Master::join(&other).await.free(&[], &[free(ids[1], "other")]).await;
    assert_eq!(push(&fixture, "other").await, Pushed::Existing(ids[1]));
}

async fn timed_key_is_held_after_its_job_ends(fixture: Fixture) {
    let mut master = fixture.master().await;
    let timed = |key| unique_for("once", key, HOUR);
    let mut held = Vec::new();
    for (key, ending) in [("done", done as fn(&_) -> _), ("failed", failed)] {
        let id = add(&fixture, timed(key)).await;
        let record = master.lease_exactly(&[id]).await.remove(0);
        assert_eq!(record.meta, timed(key).meta);
        master.free(&[ending(&record)], &[free(id, key)]).await;
        held.push((key, id));
    }
    held.push(("discarded", add(&fixture, timed("discarded")).await));
    assert_eq!(fixture.store.discard(&[held[1].1, held[2].1]).await.unwrap(), 2);
    held.push(("cleared while it ran", add(&fixture, timed("cleared while it ran")).await));
    master.lease(1).await;
    held.push(("begun", add(&fixture, timed("begun")).await));
    master.lease(1).await;
    master.free(&[], &[free(held[4].1, "begun")]).await;
    held.push(("lost", add(&fixture, timed("lost")).await));
    fixture.driver.delete_record(CHANNEL, held[5].1).await;
    held.push(("cleared", add(&fixture, timed("cleared")).await));
    fixture.store.clear(Clear { waiting: true, reserved: true, ..Clear::default() }).await.unwrap();
    held.push(("waiting", add(&fixture, timed("waiting")).await));
    for (key, id) in held {
        assert_eq!(push(&fixture, key).await, Pushed::Existing(id), "{key}");
        assert_eq!(fixture.store.push(&[timed(key)]).await.unwrap(), [Pushed::Existing(id)], "{key}");
    }
    assert_eq!(fixture.counts().await[..5], [1, 0, 0, 1, 0]);
}

async fn expired_key_is_not_retaken_by_an_older_job(fixture: Fixture) {
    let first = add(&fixture, unique_for("once", "k", SHORT_DELAY)).await;
    let mut master = fixture.master().await;
    let first = master.lease_exactly(&[first]).await.remove(0);
    fixture.driver.pass(SHORT_DELAY).await;
    let second = add(&fixture, unique_for("once", "k", HOUR)).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second), "while the first one runs");
    assert_eq!(master.settle(&[failed(&first)]).await, []);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(second), "its end frees nothing of the second");

    // The end of the older job does not release a plain key taken after a timed hold.
    let first = add(&fixture, unique_for("once", "j", SHORT_DELAY)).await;
    fixture.driver.pass(SHORT_DELAY).await;
    let second = added(&fixture, "j").await;
    master.free(&[], &[free(first, "j")]).await;
    assert_eq!(fixture.store.discard(&[first]).await.unwrap(), 1);
    assert_eq!(
        fixture.store.push(&[unique_for("once", "j", HOUR)]).await.unwrap(),
        [Pushed::Existing(second)]
    );
    assert_eq!(fixture.store.discard(&[second]).await.unwrap(), 1);
    added(&fixture, "j").await;
}

async fn timed_and_untimed_keys_share_one_namespace(fixture: Fixture) {
    let plain = added(&fixture, "k").await;
    let timed = unique_for("once", "k", HOUR);
    assert_eq!(fixture.store.push(std::slice::from_ref(&timed)).await.unwrap(), [Pushed::Existing(plain)]);
    assert_eq!(fixture.store.discard(&[plain]).await.unwrap(), 1);
    let batch = [timed.clone(), unique("once", "k"), timed.clone(), unique_until_start("once", "k")];
    let answers = fixture.store.push(&batch).await.unwrap();
    let id = answers[0].id();
    assert!(matches!(answers[0], Pushed::Added(_)));
    assert_eq!(answers[1..], [Pushed::Existing(id); 3]);
    let other = fixture.driver.open("other").await;
    assert!(matches!(other.push(&[timed]).await.unwrap()[0], Pushed::Added(_)), "another channel");
}

async fn timed_key_is_not_taken_again(fixture: Fixture) {
    let mut master = fixture.master().await;
    let (old, older) = (unique_for("once", "old", SHORT_DELAY), unique_for("once", "older", SHORT_DELAY));
    let ids = [added(&fixture, "k").await, add(&fixture, old).await, add(&fixture, older).await];
    let leased = master.lease_exactly(&ids).await;
    let ends: Vec<_> = leased.iter().map(failed).collect();
    assert_eq!(master.settle(&ends).await, []);
    fixture.driver.pass(SHORT_DELAY).await;

    // A plain key is released, unless another job has a timed hold on it.
    let holder = add(&fixture, unique_for("once", "k", HOUR)).await;
    let requeue = |n: usize| (ids[n], leased[n].meta.clone().reloaded());
    assert_eq!(fixture.store.requeue(&[requeue(0), requeue(1)]).await.unwrap(), 2);
    let seq = master.next();
    master.store.take(&master.owner, seq, ids[2]).await.unwrap().unwrap();
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(holder));
    for key in ["old", "older"] {
        added(&fixture, key).await;
    }
    assert_eq!(fixture.store.discard(&[ids[0]]).await.unwrap(), 1);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(holder));
}

async fn taken_failed_job_takes_its_key_again(fixture: Fixture) {
    let mut master = fixture.master().await;
    let first = added(&fixture, "k").await;
    let record = master.lease_exactly(&[first]).await.remove(0);
    master.settle(&[failed(&record)]).await;
    let seq = master.next();
    let taken = master.store.take(&master.owner, seq, first).await.unwrap().unwrap();
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(first));
    master.settle(&[done(&crate::fixture::record(taken))]).await;
    added(&fixture, "k").await;
}

async fn holder_matches_what_push_reports(fixture: Fixture) {
    let holder = async |key: &str| fixture.store.holder(key).await.unwrap();
    assert_eq!(holder("k").await, None);
    let mut master = fixture.master().await;
    let first = added(&fixture, "k").await;
    assert_eq!((holder("k").await, holder("K").await), (Some(first), None));
    let record = master.lease_exactly(&[first]).await.remove(0);
    assert_eq!(holder("k").await, Some(first), "while it is reserved");
    master.settle(&[failed(&record)]).await;
    assert_eq!(holder("k").await, None, "its end frees it");
    fixture.store.requeue(&[(first, record.meta.reloaded())]).await.unwrap();
    assert_eq!(holder("k").await, Some(first), "and a reload takes it again");
    fixture.store.discard(&[first]).await.unwrap();
    assert_eq!(holder("k").await, None);

    // A timed hold outlasts its job, and ends with its time.
    let timed = add(&fixture, unique_for("once", "hour", HOUR)).await;
    let short = add(&fixture, unique_for("once", "soon", SHORT_DELAY)).await;
    fixture.store.discard(&[timed]).await.unwrap();
    fixture.driver.pass(SHORT_DELAY).await;
    assert_eq!((holder("hour").await, holder("soon").await), (Some(timed), None));
    assert!(fixture.store.get(short).await.unwrap().is_some());

    // A cleared job releases its key immediately; other channels have their own keys.
    let strange = add(&fixture, unique("once", "a}{:\n\u{1f980}")).await;
    assert_eq!(holder("a}{:\n\u{1f980}").await, Some(strange));
    fixture.store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
    assert_eq!(holder("a}{:\n\u{1f980}").await, None);
    assert_eq!(fixture.driver.open("other").await.holder("hour").await.unwrap(), None);
}

async fn full_channel_answers_pushes_that_add_nothing(fixture: Fixture) {
    let limit = PushLimit::of(&config::Channel {
        max_waiting: Some(3),
        ..Config::built_in(std::path::Path::new("/srv")).channels["default"].clone()
    });
    let store = fixture.store.as_ref();
    let held = added(&fixture, "k").await;
    let timed = add(&fixture, unique_for("once", "timed", HOUR)).await;
    let mut master = fixture.master().await;
    let leased = master.lease(2).await;
    master.settle(&[done(leased.iter().find(|record| record.id == timed).unwrap())]).await;
    fixture.push(2).await;

    // Room for one: held keys, of a running job and of one that is gone, take none, and the same new key counts once.
    let mixed = [unique("a", "k"), unique("b", "new"), unique("c", "timed"), unique("d", "new")];
    let pushed = limit.push(store, &mixed).await.unwrap();
    let new = pushed[1].id();
    let expected =
        [Pushed::Existing(held), Pushed::Added(new), Pushed::Existing(timed), Pushed::Existing(new)];
    assert_eq!(pushed, expected);

    // No room: a push that adds nothing has the same reply as below the limit.
    for jobs in [&[unique("a", "k")][..], &[unique("a", "timed"), unique("b", "new"), unique("c", "k")], &[]]
    {
        let pushed = limit.push(store, jobs).await.unwrap();
        assert!(pushed.len() == jobs.len() && !pushed.iter().any(|p| matches!(p, Pushed::Added(_))));
    }
    for jobs in [&[unique("a", "k"), job("b")][..], &[unique("a", "k"), unique("b", "other")], &[job("a")]] {
        let refused = limit.push(store, jobs).await;
        assert!(matches!(refused, Err(PushError::Store(StoreError::Full { .. }))), "{refused:?}");
    }
    assert_eq!(fixture.counts().await, [3, 1, 0, 1, 0, 0], "a refused batch adds nothing");
    // A job that is done frees its key.
    master.settle(&[done(leased.iter().find(|record| record.id == held).unwrap())]).await;
    assert!(limit.push(store, &[unique("a", "k")]).await.is_err());
}
