//! Replacement of workers by number of jobs, age and memory.

use super::*;

#[tokio::test(start_paused = true)]
async fn worker_is_replaced_after_its_number_of_jobs() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::process_pool(1, 1, 2), ..spec() });
    let mut worker = fixture.boot().await;
    for number in 1..=2 {
        fixture.dispatch(number);
        fixture.settle().await;
        worker.ended(number, Outcome::Done);
        fixture.settle().await;
    }
    let successor = fixture.started();
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2), ScriptedFrame::Stop]);
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)], "it ignored the stop");
    worker.exited(Exit::Signal(9), "");
    fixture.settle().await;
    assert_eq!(fixture.activities(), [WorkerActivity::Idle]);
}

#[tokio::test(start_paused = true)]
async fn worker_is_replaced_at_its_age_limit() {
    let recycling = Recycling { max_life: Some(100 * SECOND), ..Recycling::default() };
    let mut fixture = Fixture::new(PoolSpec { recycling, ..spec() });
    let mut worker = fixture.boot().await;
    fixture.pass(89 * SECOND).await;
    assert!(fixture.script.started().is_none(), "each limit is lowered by a tenth at most");
    fixture.pass(11 * SECOND).await;
    let successor = fixture.started();
    assert_eq!(worker.frames(), [], "it serves until its successor is ready");
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Stop]);
    assert_eq!(fixture.pool.status(Instant::now()).recycled.life, 1);
}

#[tokio::test(start_paused = true)]
async fn memory_limits_replace_and_kill() {
    const MIB: u64 = 1 << 20;
    let recycling = Recycling {
        memory_limit: Some(100 * MIB),
        memory_hard_limit: Some(200 * MIB),
        ..Recycling::default()
    };
    let mut fixture = Fixture::new(PoolSpec { recycling, ..spec() });
    let mut worker = fixture.boot().await;
    fixture.dispatch(1);
    worker.uses(150 * MIB);
    fixture.settle().await;
    let successor = fixture.started();
    assert_eq!(fixture.pool.status(Instant::now()).recycled.memory, 1);
    worker.ended(1, Outcome::Done);
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Stop]);
    worker.exited(Exit::Code(0), "");
    fixture.settle().await;

    fixture.dispatch(2);
    successor.uses(201 * MIB);
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(successor.child)]);
    successor.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    assert!(
        matches!(&ended[0].outcome, Outcome::Crashed { how } if how.contains("more than memory_hard_limit = 200 MiB")),
        "{ended:?}"
    );
    let status = fixture.pool.status(Instant::now());
    assert_eq!((status.recycled.memory_hard, status.lifetimes.killed["memory_hard"]), (1, 1));
}
