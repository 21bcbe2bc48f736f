//! The ladder of a stop.

use super::*;
use crate::job::UniqueUntil;

#[tokio::test(start_paused = true)]
async fn stop_drains_interrupts_kills_and_leaves() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(2).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.stop(false).await;
    fixture.take_calls();
    sleep(STOP_WAIT - SECOND).await;
    assert!(!fixture.task.is_finished());
    assert_eq!(names(&fixture.take_calls()), ["turn", "turn"], "the lease is renewed during the stop wait");
    let left = fixture.ask(Command::Heartbeat).await.stop_left.unwrap();
    assert!((SECOND - 5 * MS..=SECOND).contains(&left), "{left:?}");
    assert!(!worker.frames().contains(&ScriptedFrame::Cancel(1)));
    sleep(SECOND).await;
    assert!(worker.frames().contains(&ScriptedFrame::Cancel(1)), "asked to end after the stop wait");
    sleep(6 * SECOND).await;
    assert!(fixture.script.guardian.signals().contains(&ScriptedSignal::Kill(worker.child)));
    worker.exited(Exit::Signal(9), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.handed_back, stopped.settled, stopped.jobs_settled), (1, true, true));
    assert_eq!(fixture.store.model.owners(), []);
    for id in ids {
        let job = fixture.store.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.meta.attempts), (JobState::Waiting, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn forced_stop_kills_at_once_also_after_a_plain_one() {
    let mut fixture = Fixture::new(spec()).await;
    let worker = fixture.boot().await;
    fixture.push(1).await;
    fixture.stop(false).await;
    assert_eq!(fixture.script.guardian.signals(), []);
    fixture.stop(true).await;
    assert_eq!(fixture.script.guardian.signals(), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.handed_back, stopped.interrupted, stopped.settled), (1, 1, true));
}

#[tokio::test(start_paused = true)]
async fn only_runs_that_began_are_interrupted() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(8, 0), ..spec() }).await;
    let worker = fixture.boot().await;
    fixture.push(1).await;
    // The second job is leased, and starts only when the store has released its key.
    fixture.fail(|call| if call == "turn" { Fault::Slow(SECOND) } else { Fault::None });
    let mut keyed = job();
    (keyed.meta.unique, keyed.meta.unique_until) = (Some("k".to_owned()), UniqueUntil::Start);
    fixture.store.push(&[keyed]).await.unwrap();
    sleep(SECOND + SECOND / 2).await;
    let ChannelStatus { running, ready, .. } = fixture.status().await;
    assert_eq!((running, ready), (1, 1));
    fixture.stop(true).await;
    worker.exited(Exit::Signal(9), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.handed_back, stopped.interrupted), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn stop_without_the_store_gives_up_after_five_seconds() {
    let mut fixture = Fixture::new(spec()).await;
    let worker = fixture.boot().await;
    fixture.push(1).await;
    fixture.fail(|_| Fault::Lost);
    fixture.stop(true).await;
    worker.exited(Exit::Signal(9), "");
    let start = Instant::now();
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.settled, stopped.jobs_settled), (false, false));
    assert_eq!(start.elapsed().as_secs(), 5);
}
