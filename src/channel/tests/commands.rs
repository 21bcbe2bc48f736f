//! Quiet, cancel, and jobs that a command removed.

use super::*;

#[tokio::test(start_paused = true)]
async fn quiet_channel_leases_nothing_until_it_resumes() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(2, 0), ..spec() }).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let reply = fixture.ask(Command::Quiet).await;
    assert_eq!((reply.was_quiet, reply.running, reply.handed_back), (false, 1, 0));
    fixture.push(2).await;
    fixture.take_calls();
    sleep(25 * SECOND).await;
    assert_eq!(names(&fixture.take_calls()), ["turn", "turn"], "the lease is renewed");
    assert_eq!((worker.frames(), fixture.counts().await), (vec![], (2, 1, 0)));
    assert!(fixture.ask(Command::Quiet).await.was_quiet);
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (2, 0, 1));
    assert!(fixture.ask(Command::Resume).await && !fixture.ask(Command::Resume).await);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(2), ScriptedFrame::Run(3)]);
}

#[tokio::test(start_paused = true)]
async fn jobs_leased_while_quiet_arrives_are_returned_uncounted() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|call| if call == "turn" { Fault::Slow(300 * MS) } else { Fault::None });
    let ids = fixture.push(1).await;
    assert_eq!(fixture.ask(Command::Quiet).await.handed_back, 0);
    sleep(2 * SECOND).await;
    assert_eq!((worker.frames(), fixture.counts().await), (vec![], (1, 0, 0)));
    let meta = fixture.store.get(ids[0]).await.unwrap().unwrap().meta;
    assert_eq!((meta.attempts, meta.lost), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_running_job_is_answered_when_settled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    let (reply, mut answer) = oneshot::channel();
    fixture.commands.send(Command::Cancel(ids[0], reply)).await.unwrap();
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Cancel(1)]);
    fixture.fail(|call| if call == "turn" { Fault::Slow(SECOND) } else { Fault::None });
    sleep(100 * MS).await;
    worker.ended(1, failed());
    sleep(900 * MS).await;
    assert!(answer.try_recv().is_err(), "the store has not recorded the end");
    sleep(SECOND).await;
    let Ok(HeldCancel::Cancelled { how, ms, reason }) = answer.try_recv() else {
        panic!("the job is cancelled")
    };
    assert_eq!((how, reason), (CancelMethod::Asked, FailReason::Cancelled));
    assert!((100..110).contains(&ms), "{ms} ms");
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_ready_job_settles_it_without_a_run() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(8, 0), ..spec() }).await;
    let _worker = fixture.boot().await;
    // More suspects than may run alone at a time: the others stay ready.
    let mut suspect = job();
    suspect.meta.suspect = true;
    fixture.store.push(&vec![suspect; 8]).await.unwrap();
    fixture.settle().await;
    let ready = fixture.status().await.ready;
    assert!(ready > 0, "some wait for a worker without other jobs");
    let reserved = fixture.store.list(JobState::Reserved, None, 100).await.unwrap().jobs;
    let mut waiting = None;
    for job in &reserved {
        let details = fixture.ask(|reply| Command::Details(Some(job.id), reply)).await;
        if details.job == Some(HeldJobStatus::Ready { alone: true }) {
            waiting = Some(job.id);
        }
    }
    let id = waiting.expect("a ready job");
    let result = fixture.ask(|reply| Command::Cancel(id, reply)).await;
    assert!(matches!(result, HeldCancel::Cancelled { how: CancelMethod::NotBegun, .. }), "{result:?}");
    let meta = fixture.store.get(id).await.unwrap().unwrap().meta;
    assert_eq!((meta.failed, meta.attempts), (Some(FailReason::Cancelled), 0));
    assert_eq!(fixture.ask(|reply| Command::Cancel(id, reply)).await, HeldCancel::NotHeld);
}

#[tokio::test(start_paused = true)]
async fn cleared_job_is_found_by_two_recounts_and_cancelled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.take_calls();
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    // The renewal finds the first mismatch, a turn one second later the second.
    sleep(10 * SECOND + SECOND / 2).await;
    assert_eq!((names(&fixture.take_calls()), worker.frames()), (vec!["turn"], vec![]));
    sleep(SECOND).await;
    assert_eq!(names(&fixture.take_calls()), ["turn", "held"]);
    assert_eq!(worker.frames(), [ScriptedFrame::Cancel(1)]);
    worker.ended(1, Outcome::Done);
    sleep(SECOND).await;
    let counts = fixture.store.status().await.unwrap();
    assert_eq!((counts.done, counts.cleared, counts.failed), (0, 1, 0));
}
