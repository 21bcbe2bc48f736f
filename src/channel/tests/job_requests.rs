//! Locks and pushes of running jobs.

use super::*;

#[tokio::test(start_paused = true)]
async fn lock_is_released_by_the_turn_after_its_run() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(2).await;
    let claim = LimitClaim::Lock { key: "k".to_owned(), limit: 1 };
    worker.frame(FromWorker::Claim { run: 1, ask: 7, claim });
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Answer(7)]);

    // Another owner gets the lock only after the run.
    let other = fixture.store.model.join().await.unwrap();
    fixture.store.model.take(&other, 1, ids[1]).await.unwrap().expect("the job is waiting");
    let claims = [Claim { id: ids[1], key: "k".to_owned(), kind: ClaimKind::Lock { limit: 1 } }];
    let decision = fixture.store.model.claim(&other, &claims).await.unwrap();
    assert!(matches!(decision[..], [LimitDecision::Wait(_)]), "{decision:?}");
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.store.model.claim(&other, &claims).await.unwrap(), [LimitDecision::Granted]);
}

#[tokio::test(start_paused = true)]
async fn jobs_pushed_by_a_run_wait_in_its_channel() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    let jobs = vec![r#"{"job":"demo"}"#.to_owned()];
    worker.frame(FromWorker::Push { run: 1, ask: 1, channel: Some("demo".to_owned()), jobs: jobs.clone() });
    // There is no access to other channels: the request is refused, and adds no job.
    worker.frame(FromWorker::Push { run: 1, ask: 2, channel: Some("other".to_owned()), jobs });
    fixture.settle().await;
    let mut frames = worker.frames();
    frames.sort_by_key(|frame| format!("{frame:?}"));
    assert_eq!(frames, [ScriptedFrame::Answer(1), ScriptedFrame::Answer(2), ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (1, 1, 0));
}
