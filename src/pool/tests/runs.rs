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

#[tokio::test(start_paused = true)]
async fn damaged_frames_end_runs_and_never_kill_the_worker() {
    let mut fixture = Fixture::new(spec());
    let mut worker = fixture.boot().await;
    let damaged = |line: &str| wire::decode_from_worker(line.as_bytes()).next().unwrap().unwrap();
    for number in 1..=20 {
        fixture.dispatch(number);
        worker.read_frame(damaged(&format!(r#"{{"type":"progress","run":{number},"percent":NaN}}"#)));
        let claim = format!(r#"{{"type":"claim","run":{number},"ask":{number},"lock":"k","limit":-1}}"#);
        worker.read_frame(damaged(&claim));
        fixture.settle().await;
        assert_eq!(worker.frames(), [ScriptedFrame::Run(number), ScriptedFrame::Answer(number)]);
        worker
            .read_frame(damaged(&format!(r#"{{"type":"failed","run":{number},"error":"no","retry":1.5}}"#)));
        let outcome = Outcome::Failed { error: "no".to_owned(), next: RetryDecision::ByPolicy };
        assert_eq!(outcomes(&fixture.settle().await), [(number, &outcome)]);
    }
    assert_eq!((kills(&mut fixture.script), fixture.pool.take_requests().len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn damaged_end_of_another_workers_run_is_a_violation() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    for _ in 0..10 {
        let line = br#"{"type":"failed","run":9,"retry":-1}"#;
        worker.read_frame(wire::decode_from_worker(line).next().unwrap().unwrap());
    }
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
}

#[tokio::test(start_paused = true)]
async fn worker_with_unreadable_hello_fails_its_boot_at_once() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    let worker = fixture.started();
    let line = br#"{"type":"hello","protocol":1,"slots":"4"}"#;
    worker.spawned().violates(wire::decode_from_worker(line).next().unwrap().unwrap_err());
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    let error = fixture.pool.start_error(Instant::now()).expect("the boot has failed");
    assert!(error.contains("its hello cannot be read"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_run_that_may_have_killed_a_guardian_at_a_time() {
    let mut fixture = Fixture::new(coroutine(2));
    let worker = fixture.boot().await;
    // Another channel of the same master.
    let (mut other, mut others) = pool(spec());
    other.generations = Generations::new(next_generation(&fixture.pool, spec()));
    tokio::time::timeout(Duration::ZERO, other.next()).await.unwrap_err();
    others.started().expect("the plan asks for one worker").spawned().hello(1);
    tokio::time::timeout(Duration::ZERO, other.next()).await.unwrap();

    assert!(fixture.pool.can_dispatch_exclusive(Instant::now()));
    fixture.pool.dispatch_exclusive(run(1), Instant::now());
    let isolated = fixture.boot().await;
    assert_ne!(isolated.child, worker.child);
    assert!(!fixture.pool.can_dispatch_exclusive(Instant::now()), "the turn is taken");
    assert!(!other.can_dispatch_exclusive(Instant::now()), "by this or any other pool of the master");
    // Other runs go on, suspects included.
    assert!(fixture.capacity() == 2 && other.capacity(Instant::now()) == 1);
    assert!(fixture.pool.can_dispatch_alone(Instant::now()) || fixture.pool.max_isolated == 1);

    isolated.ended(1, Outcome::Done);
    fixture.settle().await;
    fixture.pool.yield_exclusive_turn();
    // The other pool wakes by the turn alone.
    tokio::time::timeout(SECOND, other.next()).await.expect("it has the turn");
    assert!(other.can_dispatch_exclusive(Instant::now()));
    assert!(!fixture.pool.can_dispatch_exclusive(Instant::now()));
    other.yield_exclusive_turn();
    assert!(fixture.pool.can_dispatch_exclusive(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn run_is_not_handed_to_a_worker_of_a_changed_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.py");
    std::fs::write(&file, "1").unwrap();
    let mut fixture =
        Fixture::new(PoolSpec { plan: Plan::process_pool(1, 1, 1), files: vec![file.clone()], ..spec() });
    let mut old = fixture.boot().await;
    assert_eq!(fixture.capacity(), 1);
    // The file changes while a turn is in flight: the pool has not looked at it since.
    std::fs::write(&file, "22").unwrap();
    assert_eq!(fixture.capacity(), 0);
    fixture.settle().await;
    assert_eq!(old.frames(), [ScriptedFrame::Stop]);
    fixture.boot().await;
    assert_eq!(fixture.capacity(), 1);
    fixture.dispatch(1);
}
