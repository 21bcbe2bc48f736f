//! Every mode runs every job once.

use std::time::Duration;

use aint_queue::channel::Scope;
use aint_queue::job::{FailReason, Outcome};
use aint_queue::pool::plan::Plan;
use aint_queue::store::JobState;

use crate::rig::{Options, job, rig};

async fn runs_all(options: Options, jobs: usize) {
    let rig = rig(options).await;
    rig.push(&vec![job("noop", "{}"); jobs]).await;
    let status = rig.until("all done", |s| s.done == jobs as u64).await;
    assert_eq!((status.waiting, status.reserved, status.failed), (0, 0, 0));
    let stopped = rig.stop(false).await;
    assert!(stopped.settled);
    assert_eq!(stopped.handed_back, 0);
}

#[tokio::test]
async fn a_pool_runs_every_job() {
    runs_all(Options::new(Plan::process_pool(3, 5, 0)), 1000).await;
}

#[tokio::test]
async fn one_worker_with_many_slots_runs_every_job() {
    runs_all(Options::new(Plan::coroutine(256, 0)), 5000).await;
}

#[tokio::test]
async fn a_fresh_process_per_job_runs_every_job() {
    runs_all(Options::new(Plan::PROCESS), 40).await;
}

#[tokio::test]
async fn a_program_per_job_runs_every_job() {
    runs_all(Options::new(Plan::process_pool(1, 4, 0)).script("cat >/dev/null"), 60).await;
}

#[tokio::test]
async fn workers_are_replaced_when_they_have_run_their_number_of_jobs() {
    runs_all(Options::new(Plan::process_pool(2, 2, 7)), 100).await;
}

#[tokio::test]
async fn slow_jobs_run_at_once_in_one_worker() {
    let rig = rig(Options::new(Plan::coroutine(100, 0))).await;
    rig.push(&vec![job("sleep", r#"{"ms":300}"#); 100]).await;
    let begun = std::time::Instant::now();
    rig.until("all done", |s| s.done == 100).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "100 sleeps of 300 ms one after the other take 30 s");
    rig.stop(false).await;
}

#[tokio::test]
async fn an_unknown_job_fails_with_that_reason_and_the_others_go_on() {
    let rig = rig(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = rig.push(&[job("nobody_knows_me", "{}"), job("noop", "{}")]).await;
    rig.until("both ended", |s| s.done == 1 && s.failed == 1).await;
    let failed = rig.get(ids[0]).await;
    assert_eq!(failed.meta.failed, Some(FailReason::UnknownJob));
    assert!(failed.meta.errors[0].message.contains("nobody_knows_me"));
    rig.stop(false).await;
}

#[tokio::test]
async fn a_payload_that_does_not_fit_the_job_fails_for_good() {
    let rig = rig(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = rig.push(&[job("sleep", r#"{"ms":"soon"}"#)]).await;
    rig.until("it failed", |s| s.failed == 1).await;
    let failed = rig.get(ids[0]).await;
    assert_eq!((failed.meta.failed, failed.meta.attempts), (Some(FailReason::Final), 1));
    assert!(failed.meta.errors[0].message.contains("expected u64"), "{:?}", failed.meta.errors);
    rig.stop(false).await;
}

#[tokio::test]
async fn a_channel_for_the_next_job_runs_one_and_ends() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.scope = Scope::Next;
    options.store.push(&[job("noop", "{}"), job("noop", "{}")]).await.unwrap();
    let rig = rig(options).await;
    let store = std::sync::Arc::clone(&rig.store);
    let stopped = rig.ended().await;
    assert_eq!(stopped.outcome, Some(Outcome::Done));
    let status = store.status().await.unwrap();
    assert_eq!((status.done, status.waiting, status.reserved), (1, 1, 0));
}

#[tokio::test]
async fn a_channel_for_one_job_runs_it_wherever_it_is() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    let pushed = options.store.push(&[job("noop", "{}"), job("noop", "{}")]).await.unwrap();
    options.scope = Scope::Only(pushed[1].id());
    let rig = rig(options).await;
    let store = std::sync::Arc::clone(&rig.store);
    let stopped = rig.ended().await;
    assert_eq!((stopped.job, stopped.outcome), (Some(pushed[1].id()), Some(Outcome::Done)));
    let left = store.list(JobState::Waiting, None, 10).await.unwrap();
    assert_eq!(left.jobs.iter().map(|j| j.id).collect::<Vec<_>>(), [pushed[0].id()]);
}

#[tokio::test]
async fn a_channel_for_the_next_job_ends_when_there_is_none() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.scope = Scope::Next;
    let stopped = rig(options).await.ended().await;
    assert_eq!((stopped.outcome, stopped.settled), (None, true));
}
