//! Records that cannot be understood are set aside and stop nobody.

use aint_queue::job::{FailReason, JobId, JobMeta};
use aint_queue::store::{Destination, JobState, Leased, Settlement, reload_failed};

use crate::harness::{CHANNEL, Master, World, done, record};

/// No record of any driver, and not JSON.
const GARBAGE: &str = "\u{1}garbage {\"";

/// Settles a record that cannot be read the way a channel does.
fn set_aside(leased: &Leased, now: aint_queue::job::Timestamp) -> Settlement {
    let Leased::Malformed { id, why } = leased else { panic!("{leased:?} can be read") };
    Settlement { id: *id, unique: None, to: Destination::Failed(JobMeta::malformed(now, why)) }
}

async fn lease_one_malformed(master: &mut Master, id: JobId) -> Settlement {
    let reply = master.turn(&[], 1).await.unwrap();
    assert_eq!(reply.leased.len(), 1);
    assert_eq!(reply.leased[0].id(), id);
    set_aside(&reply.leased[0], reply.now)
}

pub async fn one_among_others_is_set_aside_as_found(world: World) {
    let ids = world.push(10).await;
    world.driver.corrupt_record(CHANNEL, ids[4], GARBAGE).await;
    let mut master = world.master().await;
    let reply = master.turn(&[], 10).await.unwrap();
    assert_eq!(reply.leased.iter().map(Leased::id).collect::<Vec<_>>(), ids);
    assert_eq!(reply.held, 10);
    let mut ends = Vec::new();
    for leased in reply.leased {
        match leased {
            Leased::Job(record) => ends.push(done(&record)),
            malformed @ Leased::Malformed { .. } => ends.push(set_aside(&malformed, reply.now)),
        }
    }
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(world.counts().await, [0, 0, 0, 9, 1, 0]);

    let shown = world.store.get(ids[4]).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.meta.failed), (JobState::Failed, Some(FailReason::Malformed)));
    assert_eq!(shown.meta.errors.len(), 1);
    assert!(shown.payload.contains(GARBAGE), "{:?}", shown.payload);
    assert_eq!(world.all(JobState::Failed).await, [shown]);
}

pub async fn it_is_shown_wherever_it_stands_and_does_not_stop_a_page(world: World) {
    let ids = world.push(5).await;
    world.driver.corrupt_record(CHANNEL, ids[2], GARBAGE).await;
    let jobs = world.all(JobState::Waiting).await;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert_eq!((jobs[2].meta.job.as_str(), jobs[2].meta.failed), ("?", Some(FailReason::Malformed)));
    assert!(jobs[2].payload.contains(GARBAGE));
    assert_eq!(world.store.get(ids[2]).await.unwrap().unwrap(), jobs[2]);
}

pub async fn it_can_be_fetched_taken_discarded_and_given_back(world: World) {
    let ids = world.push(4).await;
    for id in &ids[1..] {
        world.driver.corrupt_record(CHANNEL, *id, GARBAGE).await;
    }
    let mut master = world.master().await;
    let seq = master.next();
    let taken = master.store.take(&master.owner, seq, ids[1]).await.unwrap().unwrap();
    assert!(matches!(taken, Leased::Malformed { id, .. } if id == ids[1]));
    record(master.turn(&[], 1).await.unwrap().leased.remove(0));
    let fetched = master.store.fetch(&master.owner, &ids[..2]).await.unwrap();
    assert!(matches!(fetched[..], [Leased::Job(_), Leased::Malformed { .. }]), "{fetched:?}");
    assert_eq!(world.store.discard(&ids[2..3]).await.unwrap(), 1);
    assert_eq!(master.store.leave(&master.owner).await.unwrap(), 2);
    assert_eq!(world.ids(JobState::Waiting).await, [ids[0], ids[1], ids[3]]);

    let mut next = world.master().await;
    next.lease(1).await;
    let end = lease_one_malformed(&mut next, ids[1]).await;
    assert_eq!(next.settle(&[end]).await, []);
    assert_eq!(world.counts().await, [1, 1, 0, 0, 1, 1]);
}

pub async fn reloaded_it_ends_in_failed_again(world: World) {
    let ids = world.push(1).await;
    world.driver.corrupt_record(CHANNEL, ids[0], GARBAGE).await;
    let mut master = world.master().await;
    for _ in 0..3 {
        let end = lease_one_malformed(&mut master, ids[0]).await;
        assert_eq!(master.settle(&[end]).await, []);
        assert!(world.all(JobState::Failed).await[0].payload.contains(GARBAGE));
        assert_eq!(reload_failed(&*world.store, &Default::default()).await.unwrap(), 1);
    }
}
