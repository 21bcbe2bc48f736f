//! A quiet channel, a paused one, and how both go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aint_queue::channel::{Command, QuietReply};
use aint_queue::job::{NewJob, Timestamp, UniqueUntil};
use aint_queue::pool::plan::{Plan, Scaling};
use aint_queue::store::JobState;
use aint_queue::store::model::Model;
use tokio::sync::oneshot;

use crate::faulty::{Fault, Faulty};
use crate::rig::{Options, PATIENCE, Rig, job, rig};

const MS: Duration = Duration::from_millis(1);

async fn quiet(rig: &Rig) -> QuietReply {
    let (reply, answer) = oneshot::channel();
    rig.commands.send(Command::Quiet(reply)).await.unwrap();
    answer.await.unwrap()
}

async fn resume(rig: &Rig) -> bool {
    let (reply, answer) = oneshot::channel();
    rig.commands.send(Command::Resume(reply)).await.unwrap();
    answer.await.unwrap()
}

fn sleeps(n: usize, ms: u64) -> Vec<NewJob> {
    vec![job("sleep", &format!(r#"{{"ms":{ms}}}"#)); n]
}

#[tokio::test]
async fn what_runs_ends_and_nothing_new_begins_until_it_is_resumed() {
    for plan in [Plan::process_pool(2, 2, 0), Plan::coroutine(2, 0), Plan::PROCESS] {
        let rig = rig(Options::new(plan)).await;
        rig.push(&sleeps(6, 150)).await;
        let running = if plan == Plan::PROCESS { 1 } else { 2 };
        rig.until("some to run", |s| s.reserved == running).await;
        while rig.report().await.running < running as usize {}
        let said = quiet(&rig).await;
        assert_eq!((said.was_quiet, said.running), (false, running as usize), "{plan:?}");
        assert!(rig.report().await.quiet);
        let ended = rig.until("those to end", |s| s.done == running && s.reserved == 0).await;
        assert_eq!(ended.waiting, 6 - running);
        assert!(quiet(&rig).await.was_quiet);
        // New ones are as welcome to others as the old ones, and to us again when we are told.
        rig.push(&sleeps(1, 1)).await;
        let report = rig.report().await;
        assert_eq!((report.running, report.ready), (0, 0));
        assert_eq!(rig.store.status().await.unwrap().done, running);
        assert!(resume(&rig).await && !resume(&rig).await);
        rig.until("all to be done", |s| s.done == 7).await;
        assert!(!rig.report().await.quiet);
        assert!(rig.stop(false).await.settled);
    }
}

#[tokio::test]
async fn what_is_leased_by_a_call_under_way_goes_back_to_the_front_uncounted() {
    // 0: as usual. 1: the next turn is held up. 2: it is under way. 3: the one after it has begun.
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
        let since = Instant::now();
        while step.load(Ordering::SeqCst) < wanted {
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(MS).await;
        }
    };
    let store = Arc::new(Faulty::new(Model::ticking(Timestamp(1_790_000_000_000_000)), plan));
    let rig = rig(Options { store, ..Options::new(Plan::process_pool(2, 2, 0)) }).await;
    rig.push(&sleeps(1, 1)).await;
    rig.until("it to serve", |s| s.done == 1).await;
    step.store(1, Ordering::SeqCst);
    let mut jobs = sleeps(2, 1);
    (jobs[1].meta.unique, jobs[1].meta.unique_until) = (Some("k".into()), UniqueUntil::Start);
    let first = rig.push(&jobs).await;
    // The turn that will lease both is on its way.
    reached(2).await;
    quiet(&rig).await;
    let last = rig.push(&sleeps(1, 1)).await;
    reached(3).await;
    rig.until("them to be back", |s| (s.waiting, s.reserved) == (3, 0)).await;
    let waiting = rig.store.list(JobState::Waiting, None, 10).await.unwrap().jobs;
    assert_eq!(waiting.iter().map(|job| job.id).collect::<Vec<_>>(), [&first[..], &last].concat());
    assert!(waiting.iter().all(|job| job.meta.attempts == 0 && job.meta.lost == 0));
    assert_eq!(rig.store.holder("k").await.unwrap(), Some(first[1]), "it has not started");
    resume(&rig).await;
    rig.until("all to be done", |s| s.done == 4).await;
    rig.stop(false).await;
}

#[tokio::test]
async fn it_may_begin_quiet_and_be_stopped_so() {
    let rig = rig(Options { quiet: true, ..Options::new(Plan::process_pool(1, 2, 0)) }).await;
    rig.push(&sleeps(2, 1)).await;
    let begun = Instant::now();
    while rig.report().await.workers.idle == 0 {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(rig.store.status().await.unwrap().waiting, 2, "a worker is free, and nothing is taken");
    let (store, begun) = (Arc::clone(&rig.store), Instant::now());
    let stopped = rig.stop(false).await;
    assert!(stopped.quiet && stopped.settled && stopped.handed_back == 0);
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(store.status().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn a_backlog_keeps_no_workers_of_a_quiet_channel_and_brings_them_back_after() {
    let scaling =
        Scaling { target_wait: 100 * MS, flex_interval: 20 * MS, cool_down: 200 * MS, ..Scaling::default() };
    let rig = rig(Options { scaling, ..Options::new(Plan::process_pool(1, 4, 0)) }).await;
    rig.push(&sleeps(400, 20)).await;
    rig.until("some to be done", |s| s.done > 20).await;
    while rig.report().await.pool.target != Some(4) {}
    quiet(&rig).await;
    let begun = Instant::now();
    while rig.report().await.workers.idle != 1 || rig.report().await.pids.len() != 1 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", rig.report().await);
        tokio::time::sleep(5 * MS).await;
    }
    assert!(rig.store.status().await.unwrap().waiting > 100);
    resume(&rig).await;
    while rig.report().await.pool.target != Some(4) {}
    rig.stop(true).await;
}

#[tokio::test]
async fn a_pause_ends_by_itself_and_wakes_a_channel_that_would_sleep_for_long() {
    let rig = rig(Options { sleep: PATIENCE, ..Options::new(Plan::process_pool(1, 1, 0)) }).await;
    rig.push(&sleeps(1, 1)).await;
    rig.until("it to serve", |s| s.done == 1).await;
    let begun = Instant::now();
    rig.store.pause(Some(300 * MS)).await.unwrap();
    rig.push(&sleeps(3, 1)).await;
    rig.until("all to be done", |s| s.done == 4).await;
    assert!((300..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());

    // An end that is put earlier is heard of, too.
    let begun = Instant::now();
    rig.store.pause(Some(Duration::from_secs(3600))).await.unwrap();
    rig.push(&sleeps(3, 1)).await;
    assert_eq!(rig.store.status().await.unwrap().waiting, 3);
    rig.store.pause(Some(200 * MS)).await.unwrap();
    rig.until("all to be done", |s| s.done == 7).await;
    assert!((200..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    rig.stop(false).await;
}
