//! Every mode runs every job once.

use aint_queue::engine::channel::Scope;
use aint_queue::engine::pool::Program;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{FailReason, Outcome};
use aint_queue::store::JobState;

use crate::fixture::{BINARY, Options, job, start_channel};

async fn runs_all(options: Options, jobs: usize) {
    let fixture = start_channel(options).await;
    fixture.push(&vec![job("noop", "{}"); jobs]).await;
    let status = fixture.until("all jobs to be done", |s| s.done == jobs as u64).await;
    assert_eq!((status.waiting, status.reserved, status.failed), (0, 0, 0));
    let stopped = fixture.stop(false).await;
    assert!(stopped.settled);
    assert_eq!(stopped.handed_back, 0);
}

#[tokio::test]
async fn pool_runs_every_job() {
    runs_all(Options::new(Plan::process_pool(3, 5, 0)), 1000).await;
}

#[tokio::test]
async fn multi_slot_worker_runs_every_job() {
    runs_all(Options::new(Plan::coroutine(256, 0)), 5000).await;
}

#[tokio::test]
async fn process_per_job_runs_every_job() {
    runs_all(Options::new(Plan::PROCESS), 40).await;
}

#[tokio::test]
async fn program_per_job_runs_every_job() {
    runs_all(Options::new(Plan::process_pool(1, 4, 0)).script("cat >/dev/null"), 60).await;
}

#[tokio::test]
async fn workers_are_replaced_at_max_handle_number() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let script = format!("echo x >> '{}'; exec {BINARY} __worker --demo-jobs", starts.display());
    let mut options = Options::new(Plan::process_pool(2, 2, 7));
    options.program = Program::Wire(vec!["sh".into(), "-c".into(), script]);
    runs_all(options, 100).await;
    // Fourteen workers run seven jobs each, and two are there at the end.
    let starts = std::fs::read_to_string(starts).unwrap().lines().count();
    assert!((15..=18).contains(&starts), "{starts} starts for 100 jobs, 7 for each worker");
}

#[tokio::test]
async fn slow_jobs_run_concurrently_in_one_worker() {
    let options = Options { max_execute: None, ..Options::new(Plan::coroutine(100, 0)) };
    let fixture = start_channel(options).await;
    fixture.push(&vec![job("sleep", r#"{"ms":600000}"#); 100]).await;
    let status = fixture.until_status("all jobs to run", |status| status.running == 100).await;
    assert_eq!(status.pids.len(), 1);
    fixture.stop(true).await;
}

#[tokio::test]
async fn unknown_job_fails_with_its_reason_alone() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("no_such_job", "{}"), job("noop", "{}")]).await;
    fixture.until("both jobs to end", |s| s.done == 1 && s.failed == 1).await;
    let failed = fixture.get(ids[0]).await;
    assert_eq!(failed.meta.failed, Some(FailReason::UnknownJob));
    assert!(failed.meta.errors[0].message.contains("no_such_job"));
    fixture.stop(false).await;
}

#[tokio::test]
async fn mismatched_payload_fails_permanently() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("sleep", r#"{"ms":"soon"}"#)]).await;
    fixture.until("the job to fail", |s| s.failed == 1).await;
    let failed = fixture.get(ids[0]).await;
    assert_eq!((failed.meta.failed, failed.meta.attempts), (Some(FailReason::Final), 1));
    assert!(failed.meta.errors[0].message.contains("expected u64"), "{:?}", failed.meta.errors);
    fixture.stop(false).await;
}

#[tokio::test]
async fn next_job_scope_runs_one_job_and_ends() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.scope = Scope::Next;
    options.store.push(&[job("noop", "{}"), job("noop", "{}")]).await.unwrap();
    let fixture = start_channel(options).await;
    let store = std::sync::Arc::clone(&fixture.store);
    let stopped = fixture.ended().await;
    assert_eq!(stopped.outcome, Some(Outcome::Done));
    let status = store.status().await.unwrap();
    assert_eq!((status.done, status.waiting, status.reserved), (1, 1, 0));
}

#[tokio::test]
async fn single_job_scope_runs_job_in_any_state() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    let pushed = options.store.push(&[job("noop", "{}"), job("noop", "{}")]).await.unwrap();
    options.scope = Scope::Only(pushed[1].id());
    let fixture = start_channel(options).await;
    let store = std::sync::Arc::clone(&fixture.store);
    let stopped = fixture.ended().await;
    assert_eq!((stopped.job, stopped.outcome), (Some(pushed[1].id()), Some(Outcome::Done)));
    let left = store.list(JobState::Waiting, None, 10).await.unwrap();
    assert_eq!(left.jobs.iter().map(|j| j.id).collect::<Vec<_>>(), [pushed[0].id()]);
}

#[tokio::test]
async fn next_job_scope_ends_on_empty_channel() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.scope = Scope::Next;
    let stopped = start_channel(options).await.ended().await;
    assert_eq!((stopped.outcome, stopped.settled), (None, true));
}
