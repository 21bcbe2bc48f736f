//! A channel whose store fails: no job is lost, no job runs twice without need, work resumes without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aint_queue::engine::channel::Scope;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::Timestamp;
use aint_queue::store::model::Model;
use aint_queue::store::{Clear, Reap, Store};

use crate::faulty_store::{Fault, FaultyStore};
use crate::fixture::{Options, WAIT_DEADLINE, job, start_channel, until_async};

fn model() -> Model {
    Model::ticking(Timestamp(1_790_000_000_000_000))
}

fn options(plan: Plan, store: Arc<dyn Store>) -> Options {
    Options { store, ..Options::new(plan) }
}

/// A program that writes a line per run to a file.
fn counting_program(dir: &tempfile::TempDir) -> (String, std::path::PathBuf) {
    let file = dir.path().join("runs");
    (format!("echo \"$(cat)\" >> '{}'", file.display()), file)
}

/// Makes `fault` happen to every `n`-th turn.
fn every(n: usize, fault: Fault) -> impl FnMut(&str) -> Fault + Send {
    let mut turns = 0;
    move |call| {
        turns += usize::from(call == "turn");
        if call == "turn" && turns % n == 0 { fault } else { Fault::None }
    }
}

#[tokio::test]
async fn lost_replies_run_every_job_once() {
    for fault in [Fault::ReplyLost, Fault::Lost] {
        let dir = tempfile::tempdir().unwrap();
        let (script, file) = counting_program(&dir);
        let store = FaultyStore::new(model(), every(3, fault));
        let fixture =
            start_channel(options(Plan::process_pool(1, 4, 1), Arc::new(store)).script(&script)).await;
        let jobs: Vec<_> = (0..60).map(|n| job("x", &n.to_string())).collect();
        fixture.push(&jobs).await;
        fixture.until("all jobs to be done", |s| s.done == 60).await;
        let runs = std::fs::read_to_string(&file).unwrap();
        let mut seen: Vec<u32> = runs.lines().map(|line| line.parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..60).collect::<Vec<_>>(), "{fault:?}");
        assert!(fixture.stop(false).await.settled);
    }
}

#[tokio::test]
async fn lost_replies_count_failures_once() {
    let store = FaultyStore::new(model(), every(2, Fault::ReplyLost));
    let fixture = start_channel(options(Plan::coroutine(20, 0), Arc::new(store))).await;
    let ids = fixture.push(&vec![job("fail", "{}"); 30]).await;
    fixture.until("all jobs to fail", |s| s.failed == 30).await;
    for id in ids {
        let meta = fixture.get(id).await.meta;
        assert_eq!((meta.attempts, meta.errors.len()), (3, 3), "job {id}");
    }
    fixture.stop(false).await;
}

#[tokio::test]
async fn work_resumes_after_an_outage() {
    let down = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let (is_down, count) = (Arc::clone(&down), Arc::clone(&calls));
    let store = FaultyStore::new(model(), move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        if is_down.load(Ordering::Relaxed) { Fault::Lost } else { Fault::None }
    });
    let fixture = start_channel(options(Plan::process_pool(2, 2, 0), Arc::new(store))).await;
    fixture.push(&vec![job("noop", "{}"); 20]).await;
    fixture.until("the first jobs to be done", |s| s.done == 20).await;

    down.store(true, Ordering::Relaxed);
    fixture.push(&vec![job("noop", "{}"); 20]).await;
    fixture.until_status("the outage to be reported", |status| status.store_error.is_some()).await;
    // Without a pause between them, eight failed calls and waits would take no time. The shortest pauses of the calls are
    // 50, 100, 200 and 400 ms, those of the waits 1 s.
    calls.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    until_async("eight calls to fail", async || calls.load(Ordering::Relaxed) >= 8).await;
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());

    down.store(false, Ordering::Relaxed);
    fixture.until("the other jobs to be done", |s| s.done == 40).await;
    assert_eq!(fixture.report().await.store_error, None);
    fixture.stop(false).await;
}

#[tokio::test]
async fn lost_lease_kills_runs_and_new_owner_reruns_them() {
    let store = FaultyStore::new(model(), |_| Fault::None);
    let model = Arc::clone(&store.model);
    let fixture = start_channel(options(Plan::process_pool(2, 2, 0), Arc::new(store))).await;
    let ids = fixture.push(&[job("sleep", r#"{"ms":60000}"#)]).await;
    fixture.until("the job to run", |s| s.reserved == 1).await;
    let running = fixture.report().await;
    assert_eq!(running.running, 1);
    let owner = model.owners().pop().expect("the channel is an owner");
    model.reap(Reap::Owner(&owner)).await.unwrap();
    // The next turn reports the lost lease; a push causes one.
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until("the other job to be done", |s| s.done == 1).await;
    fixture.until("the job to run again", |s| s.reserved == 1).await;
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.lost, meta.attempts), (1, 0));
    let now = fixture.report().await;
    assert!(running.pids.iter().all(|pid| !now.pids.contains(pid)), "the old workers were killed");
    fixture.stop(true).await;
}

#[tokio::test]
async fn cleared_reserved_job_is_ended_and_not_settled() {
    let fixture = start_channel(Options::new(Plan::coroutine(2, 0))).await;
    fixture.push(&[job("sleep", r#"{"ms":60000}"#)]).await;
    fixture.until("the job to run", |s| s.reserved == 1).await;
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    // The next turns find that the store counts fewer held jobs.
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until_status("the run to be ended", |status| status.running == 0).await;
    let status = fixture.until("the next job to be done", |s| s.done == 1).await;
    assert_eq!((status.cleared, status.reserved, status.failed), (1, 0, 0));
    fixture.stop(true).await;
}

#[tokio::test]
async fn idle_channel_resumes_after_an_outage() {
    let down = Arc::new(AtomicBool::new(true));
    let waits = Arc::new(AtomicUsize::new(0));
    let (is_down, count) = (Arc::clone(&down), Arc::clone(&waits));
    let store = FaultyStore::new(model(), move |call| {
        let fails = call == "wait" && is_down.load(Ordering::Relaxed);
        count.fetch_add(usize::from(fails), Ordering::Relaxed);
        if fails { Fault::Lost } else { Fault::None }
    });
    let mut options = options(Plan::process_pool(1, 1, 0), Arc::new(store));
    // A channel that slept through its whole wait would outlast the test.
    options.sleep = 10 * WAIT_DEADLINE;
    let fixture = start_channel(options).await;
    until_async("a wait for work to fail", async || waits.load(Ordering::Relaxed) > 0).await;
    down.store(false, Ordering::Relaxed);
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until("the job to be done", |s| s.done == 1).await;
    fixture.stop(false).await;
}

#[tokio::test]
async fn single_job_channel_runs_one_despite_lost_reply() {
    for scope in ["next", "only"] {
        let (mut turns, mut takes) = (0, 0);
        let store = FaultyStore::new(model(), move |call| {
            turns += usize::from(call == "turn");
            takes += usize::from(call == "take");
            // The first turn reads the store's clock, the second one leases.
            let leases = (call == "turn" && turns == 2 && scope == "next") || (call == "take" && takes == 1);
            if leases { Fault::ReplyLost } else { Fault::None }
        });
        let pushed = store.push(&vec![job("fail", "{}"); 3]).await.unwrap();
        let id = pushed[0].id();
        let mut options = options(Plan::process_pool(1, 1, 0), Arc::new(store));
        options.scope = if scope == "next" { Scope::Next } else { Scope::Only(id) };
        let fixture = start_channel(options).await;
        let store = Arc::clone(&fixture.store);
        let stopped = fixture.ended().await;
        assert_eq!(stopped.job, Some(id), "{scope}");
        let status = store.status().await.unwrap();
        assert_eq!((status.waiting, status.delayed), (2, 1), "{scope}");
        let errors = store.get(id).await.unwrap().unwrap().meta.errors;
        assert!(errors[0].at >= Timestamp(1_790_000_000_000_000), "{scope}: {errors:?}");
    }
}
