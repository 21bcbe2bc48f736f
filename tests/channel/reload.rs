//! What a reload leaves as it is and what it changes, seen from the channel.

use aint_queue::channel::{ChannelSettings, Command};
use aint_queue::pool::plan::Plan;
use aint_queue::pool::{PoolSpec, Program, RolloutError, ScaleOrder};
use aint_queue::retry::Policy;
use tokio::sync::oneshot;

use crate::rig::{Options, PATIENCE, Rig, job, rig};

async fn scale(rig: &Rig, order: ScaleOrder) -> usize {
    let (reply, answer) = oneshot::channel();
    rig.commands.send(Command::Scale(order, reply)).await.unwrap();
    answer.await.unwrap().unwrap().fewest
}

/// Waits until exactly so many workers serve.
async fn serve(rig: &Rig, workers: usize) {
    loop {
        let census = rig.report().await.workers;
        if (census.idle, census.busy + census.booting + census.leaving) == (workers, 0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_was_ordered_by_hand_survives_within_the_new_bounds() {
    let rig = rig(Options::new(Plan::process_pool(1, 6, 0))).await;
    serve(&rig, 1).await;
    assert_eq!(scale(&rig, ScaleOrder::Exactly(4)).await, 4);
    serve(&rig, 4).await;
    let renewed = rig.reload(rig.spec.clone(), rig.settings).await.unwrap();
    assert_eq!((renewed.generation, renewed.workers.len()), (2, 4));
    serve(&rig, 4).await;
    let spec = PoolSpec { plan: Plan::process_pool(1, 2, 0), ..rig.spec.clone() };
    assert_eq!(rig.reload(spec, rig.settings).await.unwrap().generation, 3);
    serve(&rig, 2).await;
    // A wider bound later lets the order count again.
    assert_eq!(rig.reload(rig.spec.clone(), rig.settings).await.unwrap().generation, 4);
    serve(&rig, 4).await;
    assert_eq!(scale(&rig, ScaleOrder::Change(-2)).await, 2);
    rig.stop(false).await;
}

#[tokio::test]
async fn the_rules_change_with_the_workers_and_not_when_those_fail() {
    let rig = rig(Options::new(Plan::process_pool(1, 1, 0))).await;
    let settings = |max_attempts| ChannelSettings {
        policy: Policy { max_attempts, backoff: rig.settings.policy.backoff },
        ..rig.settings
    };
    let spec = PoolSpec { program: Program::Wire(vec!["false".to_owned()]), ..rig.spec.clone() };
    let failed = rig.reload(spec, settings(1)).await.unwrap_err();
    assert!(matches!(&failed, RolloutError::Failed(why) if why.contains("exited with 1")), "{failed:?}");
    let ids = rig.push(&[job("fail", "{}")]).await;
    rig.until("it to fail for good", |status| status.failed == 1).await;
    assert_eq!(rig.get(ids[0]).await.meta.attempts, 3, "the settings there were before");
    rig.reload(rig.spec.clone(), settings(1)).await.unwrap();
    let ids = rig.push(&[job("fail", "{}")]).await;
    rig.until("another to fail for good", |status| status.failed == 2).await;
    assert_eq!(rig.get(ids[0]).await.meta.attempts, 1);
    rig.stop(false).await;
}

#[tokio::test]
async fn suspects_that_begin_after_a_reload_run_in_the_new_generation() {
    let rig = rig(Options::new(Plan::coroutine(4, 0))).await;
    let mut suspect = job("sleep", r#"{"ms":50}"#);
    suspect.meta.suspect = true;
    // More than end within our patience: there is always a next one for whoever is done with one.
    rig.push(&vec![suspect; 3000]).await;
    rig.until("some to run alone", |status| status.done >= 4).await;
    rig.reload(rig.spec.clone(), rig.settings).await.unwrap();
    let since = std::time::Instant::now();
    while rig.report().await.pool.rows.iter().any(|row| row.generation == 1) {
        assert!(since.elapsed() < PATIENCE, "one of the old generation gets job after job");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let done = rig.store.status().await.unwrap().done;
    rig.until("more of them", |status| status.done >= done + 4).await;
    rig.stop(true).await;
}
