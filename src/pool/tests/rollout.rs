//! Reloads: the canary, the replacement of workers, the return to the old generation.

use super::*;

#[tokio::test(start_paused = true)]
async fn reload_replaces_workers_after_the_canary() {
    let mut fixture = Fixture::new(elastic(2, 2));
    let mut old = boot_all(&mut fixture).await;
    fixture.dispatch(1);
    fixture.settle().await;
    let next = next_generation(&fixture.pool, elastic(2, 2));
    fixture.pool.reload(next, Instant::now());
    let canary = fixture.started();
    assert_eq!((canary.generation, fixture.pool.status(Instant::now()).generation), (2, 1));
    canary.spawned().hello(1);
    fixture.settle().await;
    let status = fixture.pool.status(Instant::now());
    assert!(status.generation == 2 && status.reload.is_some_and(|reload| reload.proved), "{status:?}");
    assert_eq!(old[1].frames(), [ScriptedFrame::Stop], "the idle worker goes first");
    old[1].exited(Exit::Code(0), "");
    boot_all(&mut fixture).await;
    assert_eq!(old[0].frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.activities()[0], WorkerActivity::Draining);
    assert!(fixture.reloaded.take().is_none());
    old[0].ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(old[0].frames(), [ScriptedFrame::Stop]);
    old[0].exited(Exit::Code(0), "");
    fixture.settle().await;
    let summary = fixture.reloaded.take().unwrap().unwrap();
    assert_eq!((summary.generation, summary.workers.len(), summary.handed_back), (2, 2, 0));
    assert!(summary.workers.iter().all(|pair| pair.old.is_some() && pair.new.is_some()), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn reload_interrupts_jobs_that_outlast_the_stop_wait() {
    let mut fixture = Fixture::new(spec());
    let mut old = fixture.boot().await;
    fixture.pool.dispatch(Run { timeout: None, ..run(1) }, Instant::now());
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    fixture.started().spawned().hello(1);
    fixture.pass(30 * SECOND - GRACE).await;
    assert_eq!(old.frames(), [ScriptedFrame::Run(1)]);
    fixture.pass(2 * GRACE).await;
    assert_eq!(old.frames(), [ScriptedFrame::Cancel(1), ScriptedFrame::Stop]);
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(old.child)]);
    old.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Interrupted)]);
    assert_eq!(fixture.reloaded.take().unwrap().unwrap().handed_back, 1);
}

#[tokio::test(start_paused = true)]
async fn failed_canary_keeps_the_old_generation() {
    let mut fixture = Fixture::new(spec());
    let mut old = fixture.boot().await;
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    fixture.started().spawned().exited(Exit::Code(3), "syntax error");
    fixture.settle().await;
    let error = fixture.reloaded.take().unwrap().unwrap_err();
    let why = "it exited with 3 before it was ready: syntax error".to_owned();
    assert_eq!(error, RolloutError::Failed(why));
    let status = fixture.pool.status(Instant::now());
    assert!(status.generation == 1 && status.reload.is_none() && fixture.capacity() == 1);
    assert_eq!(old.frames(), []);
    assert!(fixture.script.started().is_none(), "the failure delays no boot of the old generation");
}

#[tokio::test(start_paused = true)]
async fn boot_failure_during_replacement_rolls_back() {
    let mut fixture = Fixture::new(elastic(3, 3));
    let mut old = boot_all(&mut fixture).await;
    for number in 1..=3 {
        fixture.dispatch(number);
    }
    let next = next_generation(&fixture.pool, elastic(3, 3));
    fixture.pool.reload(next, Instant::now());
    let mut canary = fixture.started();
    canary.spawned().hello(1);
    fixture.settle().await;
    old[0].ended(1, Outcome::Done);
    fixture.settle().await;
    old[0].exited(Exit::Code(0), "");
    fixture.settle().await;
    let second = fixture.started();
    assert_eq!(second.generation, 2);
    second.spawned().exited(Exit::Code(1), "");
    fixture.settle().await;
    assert!(matches!(fixture.reloaded.take(), Some(Err(RolloutError::Failed(_)))));
    let third = fixture.started();
    assert_eq!((third.generation, fixture.pool.status(Instant::now()).generation), (1, 1));
    third.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(canary.frames(), [ScriptedFrame::Stop], "the worker of the failed generation is replaced");
    for worker in &mut old[1..] {
        assert!(!worker.frames().contains(&ScriptedFrame::Stop), "the old workers stay");
    }
}
