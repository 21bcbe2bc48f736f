//! Unique keys that are held until a job starts: released before its first instruction, also by a store with faults.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{NewJob, Timestamp, UniqueUntil};
use aint_queue::store::Pushed;
use aint_queue::store::model::Model;

use crate::faulty_store::{Fault, FaultyStore};
use crate::fixture::{Options, job, start_channel, until_async};

fn keyed() -> NewJob {
    let mut job = job("x", "{}");
    (job.meta.unique, job.meta.unique_until) = (Some("k".into()), UniqueUntil::Start);
    job
}

/// A store whose turns meet the faults of `plan`, by number.
fn store(mut plan: impl FnMut(usize) -> Fault + Send + 'static) -> FaultyStore {
    let mut turns = 0;
    let model = Model::ticking(Timestamp(1_790_000_000_000_000));
    FaultyStore::new(model, move |call| {
        turns += usize::from(call == "turn");
        if call == "turn" { plan(turns) } else { Fault::None }
    })
}

#[tokio::test]
async fn push_at_job_start_adds_another_job() {
    type Turns = fn(usize) -> Fault;
    let slow: Turns = |_| Fault::Slow(Duration::from_millis(150));
    let lost: Turns = |turn| if turn % 2 == 0 { Fault::Lost } else { Fault::None };
    let reply_lost: Turns = |turn| if turn % 2 == 0 { Fault::ReplyLost } else { Fault::None };
    for turns in [slow, lost, reply_lost] {
        let dir = tempfile::tempdir().unwrap();
        let begun = dir.path().join("begun");
        let script = format!("touch '{}'; sleep 0.5", begun.display());
        let mut options = Options::new(Plan::process_pool(1, 1, 0)).script(&script);
        options.store = Arc::new(store(turns));
        let fixture = start_channel(options).await;
        fixture.push(&[keyed()]).await;
        until_async("the job to start", async || begun.exists()).await;
        let second = fixture.store.push(&[keyed()]).await.unwrap()[0];
        assert!(matches!(second, Pushed::Added(_)), "the running job may have read its input already");
        fixture.until("both jobs to be done", |s| s.done == 2).await;
        assert!(fixture.stop(false).await.settled);
    }
}

#[tokio::test]
async fn stop_before_key_release_releases_the_job() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0)).script("true");
    options.store = Arc::new(store(|_| Fault::Slow(Duration::from_millis(300))));
    let fixture = start_channel(options).await;
    fixture.push(&[keyed()]).await;
    fixture.until("the job to be leased", |s| s.reserved == 1).await;
    let store = Arc::clone(&fixture.store);
    assert!(fixture.stop(false).await.settled);
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved, status.done), (1, 0, 0));
}
