//! Number of workers: demand, cool-down, the manual minimum.

use super::*;

#[tokio::test(start_paused = true)]
async fn backlog_raises_the_pool_at_once_and_cool_down_lowers_it() {
    let mut fixture = Fixture::new(elastic(1, 4));
    assert_eq!(boot_all(&mut fixture).await.len(), 1);
    let demand = Demand { waiting: 1_000, job: Some(SECOND) };
    fixture.pool.set_demand(demand, Instant::now());
    let mut added = boot_all(&mut fixture).await;
    assert_eq!((added.len(), fixture.capacity()), (3, 4));
    fixture.pool.set_demand(Demand { waiting: 0, job: Some(SECOND) }, Instant::now());
    fixture.pass(29 * SECOND).await;
    assert_eq!(fixture.capacity(), 4, "the cool-down takes 30 s");
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.capacity(), 1);
    for worker in &mut added {
        assert_eq!(worker.frames(), [ScriptedFrame::Stop], "the youngest stop");
    }
    let status = fixture.pool.status(Instant::now());
    assert_eq!((status.scaled_up, status.scaled_down), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn manual_minimum_is_kept_until_it_is_changed() {
    let mut fixture = Fixture::new(elastic(1, 4));
    boot_all(&mut fixture).await;
    let minimum = fixture.pool.scale(ScaleOrder::Exactly(3), Instant::now()).unwrap();
    assert_eq!((minimum.fewest, minimum.before, minimum.clamped), (3, 1, false));
    assert_eq!(boot_all(&mut fixture).await.len(), 2);
    fixture.pass(120 * SECOND).await;
    assert_eq!((fixture.capacity(), fixture.pool.manual_minimum()), (3, Some(3)));
    fixture.pool.scale(ScaleOrder::Change(-2), Instant::now()).unwrap();
    fixture.pass(31 * SECOND).await;
    assert_eq!((fixture.capacity(), fixture.pool.manual_minimum()), (1, None));
    let exec = PoolSpec { program: Program::Exec(vec!["job".to_owned()]), ..spec() };
    assert!(Fixture::new(exec).pool.scale(ScaleOrder::Exactly(1), Instant::now()).is_err());
}
