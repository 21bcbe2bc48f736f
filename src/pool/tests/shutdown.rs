//! Ends of workers: the stop ladder, a lost lease, a dead guardian, a closed socket.

use super::*;

#[tokio::test(start_paused = true)]
async fn stop_ladder_waits_interrupts_and_kills() {
    let mut fixture = Fixture::new(coroutine(2));
    let mut worker = fixture.boot().await;
    fixture.pool.dispatch(Run { timeout: None, ..run(1) }, Instant::now());
    fixture.pool.dispatch(Run { timeout: None, ..run(2) }, Instant::now());
    fixture.pool.close(Instant::now());
    fixture.pass(60 * SECOND).await;
    assert_eq!(fixture.capacity(), 0);
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2)], "runs may finish");
    fixture.pool.interrupt(Instant::now());
    fixture.settle().await;
    let frames = worker.frames();
    assert!(
        frames.contains(&ScriptedFrame::Cancel(1)) && frames.ends_with(&[ScriptedFrame::Stop]),
        "{frames:?}"
    );
    let error = Outcome::Failed { error: "cancelled".to_owned(), next: crate::job::RetryDecision::ByPolicy };
    worker.ended(1, error);
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Interrupted)], "not the job's fault");
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::Interrupted)]);
    assert!(fixture.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closed_pool_stops_idle_workers_and_ends_a_reload() {
    let mut fixture = Fixture::new(spec());
    let mut worker = fixture.boot().await;
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    let canary = fixture.started();
    fixture.pool.close(Instant::now());
    fixture.settle().await;
    assert_eq!(fixture.reloaded.take(), Some(Err(RolloutError::Stopping)));
    assert_eq!(worker.frames(), [ScriptedFrame::Stop]);
    assert_eq!(
        kills(&mut fixture.script),
        [ScriptedSignal::Kill(canary.child)],
        "a booting worker is killed"
    );
}

#[tokio::test(start_paused = true)]
async fn lost_lease_drops_runs_and_kills_workers() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.pool.kill_all(true, Instant::now());
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [], "the job belongs to another owner");
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn dead_guardian_loses_runs_without_a_failed_boot() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    worker.abandoned();
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Lost)]);
    assert_eq!(fixture.pool.start_error(Instant::now()), None);
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn frames_from_before_the_death_of_the_guardian_count() {
    let mut fixture = Fixture::new(coroutine(3));
    let worker = fixture.boot().await;
    for number in 1..=3 {
        fixture.dispatch(number);
    }
    fixture.pool.cancel(3, Instant::now());
    worker.ended(1, Outcome::Done).abandoned();
    let ended = fixture.settle().await;
    let mut ended = outcomes(&ended);
    ended.sort_by_key(|(run, _)| *run);
    let cancelled = Outcome::Cancelled { killed: true };
    assert_eq!(ended, [(1, &Outcome::Done), (2, &Outcome::Lost), (3, &cancelled)]);
}

#[tokio::test(start_paused = true)]
async fn runs_ended_for_a_silent_master_are_interrupted() {
    let mut fixture = Fixture::new(coroutine(2));
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.dispatch(2);
    worker.interrupted();
    let ended = fixture.settle().await;
    assert!(ended.len() == 2 && ended.iter().all(|end| end.outcome == Outcome::Interrupted), "{ended:?}");
    assert_eq!(fixture.pool.start_error(Instant::now()), None);
}

#[tokio::test(start_paused = true)]
async fn worker_that_closes_its_socket_and_stays_is_killed() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    worker.hung_up();
    fixture.pass(SECOND - GRACE).await;
    assert_eq!((fixture.capacity(), kills(&mut fixture.script)), (0, vec![]));
    fixture.pass(2 * GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
}

#[tokio::test(start_paused = true)]
async fn kill_by_an_operator_interrupts_other_runs() {
    let mut fixture = Fixture::new(coroutine(2));
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.dispatch(2);
    fixture.settle().await;
    fixture.pool.kill_run(1, Instant::now());
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)], "at once");
    worker.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    let mut ended = outcomes(&ended);
    // The runs of a worker end in any order.
    ended.sort_by_key(|(run, _)| *run);
    assert_eq!(ended, [(1, &Outcome::Cancelled { killed: true }), (2, &Outcome::Interrupted)]);
    assert_eq!(fixture.pool.status(Instant::now()).lifetimes.killed["operator"], 1);
    assert!(!fixture.pool.end_worker(-1, true, Instant::now()), "no such worker");
}
