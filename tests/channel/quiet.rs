//! Quiet channels and paused channels, and how both resume.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aint_queue::engine::channel::{Command, QuietReply};
use aint_queue::engine::pool::plan::{Plan, Scaling};
use aint_queue::job::{NewJob, Timestamp, UniqueUntil};
use aint_queue::store::JobState;
use aint_queue::store::model::Model;
use tokio::sync::oneshot;

use crate::faulty_store::{Fault, FaultyStore};
use crate::fixture::{Fixture, Options, WAIT_DEADLINE, job, start_channel, until_async};

const MS: Duration = Duration::from_millis(1);

async fn quiet(fixture: &Fixture) -> QuietReply {
    let (reply, answer) = oneshot::channel();
    fixture.commands.send(Command::Quiet(reply)).await.unwrap();
    answer.await.unwrap()
}

async fn resume(fixture: &Fixture) -> bool {
    let (reply, answer) = oneshot::channel();
    fixture.commands.send(Command::Resume(reply)).await.unwrap();
    answer.await.unwrap()
}

fn sleeps(n: usize, ms: u64) -> Vec<NewJob> {
    vec![job("sleep", &format!(r#"{{"ms":{ms}}}"#)); n]
}

#[tokio::test]
async fn quiet_lets_runs_end_and_starts_none_until_resume() {
    for plan in [Plan::process_pool(2, 2, 0), Plan::coroutine(2, 0), Plan::PROCESS] {
        let fixture = start_channel(Options::new(plan)).await;
        fixture.push(&sleeps(6, 500)).await;
        let running = if plan == Plan::PROCESS { 1 } else { 2 };
        fixture.until("jobs to be leased", |s| s.reserved == running).await;
        fixture.until_status("the jobs to run", |status| status.running == running as usize).await;
        let said = quiet(&fixture).await;
        assert_eq!((said.was_quiet, said.running), (false, running as usize), "{plan:?}");
        assert!(fixture.report().await.quiet);
        let ended = fixture.until("the running jobs to end", |s| s.done == running && s.reserved == 0).await;
        assert_eq!(ended.waiting, 6 - running);
        assert!(quiet(&fixture).await.was_quiet);
        // A quiet channel ignores new jobs as well.
        fixture.push(&sleeps(1, 1)).await;
        let report = fixture.report().await;
        assert_eq!((report.running, report.ready), (0, 0));
        assert_eq!(fixture.store.status().await.unwrap().done, running);
        assert!(resume(&fixture).await && !resume(&fixture).await);
        fixture.until("all jobs to be done", |s| s.done == 7).await;
        assert!(!fixture.report().await.quiet);
        assert!(fixture.stop(false).await.settled);
    }
}

#[tokio::test]
async fn quiet_returns_in_flight_lease_to_the_front() {
    // 0: no fault. 1: the next turn is to be slow. 2: the slow turn is under way. 3: the turn after it has started.
    let step = Arc::new(AtomicUsize::new(0));
    let plan = {
        let step = Arc::clone(&step);
        move |call: &str| match (call, step.load(Ordering::SeqCst)) {
            ("turn", at @ (1 | 2)) => {
                step.store(at + 1, Ordering::SeqCst);
                if at == 1 { Fault::Slow(300 * MS) } else { Fault::None }
            }
            _ => Fault::None,
        }
    };
    let reached = async |wanted: usize| {
        until_async("the next turn", async || step.load(Ordering::SeqCst) >= wanted).await;
    };
    let store = Arc::new(FaultyStore::new(Model::ticking(Timestamp(1_790_000_000_000_000)), plan));
    let fixture = start_channel(Options { store, ..Options::new(Plan::process_pool(2, 2, 0)) }).await;
    fixture.push(&sleeps(1, 1)).await;
    fixture.until("the worker to serve", |s| s.done == 1).await;
    step.store(1, Ordering::SeqCst);
    let mut jobs = sleeps(2, 1);
    (jobs[1].meta.unique, jobs[1].meta.unique_until) = (Some("k".into()), UniqueUntil::Start);
    let first = fixture.push(&jobs).await;
    // The slow turn is going to lease both jobs.
    reached(2).await;
    quiet(&fixture).await;
    let last = fixture.push(&sleeps(1, 1)).await;
    reached(3).await;
    fixture.until("the jobs to be returned", |s| (s.waiting, s.reserved) == (3, 0)).await;
    let waiting = fixture.store.list(JobState::Waiting, None, 10).await.unwrap().jobs;
    assert_eq!(waiting.iter().map(|job| job.id).collect::<Vec<_>>(), [&first[..], &last].concat());
    assert!(waiting.iter().all(|job| job.meta.attempts == 0 && job.meta.lost == 0));
    assert_eq!(fixture.store.holder("k").await.unwrap(), Some(first[1]), "the job has not started");
    resume(&fixture).await;
    fixture.until("all jobs to be done", |s| s.done == 4).await;
    fixture.stop(false).await;
}

#[tokio::test]
async fn channel_starts_and_stops_while_quiet() {
    let fixture = start_channel(Options { quiet: true, ..Options::new(Plan::process_pool(1, 2, 0)) }).await;
    fixture.push(&sleeps(2, 1)).await;
    fixture.until_status("a worker to serve", |status| status.workers.idle > 0).await;
    assert_eq!(fixture.store.status().await.unwrap().waiting, 2, "a worker is free and no job is leased");
    let store = Arc::clone(&fixture.store);
    let stopped = fixture.stop(false).await;
    assert!(stopped.quiet && stopped.settled && stopped.handed_back == 0);
    assert_eq!(store.status().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn quiet_backlog_keeps_no_workers_until_resume() {
    let scaling =
        Scaling { target_wait: 100 * MS, flex_interval: 20 * MS, cool_down: 200 * MS, ..Scaling::default() };
    let fixture = start_channel(Options { scaling, ..Options::new(Plan::process_pool(1, 4, 0)) }).await;
    fixture.push(&sleeps(400, 20)).await;
    fixture.until("some jobs to be done", |s| s.done > 20).await;
    fixture.until_status("the pool to grow", |status| status.pool.target == Some(4)).await;
    quiet(&fixture).await;
    fixture.until_status("one worker", |status| (status.workers.idle, status.pids.len()) == (1, 1)).await;
    assert!(fixture.store.status().await.unwrap().waiting > 100);
    resume(&fixture).await;
    fixture.until_status("the pool to grow again", |status| status.pool.target == Some(4)).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn pause_expiry_wakes_an_idle_channel() {
    let fixture =
        start_channel(Options { sleep: 10 * WAIT_DEADLINE, ..Options::new(Plan::process_pool(1, 1, 0)) })
            .await;
    fixture.push(&sleeps(1, 1)).await;
    fixture.until("the worker to serve", |s| s.done == 1).await;
    let begun = Instant::now();
    fixture.store.pause(Some(300 * MS)).await.unwrap();
    fixture.push(&sleeps(3, 1)).await;
    fixture.until("all jobs to be done", |s| s.done == 4).await;
    assert!(begun.elapsed() >= 300 * MS, "{:?}", begun.elapsed());

    // A pause that is shortened wakes the channel as well.
    let begun = Instant::now();
    fixture.store.pause(Some(Duration::from_secs(3600))).await.unwrap();
    fixture.push(&sleeps(3, 1)).await;
    assert_eq!(fixture.store.status().await.unwrap().waiting, 3);
    fixture.store.pause(Some(200 * MS)).await.unwrap();
    fixture.until("all jobs to be done", |s| s.done == 7).await;
    assert!(begun.elapsed() >= 200 * MS, "{:?}", begun.elapsed());
    fixture.stop(false).await;
}
