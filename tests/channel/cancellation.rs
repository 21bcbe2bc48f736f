//! Cancels of held jobs: each has one result, which is sent when the store has recorded it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aint_queue::engine::channel::{CancelMethod, Command, HeldCancel};
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{FailReason, JobId, Timestamp};
use aint_queue::store::model::Model;
use aint_queue::store::{Clear, JobState};
use tokio::sync::oneshot;

use crate::faulty_store::{Fault, FaultyStore};
use crate::fixture::{Fixture, Options, WAIT_DEADLINE, job, random, start_channel, until_async};

const LONG_JOB: &str = r#"{"ms":60000}"#;

/// Cancels a job; the returned receiver gets the result.
async fn cancel(fixture: &Fixture, id: JobId) -> oneshot::Receiver<HeldCancel> {
    let (reply, end) = oneshot::channel();
    fixture.commands.send(Command::Cancel(id, reply)).await.unwrap();
    end
}

async fn answer(end: oneshot::Receiver<HeldCancel>) -> HeldCancel {
    tokio::time::timeout(WAIT_DEADLINE, end)
        .await
        .expect("a result arrives")
        .expect("the channel sends the result")
}

async fn running(fixture: &Fixture, jobs: usize) {
    fixture.until_status("the jobs to run", |status| status.running >= jobs).await;
}

fn is_cancelled(end: HeldCancel, by: CancelMethod) -> bool {
    matches!(end, HeldCancel::Cancelled { how, reason: FailReason::Cancelled, .. } if how == by)
}

#[tokio::test]
async fn only_the_unstarted_job_is_cancelled_at_once() {
    // Suspects wait for one of a few workers without other jobs.
    let fixture = start_channel(Options::new(Plan::coroutine(10, 0))).await;
    let mut suspect = job("hang", LONG_JOB);
    suspect.meta.suspect = true;
    fixture.push(&vec![suspect; 10]).await;
    let (ready, started) = until_async("some jobs to run and some to be ready", async || {
        let report = fixture.report().await;
        let started: Vec<_> = report.pool.rows.iter().filter_map(|row| Some(row.job.as_ref()?.id)).collect();
        let found = report.ready > 0 && report.running > 0 && started.len() == report.running;
        if found { Ok((report.ready, started)) } else { Err(report) }
    })
    .await;
    let held = fixture.store.list(JobState::Reserved, None, 500).await.unwrap().jobs;
    let waits = held.iter().map(|job| job.id).find(|id| !started.contains(id)).expect("a ready job");
    assert!(is_cancelled(answer(cancel(&fixture, waits).await).await, CancelMethod::NotBegun));
    let meta = fixture.get(waits).await.meta;
    assert_eq!((meta.failed, meta.attempts), (Some(FailReason::Cancelled), 0));
    let report = fixture.report().await;
    assert_eq!((report.running, report.ready), (started.len(), ready - 1));
    assert_eq!(answer(cancel(&fixture, waits).await).await, HeldCancel::NotHeld);
    fixture.stop(true).await;
}

#[tokio::test]
async fn cancel_race_has_one_outcome_and_reports_it() {
    let fixture = start_channel(Options::new(Plan::coroutine(64, 0))).await;
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until("the worker to serve", |s| s.done == 1).await;
    let mut random = random::seeded("cancel_race_has_one_outcome_and_reports_it");
    let mut ends = Vec::new();
    for _ in 0..8 {
        // A handler that is asked to end and is dropped has a part of the grace to end by itself.
        let lengths: Vec<_> = (0..50).map(|_| random.u64(..160)).collect();
        let jobs: Vec<_> = lengths.iter().map(|ms| job("sleep", &format!(r#"{{"ms":{ms}}}"#))).collect();
        let ids = fixture.push(&jobs).await;
        // A random moment: the race between the end of a job and its cancel is the subject.
        tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
        for id in ids {
            ends.push((id, cancel(&fixture, id).await));
        }
    }
    let status = fixture.until("all jobs to end", |s| s.done + s.failed == 401).await;
    let (mut cancelled, mut done) = (0, 0);
    for (id, end) in ends {
        let left = fixture.store.get(id).await.unwrap();
        match answer(end).await {
            HeldCancel::Cancelled { reason, .. } => {
                cancelled += 1;
                let job = left.expect("a failed job is kept");
                assert_eq!(
                    (job.state, job.meta.failed, reason),
                    (JobState::Failed, Some(reason), FailReason::Cancelled)
                );
                assert_eq!(job.meta.attempts, 0);
            }
            HeldCancel::Done => {
                done += 1;
                assert_eq!(left, None, "a job that is done leaves no record");
            }
            HeldCancel::NotHeld => {
                assert_eq!(left, None, "the job was done before the cancel, or was leased after it")
            }
            other => panic!("{id} ended as {other:?}"),
        }
    }
    assert_eq!((status.failed, status.reserved), (cancelled, 0));
    assert!(
        cancelled > 0 && done > 0,
        "{done} of 400 jobs were done before the cancel, {cancelled} were cancelled"
    );
    fixture.stop(false).await;
}

#[tokio::test]
async fn repeated_cancels_share_one_outcome_and_grace() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("hang", LONG_JOB)]).await;
    running(&fixture, 1).await;
    let mut first = cancel(&fixture, ids[0]).await;
    let mut others = Vec::new();
    // The grace is 250 ms. If each cancel restarted the grace, it would never end.
    let first = loop {
        others.push(cancel(&fixture, ids[0]).await);
        match tokio::time::timeout(Duration::from_millis(100), &mut first).await {
            Ok(end) => break end.expect("the channel sends the result"),
            Err(_) => assert!(others.len() < 100, "the job is never killed"),
        }
    };
    assert!(is_cancelled(first, CancelMethod::Killed), "{first:?}");
    for other in others {
        assert_eq!(answer(other).await, first);
    }
    fixture.stop(false).await;
}

#[tokio::test]
async fn siblings_of_cancelled_job_finish() {
    let fixture = start_channel(Options::new(Plan::coroutine(8, 0))).await;
    let mut jobs = vec![job("sleep", r#"{"ms":1200}"#); 5];
    jobs.push(job("hang", LONG_JOB));
    let ids = fixture.push(&jobs).await;
    running(&fixture, 6).await;
    let end = answer(cancel(&fixture, ids[5]).await).await;
    assert!(is_cancelled(end, CancelMethod::Killed), "{end:?}");
    let status = fixture.store.status().await.unwrap();
    assert_eq!((status.done, status.failed), (5, 1));
    assert_eq!(fixture.report().await.workers.stuck_slots, 0);
    fixture.stop(false).await;
}

#[tokio::test]
async fn job_cancelled_during_stop_is_not_released() {
    for (name, by) in [("sleep", CancelMethod::Asked), ("hang", CancelMethod::Killed)] {
        let mut options = Options::new(Plan::process_pool(2, 2, 0));
        options.stop_wait = WAIT_DEADLINE;
        let fixture = start_channel(options).await;
        let ids = fixture.push(&[job(name, LONG_JOB), job("sleep", r#"{"ms":100}"#)]).await;
        running(&fixture, 2).await;
        fixture.commands.send(Command::Stop { force: false }).await.unwrap();
        let end = answer(cancel(&fixture, ids[0]).await).await;
        assert!(is_cancelled(end, by), "{end:?}");
        let store = Arc::clone(&fixture.store);
        let stopped = fixture.ended().await;
        let status = store.status().await.unwrap();
        assert_eq!((stopped.handed_back, stopped.settled), (0, true));
        assert_eq!((status.failed, status.done, status.waiting), (1, 1, 0));
    }
}

#[tokio::test]
async fn killing_stop_does_not_undo_a_cancel() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("hang", LONG_JOB)]).await;
    running(&fixture, 1).await;
    let end = cancel(&fixture, ids[0]).await;
    let store = Arc::clone(&fixture.store);
    let stopped = fixture.stop(true).await;
    let end = answer(end).await;
    assert!(is_cancelled(end, CancelMethod::Killed), "{end:?}");
    assert_eq!(stopped.handed_back, 0);
    assert_eq!(store.get(ids[0]).await.unwrap().unwrap().meta.failed, Some(FailReason::Cancelled));
}

#[tokio::test]
async fn cancel_response_waits_for_store_despite_lost_reply() {
    for fault in [Fault::Lost, Fault::ReplyLost] {
        let (down, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_down, met) = (Arc::clone(&down), Arc::clone(&faults));
        let store = FaultyStore::new(Model::ticking(Timestamp(1_790_000_000_000_000)), move |call| {
            let fails = is_down.load(Ordering::Relaxed) && call != "wait";
            // Only the first call is applied and loses its reply; the later ones do not reach the store.
            let first = fails && !met.swap(true, Ordering::Relaxed);
            if first {
                fault
            } else if fails {
                Fault::Lost
            } else {
                Fault::None
            }
        });
        let fixture =
            start_channel(Options { store: Arc::new(store), ..Options::new(Plan::process_pool(1, 1, 0)) })
                .await;
        let ids = fixture.push(&[job("sleep", LONG_JOB)]).await;
        running(&fixture, 1).await;
        down.store(true, Ordering::Relaxed);
        let mut end = cancel(&fixture, ids[0]).await;
        until_async("the run to end and the settlement to fail", async || {
            fixture.report().await.running == 0 && faults.load(Ordering::Relaxed)
        })
        .await;
        assert!(end.try_recv().is_err(), "{fault:?}: no result before the store has recorded the end");
        down.store(false, Ordering::Relaxed);
        let end = answer(end).await;
        assert!(is_cancelled(end, CancelMethod::Asked), "{fault:?}: {end:?}");
        let meta = fixture.get(ids[0]).await.meta;
        assert_eq!((meta.failed, meta.errors.len()), (Some(FailReason::Cancelled), 1), "{fault:?}");
        fixture.stop(false).await;
    }
}

#[tokio::test]
async fn job_cleared_during_cancel_is_reported_missing() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("hang", LONG_JOB)]).await;
    running(&fixture, 1).await;
    let end = cancel(&fixture, ids[0]).await;
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    assert_eq!(answer(end).await, HeldCancel::Gone);
    fixture.stop(false).await;
}

#[tokio::test]
async fn cancel_beside_other_jobs_leaves_no_suspects() {
    // One signal kills the worker with both jobs, the cancelled one and its sibling.
    let fixture = start_channel(Options::new(Plan::coroutine(4, 0))).await;
    let ids = fixture.push(&[job("hang", LONG_JOB), job("sleep", r#"{"ms":600}"#)]).await;
    running(&fixture, 2).await;
    let end = cancel(&fixture, ids[0]).await;
    let pid = fixture.report().await.pids[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let end = answer(end).await;
    assert!(matches!(end, HeldCancel::Cancelled { .. }), "{end:?}");
    fixture.until("the sibling to run again", |s| s.done == 1).await;
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.crashes, meta.suspect), (0, false));
    fixture.stop(false).await;
}
