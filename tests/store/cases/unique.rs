//! Unique keys: at most one live job holds one.

use std::time::Duration;

use aint_queue::job::{JobId, Start};
use aint_queue::store::{Clear, Place, Pushed, State};

use crate::harness::{CHANNEL, World, done, end, failed, job, unique};

async fn push(world: &World, key: &str) -> Pushed {
    world.store.push(&[unique("once", key)]).await.unwrap()[0]
}

async fn added(world: &World, key: &str) -> JobId {
    match push(world, key).await {
        Pushed::Added(id) => id,
        Pushed::Existing(id) => panic!("the key is held by {id}"),
    }
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
    master.settle(&[end(&record, |meta| Place::Delayed(Duration::from_secs(60), meta))]).await;
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
    world.driver.lose_record(CHANNEL, first).await;
    let second = added(&world, "k").await;
    assert!(second > first);
    assert_eq!(world.ids(State::Waiting).await, [second]);
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
