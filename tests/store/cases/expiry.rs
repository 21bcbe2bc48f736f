//! Unique keys of jobs that have expired.

use std::time::Duration;

use aint_queue::job::{FailReason, JobId, JobMeta, NewJob, Start, Timestamp, UniqueUntil};
use aint_queue::store::{Destination, Pushed, Reap};

use crate::fixture::{CHANNEL, Fixture, end, failed, unique, unique_for};

conformance! { @clock
    expired_job_that_nobody_leased_holds_no_key,
    expired_job_holds_its_key_while_it_is_held,
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

async fn push(fixture: &Fixture, key: &str) -> Pushed {
    fixture.store.push(&[unique("once", key)]).await.unwrap()[0]
}

async fn added(fixture: &Fixture, job: NewJob) -> JobId {
    match fixture.store.push(&[job]).await.unwrap()[0] {
        Pushed::Added(id) => id,
        Pushed::Existing(id) => panic!("the key is held by {id}"),
    }
}

fn expiring(key: &str, after: Duration) -> NewJob {
    let mut job = unique("once", key);
    job.meta.expires_in_ms = Some(after.as_millis() as u64);
    job
}

async fn expired_job_that_nobody_leased_holds_no_key(fixture: Fixture) {
    let mut master = fixture.master().await;
    let delayed = NewJob { start: Start::After(HOUR), ..expiring("delayed", MINUTE) };
    let mut until_start = expiring("start", MINUTE);
    until_start.meta.unique_until = UniqueUntil::Start;
    let timed = NewJob {
        meta: JobMeta { expires_in_ms: Some(1), ..unique_for("once", "timed", HOUR).meta },
        ..unique("once", "timed")
    };
    let jobs = [expiring("waiting", MINUTE), delayed, until_start, timed, expiring("long", HOUR)];
    let old: Vec<_> = fixture.store.push(&jobs).await.unwrap().iter().map(|pushed| pushed.id()).collect();
    for (key, id) in ["waiting", "delayed", "start", "timed", "long"].iter().zip(&old) {
        assert_eq!(push(&fixture, key).await, Pushed::Existing(*id), "{key}");
    }
    fixture.driver.step_clock(61_000_000).await;
    assert_eq!(
        push(&fixture, "timed").await,
        Pushed::Existing(old[3]),
        "a timed key is independent of its job"
    );
    assert_eq!(push(&fixture, "long").await, Pushed::Existing(old[4]));
    for key in ["waiting", "delayed", "start"] {
        assert_eq!(fixture.store.holder(key).await.unwrap(), None, "{key}");
        let new = added(&fixture, unique("once", key)).await;
        assert_eq!(fixture.store.holder(key).await.unwrap(), Some(new), "{key}");
        assert_eq!(push(&fixture, key).await, Pushed::Existing(new), "{key}");
    }
    // The end of the expired job does not release the key of the new one.
    let leased = master.lease(1).await;
    assert_eq!(leased[0].id, old[0]);
    assert_eq!(master.settle(&[failed(&leased[0])]).await, []);
    let new = fixture.store.holder("waiting").await.unwrap().unwrap();
    assert!(new != old[0]);
    // Nor does a retry by a user take it back.
    let job = fixture.store.get(old[0]).await.unwrap().unwrap();
    assert_eq!(fixture.store.requeue(&[(old[0], job.meta.reloaded())]).await.unwrap(), 1);
    assert_eq!(fixture.store.holder("waiting").await.unwrap(), Some(new));
    // Two jobs of one batch, of which the first will never run.
    let mut late = unique("once", "batch");
    late.meta.expires_at = Some(Timestamp(1));
    let ids = fixture.store.push(&[late, unique("once", "batch")]).await.unwrap();
    assert!(matches!(ids[1], Pushed::Added(_)), "{ids:?}");
    assert_eq!(fixture.store.holder("batch").await.unwrap(), Some(ids[1].id()));
}

async fn expired_job_holds_its_key_while_it_is_held(fixture: Fixture) {
    let mut master = fixture.master().await;
    let id = added(&fixture, expiring("k", MINUTE)).await;
    let leased = master.lease_exactly(&[id]).await;
    fixture.driver.step_clock(61_000_000).await;
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(id), "it may be running");
    // A failed callback does not expire.
    let callback = end(&leased[0], |mut meta| {
        meta.failing = Some(FailReason::Exhausted);
        Destination::Back(meta)
    });
    assert_eq!(master.settle(&[callback]).await, []);
    assert_eq!(push(&fixture, "k").await, Pushed::Existing(id));
    let leased = master.lease_exactly(&[id]).await;
    let back = end(&leased[0], |mut meta| {
        meta.failing = None;
        Destination::Back(meta)
    });
    assert_eq!(master.settle(&[back]).await, []);
    let new = added(&fixture, unique("once", "k")).await;
    // A dead owner holds its jobs until they are returned.
    let mut dead = fixture.master().await;
    let soon = added(&fixture, expiring("dead", MINUTE)).await;
    dead.lease_exactly(&[id, new, soon]).await;
    fixture.driver.step_clock(61_000_000).await;
    fixture.driver.expire_lease(CHANNEL, &dead.owner).await;
    assert_eq!(push(&fixture, "dead").await, Pushed::Existing(soon));
    assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 3);
    added(&fixture, unique("once", "dead")).await;
}
