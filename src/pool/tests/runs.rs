//! Ends of runs: time limits, stuck runs, crashes, suspects.

use super::*;

#[tokio::test(start_paused = true)]
async fn timed_out_run_is_cancelled_then_its_worker_killed() {
    let mut fixture = Fixture::new(spec());
    let mut worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.pass(LIMIT - GRACE).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.pass(GRACE).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Cancel(1)]);
    assert_eq!(kills(&mut fixture.script), []);
    fixture.pass(GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    let how = "it did not end when asked, and its worker was killed".to_owned();
    assert_eq!(outcomes(&ended), [(1, &Outcome::TimedOut { limit: LIMIT, how })]);
    assert_eq!(ended[0].took, LIMIT + GRACE);
}

#[tokio::test(start_paused = true)]
async fn stuck_run_lets_its_siblings_finish() {
    let mut fixture = Fixture::new(coroutine(3));
    let mut worker = fixture.boot().await;
    for number in 1..=3 {
        fixture.dispatch(number);
    }
    fixture.pool.cancel(1, Instant::now());
    fixture.pass(GRACE).await;
    assert_eq!(fixture.activities()[0], WorkerActivity::Retiring);
    assert_eq!(fixture.pool.worker_counts().stuck_slots, 1);
    assert_eq!(
        worker.frames(),
        [1, 2, 3].map(ScriptedFrame::Run).into_iter().chain([ScriptedFrame::Cancel(1)]).collect::<Vec<_>>()
    );
    // A replacement boots while the siblings finish.
    let replacement = fixture.started();
    replacement.spawned().hello(3);
    fixture.settle().await;
    assert_eq!(fixture.capacity(), 0, "the runs of the retiring worker count, the stuck one too");
    worker.ended(2, Outcome::Done);
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::Done)]);
    assert_eq!((fixture.capacity(), kills(&mut fixture.script)), (1, vec![]));
    worker.ended(3, Outcome::Done);
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    assert_eq!(outcomes(&ended), [(1, &Outcome::Cancelled { killed: true })]);
}

#[tokio::test(start_paused = true)]
async fn crash_is_counted_only_for_a_run_that_was_alone() {
    let mut fixture = Fixture::new(coroutine(2));
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.dispatch(2);
    worker.exited(Exit::Signal(11), "");
    let mut ended = fixture.settle().await;
    ended.sort_by_key(|end| end.run);
    assert_eq!(outcomes(&ended), [(1, &Outcome::CrashedWithOthers), (2, &Outcome::CrashedWithOthers)]);
    let worker = fixture.boot().await;
    fixture.dispatch(3);
    worker.exited(Exit::Signal(11), "");
    let how = "was killed by SIGSEGV without a result".to_owned();
    assert_eq!(outcomes(&fixture.settle().await), [(3, &Outcome::Crashed { how })]);
}

#[tokio::test(start_paused = true)]
async fn suspect_waits_for_a_worker_of_its_own() {
    let mut fixture = Fixture::new(coroutine(2));
    assert!(!fixture.pool.can_dispatch_alone(Instant::now()), "no handler is known yet");
    fixture.boot().await;
    assert!(fixture.pool.can_dispatch_alone(Instant::now()));
    fixture.pool.dispatch_alone(run(1), Instant::now());
    let mut isolated = fixture.started();
    fixture.pass(SECOND).await;
    assert_eq!(isolated.frames(), [], "frames wait for the hello");
    isolated.spawned().hello(2);
    fixture.settle().await;
    assert_eq!(isolated.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.capacity(), 2, "the worker of the plan is free");
    tokio::time::advance(SECOND).await;
    isolated.ended(1, Outcome::Done);
    let ended = fixture.settle().await;
    assert_eq!((outcomes(&ended), ended[0].took), (vec![(1, &Outcome::Done)], SECOND));
    assert_eq!(isolated.frames(), [ScriptedFrame::Stop], "without a suspect it stops");
}
