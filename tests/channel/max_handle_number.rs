//! Workers with many slots that have taken their last jobs and wait for a long one of them.

use aint_queue::engine::pool::WorkerActivity;
use aint_queue::engine::pool::plan::{Plan, Recycling, Scaling};
use aint_queue::job::NewJob;

use crate::fixture::{Fixture, Options, job, start_channel, until_async};

/// Number of jobs in the life of a worker.
const MAX_HANDLE_NUMBER: u64 = 4;

/// Workers with more slots than jobs in their lives, and jobs without a time limit.
fn options() -> Options {
    let mut options = Options::new(Plan::coroutine(100, MAX_HANDLE_NUMBER));
    options.max_execute = None;
    options
}

fn noops(n: u64) -> Vec<NewJob> {
    (0..n).map(|_| job("noop", "{}")).collect()
}

/// Makes a worker take all jobs of its life: one takes `ms` milliseconds, the others none.
async fn occupy_workers(fixture: &Fixture, done: u64, ms: u64) {
    fixture
        .push(&[vec![job("sleep", &format!("{{\"ms\":{ms}}}"))], noops(MAX_HANDLE_NUMBER - 1)].concat())
        .await;
    fixture.until("the short jobs to be done", |s| s.done == done + MAX_HANDLE_NUMBER - 1).await;
}

/// Duration of a job that outlasts every test.
const BLOCKED_MS: u64 = 600_000;

/// Waits until this many jobs are done; there are never more workers than `most` meanwhile.
async fn until_done_with_at_most(fixture: &Fixture, jobs: u64, most: usize) {
    until_async("the jobs", async || {
        let workers = fixture.report().await.pool.rows.len();
        assert!(workers <= most, "{workers} workers");
        fixture.store.status().await.unwrap().done >= jobs
    })
    .await;
}

#[tokio::test]
async fn short_jobs_run_while_two_workers_are_busy() {
    let fixture = start_channel(options()).await;
    for worker in 0..3 {
        occupy_workers(&fixture, worker * (MAX_HANDLE_NUMBER - 1), BLOCKED_MS).await;
    }
    let doing: Vec<_> = fixture.report().await.pool.rows.iter().map(|row| row.state).collect();
    let at_last_jobs = doing.iter().filter(|doing| **doing == WorkerActivity::Draining).count();
    assert!(at_last_jobs == 3 && !doing.contains(&WorkerActivity::Busy), "{doing:?}");
    fixture.push(&noops(3)).await;
    let counts =
        fixture.until("the last jobs to be done", |s| s.done == 3 * (MAX_HANDLE_NUMBER - 1) + 3).await;
    assert_eq!((counts.reserved, counts.failed), (3, 0), "the long jobs are still running");
    fixture.stop(true).await;
}

#[tokio::test]
async fn blocked_spent_workers_are_bounded() {
    let mut options = options();
    options.stop_wait = std::time::Duration::from_millis(10);
    let fixture = start_channel(options).await;
    for worker in 0..4 {
        occupy_workers(
            &fixture,
            worker * (MAX_HANDLE_NUMBER - 1),
            if worker == 0 { 3_000 } else { BLOCKED_MS },
        )
        .await;
    }
    fixture.push(&noops(1)).await;
    let all = 4 * (MAX_HANDLE_NUMBER - 1) + 2;
    until_done_with_at_most(&fixture, all, 4).await;
    let counts = fixture.store.status().await.unwrap();
    assert_eq!((counts.reserved, counts.failed), (3, 0), "no job is interrupted for another");
    fixture.stop(true).await;
}

#[tokio::test]
async fn spent_workers_are_not_replaced_beyond_pool_memory() {
    let mut options = options();
    // The first worker starts whatever it uses; a second one does not fit.
    options.recycling = Recycling { memory_limit: Some(64 << 20), ..Recycling::default() };
    options.scaling = Scaling { memory_limit: Some(1 << 20), ..Scaling::default() };
    let fixture = start_channel(options).await;
    occupy_workers(&fixture, 0, 3_000).await;
    occupy_workers(&fixture, MAX_HANDLE_NUMBER - 1, BLOCKED_MS).await;
    fixture.push(&noops(1)).await;
    until_done_with_at_most(&fixture, 2 * (MAX_HANDLE_NUMBER - 1) + 2, 2).await;
    fixture.stop(true).await;
}
