//! Workers of many slots that have run their number of jobs and are held up by the last of them.

use std::time::Instant;

use aint_queue::job::NewJob;
use aint_queue::pool::WorkerActivity;
use aint_queue::pool::plan::{Plan, Recycling, Scaling};

use crate::rig::{Options, PATIENCE, Rig, job, rig};

/// As many jobs as a worker runs.
const LIFE: u64 = 4;

/// Workers with more slots than jobs to run, whose jobs may take any time.
fn options() -> Options {
    let mut options = Options::new(Plan::coroutine(100, LIFE));
    options.max_execute = None;
    options
}

fn noops(n: u64) -> Vec<NewJob> {
    (0..n).map(|_| job("noop", "{}")).collect()
}

/// Has a worker run all its jobs but one, which does not end for this long.
async fn hold_up(rig: &Rig, done: u64, ms: u64) {
    rig.push(&[vec![job("sleep", &format!("{{\"ms\":{ms}}}"))], noops(LIFE - 1)].concat()).await;
    rig.until("the short ones", |s| s.done == done + LIFE - 1).await;
}

/// Longer than any test.
const FOR_EVER: u64 = 600_000;

#[tokio::test]
async fn short_jobs_go_on_while_two_workers_are_held_up_by_long_ones() {
    let rig = rig(options()).await;
    for worker in 0..3 {
        hold_up(&rig, worker * (LIFE - 1), FOR_EVER).await;
    }
    let doing: Vec<_> = rig.report().await.pool.rows.iter().map(|row| row.state).collect();
    let at_last_jobs = doing.iter().filter(|doing| **doing == WorkerActivity::Draining).count();
    assert!(at_last_jobs == 3 && !doing.contains(&WorkerActivity::Busy), "{doing:?}");
    rig.push(&noops(3)).await;
    let counts = rig.until("the last ones", |s| s.done == 3 * (LIFE - 1) + 3).await;
    assert_eq!((counts.reserved, counts.failed), (3, 0), "the long ones go on");
    rig.stop(true).await;
}

#[tokio::test]
async fn workers_that_are_held_up_are_few_and_jobs_wait_for_the_first_of_them() {
    let mut options = options();
    options.stop_wait = std::time::Duration::from_millis(10);
    let rig = rig(options).await;
    for worker in 0..4 {
        hold_up(&rig, worker * (LIFE - 1), if worker == 0 { 3_000 } else { FOR_EVER }).await;
    }
    rig.push(&noops(1)).await;
    let all = 4 * (LIFE - 1) + 2;
    let begun = Instant::now();
    while rig.store.status().await.unwrap().done < all {
        let workers = rig.report().await.pool.rows.len();
        assert!(workers <= 4 && begun.elapsed() < PATIENCE, "{workers} workers");
    }
    let counts = rig.store.status().await.unwrap();
    assert_eq!((counts.reserved, counts.failed), (3, 0), "nobody is interrupted for others");
    rig.stop(true).await;
}

#[tokio::test]
async fn nobody_is_started_for_those_that_are_held_up_beyond_the_memory_of_the_pool() {
    let mut options = options();
    // One worker is there whatever it takes, and no other one fits.
    options.recycling = Recycling { memory_limit: Some(64 << 20), ..Recycling::default() };
    options.scaling = Scaling { memory_limit: Some(1 << 20), ..Scaling::default() };
    let rig = rig(options).await;
    hold_up(&rig, 0, 3_000).await;
    hold_up(&rig, LIFE - 1, FOR_EVER).await;
    rig.push(&noops(1)).await;
    let begun = Instant::now();
    while rig.store.status().await.unwrap().done < 2 * (LIFE - 1) + 2 {
        let workers = rig.report().await.pool.rows.len();
        assert!(workers <= 2 && begun.elapsed() < PATIENCE, "{workers} workers");
    }
    rig.stop(true).await;
}
