//! Lost replies and outages of the store.

use super::*;

#[tokio::test(start_paused = true)]
async fn jobs_of_a_lost_reply_are_fetched_and_run_once() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.take_calls();
    fixture.lose_next_reply();
    fixture.push(1).await;
    sleep(SECOND).await;
    assert_eq!(names(&fixture.take_calls())[..3], ["turn", "held", "fetch"]);
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn settlement_of_a_lost_reply_is_not_repeated() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    fixture.lose_next_reply();
    worker.ended(1, failed());
    fixture.settle().await;
    sleep(SECOND / 2).await;
    let job = fixture.store.get(ids[0]).await.unwrap().unwrap();
    assert_eq!((job.state, job.meta.attempts, job.meta.errors.len()), (JobState::Delayed, 1, 1));
    sleep(SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2)]);
}

#[tokio::test(start_paused = true)]
async fn outage_backs_off_and_work_resumes_within_two_seconds() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|_| Fault::Lost);
    fixture.push(1).await;
    fixture.take_calls();
    sleep(20 * SECOND).await;
    let calls = fixture.take_calls().len();
    assert!((10..=25).contains(&calls), "{calls} calls in 20 s of an outage");
    assert!(fixture.status().await.store_error.is_some());
    assert_eq!(worker.frames(), []);
    fixture.fail(|_| Fault::None);
    sleep(2 * SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.status().await.store_error, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_the_lease_may_be_lost() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(4, 0), ..spec() }).await;
    fixture.settle().await;
    let worker = fixture.script.started().unwrap();
    worker.spawned();
    fixture.fail(|call| if call == "turn" { Fault::Slow(40 * SECOND) } else { Fault::None });
    let mut worker = worker;
    worker.hello(4);
    fixture.settle().await;
    fixture.push(1).await;
    // The slow turn leases after 40 s; the lease counts from its start.
    sleep(41 * SECOND).await;
    assert_eq!(worker.frames(), []);
    fixture.fail(|_| Fault::None);
    sleep(42 * SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
}
