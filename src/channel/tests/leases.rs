//! Leases: join, renewal, loss, prefetched jobs, a scope of one job.

use super::*;
use crate::job::JobMeta;

#[tokio::test(start_paused = true)]
async fn job_is_leased_run_and_settled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(2).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (1, 1, 0), "one slot, one job");
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(2)]);
    worker.ended(2, failed());
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (0, 0, 1));
    sleep(SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(3)], "the retry is due");
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_dead_owner_are_returned_first() {
    let mut fixture = Fixture::with(spec(), async |setup| {
        let dead = setup.store.join().await.unwrap();
        let id = setup.store.push(&[job()]).await.unwrap()[0].id();
        setup.store.take(&dead, 1, id).await.unwrap().expect("the job is waiting");
        setup.dead = vec![dead];
    })
    .await;
    let mut worker = fixture.boot().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let owners = fixture.store.model.owners();
    assert_eq!(*fixture.owners.lock().unwrap(), owners, "the dead owner is gone");
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_at_a_third_while_workers_are_busy() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.take_calls();
    let start = Instant::now();
    sleep(65 * SECOND).await;
    let calls = fixture.take_calls();
    assert!(names(&calls).iter().all(|name| *name == "turn"), "{calls:?}");
    let times: Vec<_> = calls.iter().map(|(_, at)| at.duration_since(start).as_secs_f64().round()).collect();
    assert_eq!(times, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    assert_eq!(fixture.store.model.reap(Reap::Expired).await.unwrap(), 0);
    assert_eq!(fixture.counts().await, (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn lost_lease_kills_runs_and_joins_as_a_new_owner() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let owner = fixture.owners.lock().unwrap()[0].clone();
    fixture.store.model.reap(Reap::Owner(&owner)).await.unwrap();
    sleep(11 * SECOND).await;
    assert_eq!(fixture.script.guardian.signals(), [ScriptedSignal::Kill(worker.child)]);
    let owners = fixture.owners.lock().unwrap().clone();
    assert!(owners.len() == 2 && owners[1] != owner, "{owners:?}");

    // The result of the killed worker does not count.
    worker.ended(1, Outcome::Done).exited(Exit::Signal(9), "");
    fixture.settle().await;
    assert_eq!(fixture.counts().await.2, 0);
    sleep(SECOND).await;
    let mut successor = fixture.boot().await;
    assert_eq!(successor.frames(), [ScriptedFrame::Run(2)]);
    let meta = fixture.store.get(ids[0]).await.unwrap().unwrap().meta;
    assert_eq!((meta.lost, meta.attempts), (1, 0));
    successor.ended(2, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn prefetched_jobs_are_returned_after_half_a_second() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|call| if call == "turn" { Fault::Slow(10 * MS) } else { Fault::None });
    fixture.push(400).await;
    // Short jobs: as many are leased ahead as end during a turn.
    for _ in 0..200 {
        sleep(MS).await;
        for frame in worker.frames() {
            let ScriptedFrame::Run(run) = frame else { panic!("{frame:?}") };
            worker.ended(run, Outcome::Done);
        }
    }
    sleep(50 * MS).await;
    let status = fixture.status().await;
    assert!(status.running == 1 && status.ready > 0, "{status:?}");
    // The next job turned out to be long.
    sleep(400 * MS).await;
    assert_eq!(fixture.status().await.ready, status.ready);
    sleep(100 * MS).await;
    let status = fixture.status().await;
    assert_eq!((status.running, status.ready), (1, 0));
    let (waiting, reserved, done) = fixture.counts().await;
    assert_eq!((waiting + done, reserved), (399, 1));
}

#[tokio::test(start_paused = true)]
async fn scoped_channel_runs_one_job_and_ends() {
    let mut fixture = Fixture::with(spec(), async |setup| setup.scope = Scope::Next).await;
    fixture.store.push(&vec![job(); 2]).await.unwrap();
    let mut worker = fixture.boot().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    worker.exited(Exit::Code(0), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.outcome, stopped.settled), (Some(Outcome::Done), true));
    assert_eq!(fixture.store.status().await.unwrap().waiting, 1);
}

/// Twenty jobs in front that may run one at a time only, and one job behind them.
async fn behind_isolated(meta: fn(&mut NewJob)) {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(2, 0), ..spec() }).await;
    let mut worker = fixture.boot().await;
    let mut isolated = job();
    meta(&mut isolated);
    fixture.store.push(&vec![isolated.clone(); 20]).await.unwrap();
    fixture.store.push(&[job()]).await.unwrap();
    fixture.settle().await;
    let frames = worker.frames();
    assert!(matches!(frames[..], [ScriptedFrame::Run(_)]), "the job behind them: {frames:?}");
    let delayed = fixture.store.status().await.unwrap().delayed;
    assert!((8..20).contains(&delayed), "a few are held, {delayed} are put off");

    // The delayed ones return to the back of waiting. While the channel has no place for them it delays them again.
    sleep(60 * SECOND).await;
    let counts = fixture.store.status().await.unwrap();
    assert_eq!((counts.waiting, counts.delayed + counts.reserved, counts.failed), (0, 21, 0));
    for view in fixture.store.list(JobState::Delayed, None, 500).await.unwrap().jobs {
        assert_eq!(view.meta, JobMeta { attempts: 0, ..isolated.meta.clone() }, "unchanged");
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_run_beside_many_suspects() {
    behind_isolated(|job| job.meta.suspect = true).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_run_beside_many_jobs_lost_twice() {
    behind_isolated(|job| job.meta.lost = 2).await;
}
