//! Start of workers: hello, boot timeout, back-off, degraded channels.

use super::*;

#[tokio::test(start_paused = true)]
async fn worker_takes_runs_after_its_hello() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    let mut worker = fixture.started();
    assert!(fixture.script.started().is_none(), "the plan asks for one worker");
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Booting], 0));
    // The hello may arrive before the guardian reports the process.
    worker.hello(1);
    fixture.settle().await;
    assert_eq!(fixture.activities(), [WorkerActivity::Booting]);
    worker.spawned();
    fixture.settle().await;
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Idle], 1));

    fixture.dispatch(1);
    assert_eq!(fixture.capacity(), 0);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let ended = {
        tokio::time::advance(SECOND).await;
        worker.ended(1, Outcome::Done);
        fixture.settle().await
    };
    let [EndedRun { run: 1, id: JobId(101), outcome: Outcome::Done, took: SECOND, .. }] = ended[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Idle], 1));
}

#[tokio::test(start_paused = true)]
async fn worker_without_hello_is_killed_at_the_boot_timeout() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    let worker = fixture.started();
    worker.spawned();
    fixture.pass(10 * SECOND - GRACE).await;
    assert_eq!(kills(&mut fixture.script), []);
    fixture.pass(2 * GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    assert!(fixture.pool.start_error(Instant::now()).unwrap().contains("no hello within 10s"));
}

#[tokio::test(start_paused = true)]
async fn failed_boots_back_off_degrade_and_recover() {
    let mut fixture = Fixture::new(spec());
    let mut starts = Vec::new();
    for _ in 0..5 {
        fixture.pass(6 * SECOND).await;
        let worker = fixture.started();
        assert!(fixture.script.started().is_none(), "one boot at a time");
        starts.push(Instant::now());
        worker.spawned().exited(Exit::Code(1), "no such module");
        fixture.settle().await;
    }
    let status = fixture.pool.status(Instant::now());
    assert!(
        status.degraded && status.next_boot_ms.is_some_and(|ms| (1_600..=2_000).contains(&ms)),
        "{status:?}"
    );
    let error = "it exited with 1 before it was ready: no such module";
    assert_eq!(fixture.pool.start_error(Instant::now()), Some(error));

    // The program works again: its first worker takes jobs only after a probation.
    fixture.pass(2 * SECOND).await;
    let worker = fixture.started();
    worker.spawned().hello(1);
    fixture.settle().await;
    assert!(fixture.pool.is_degraded(Instant::now()) && fixture.capacity() == 0);
    fixture.pass(SECOND).await;
    assert!(!fixture.pool.is_degraded(Instant::now()) && fixture.capacity() == 1);
}

#[tokio::test(start_paused = true)]
async fn program_that_cannot_be_started_is_a_failed_boot() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    fixture.started().spawn_failed("could not run \"worker\": no such file");
    fixture.settle().await;
    assert!(fixture.pool.is_empty() && fixture.script.started().is_none());
    assert_eq!(fixture.pool.start_error(Instant::now()), Some("could not run \"worker\": no such file"));
    fixture.pass(SECOND / 4).await;
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn start_without_room_is_no_run_and_no_failed_boot() {
    let exec = PoolSpec { program: Program::Exec(vec!["job".to_owned()]), ..elastic(1, 2) };
    let mut fixture = Fixture::new(exec);
    fixture.settle().await;
    fixture.dispatch(1);
    fixture.dispatch(2);
    let (first, second) = (fixture.started(), fixture.started());
    first.spawned();
    second.no_room();
    let [EndedRun { run: 2, has_begun: false, outcome: Outcome::Interrupted, .. }] =
        fixture.settle().await[..]
    else {
        panic!("the start was refused")
    };
    assert_eq!(fixture.pool.take_begun(), [JobId(101)]);
    let status = fixture.pool.status(Instant::now());
    assert_eq!((status.no_room.as_deref(), status.lifetimes.failures()), (Some("no process"), 0));
    first.exited(Exit::Code(0), "");
    let [EndedRun { run: 1, has_begun: true, outcome: Outcome::Done, .. }] = fixture.settle().await[..]
    else {
        panic!("the first one was started")
    };
}

#[tokio::test(start_paused = true)]
async fn programs_per_job_start_with_their_run() {
    let exec = PoolSpec { program: Program::Exec(vec!["job".to_owned()]), ..elastic(1, 2) };
    let mut fixture = Fixture::new(exec);
    fixture.settle().await;
    assert!(fixture.script.started().is_none() && fixture.capacity() == 2);
    fixture.dispatch(1);
    fixture.dispatch(2);
    let (first, second) = (fixture.started(), fixture.started());
    first.spawned().exited(Exit::Code(0), "");
    second.spawned();
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Done)]);
    fixture.pass(LIMIT).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Terminate(second.child)]);
    fixture.pass(GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(second.child)]);
    second.exited(Exit::Signal(9), "");
    let how = "SIGTERM was not enough, and it was killed".to_owned();
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::TimedOut { limit: LIMIT, how })]);
}
