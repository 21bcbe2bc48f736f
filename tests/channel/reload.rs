//! Reloads of a channel: what they keep and what they change.

use aint_queue::engine::channel::{ChannelSettings, ChannelStatus, Command};
use aint_queue::engine::pool::plan::Plan;
use aint_queue::engine::pool::{PoolSpec, Program, RolloutError, ScaleOrder};
use aint_queue::engine::retry::Policy;
use tokio::sync::oneshot;

use crate::fixture::{Fixture, Options, job, start_channel};

async fn scale(fixture: &Fixture, order: ScaleOrder) -> usize {
    let (reply, answer) = oneshot::channel();
    fixture.commands.send(Command::Scale(order, reply)).await.unwrap();
    answer.await.unwrap().unwrap().fewest
}

/// Waits until exactly `workers` workers serve.
async fn serve(fixture: &Fixture, workers: usize) {
    fixture
        .until_status("the workers to serve", |status| {
            let counts = &status.workers;
            (counts.idle, counts.busy + counts.booting + counts.leaving) == (workers, 0)
        })
        .await;
}

#[tokio::test]
async fn manual_minimum_survives_reload_within_new_bounds() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 6, 0))).await;
    serve(&fixture, 1).await;
    assert_eq!(scale(&fixture, ScaleOrder::Exactly(4)).await, 4);
    serve(&fixture, 4).await;
    let renewed = fixture.reload(fixture.spec.clone(), fixture.settings.clone()).await.unwrap();
    assert_eq!((renewed.generation, renewed.workers.len()), (2, 4));
    serve(&fixture, 4).await;
    let spec = PoolSpec { plan: Plan::process_pool(1, 2, 0), ..fixture.spec.clone() };
    assert_eq!(fixture.reload(spec, fixture.settings.clone()).await.unwrap().generation, 3);
    serve(&fixture, 2).await;
    // A wider bound lets the manual minimum take full effect again.
    assert_eq!(fixture.reload(fixture.spec.clone(), fixture.settings.clone()).await.unwrap().generation, 4);
    serve(&fixture, 4).await;
    assert_eq!(scale(&fixture, ScaleOrder::Change(-2)).await, 2);
    fixture.stop(false).await;
}

#[tokio::test]
async fn job_rules_change_only_with_a_successful_reload() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let settings = |max_attempts| ChannelSettings {
        policy: Policy { max_attempts, backoff: fixture.settings.policy.backoff.clone() },
        ..fixture.settings.clone()
    };
    let spec = PoolSpec { program: Program::Wire(vec!["false".to_owned()]), ..fixture.spec.clone() };
    let failed = fixture.reload(spec, settings(1)).await.unwrap_err();
    assert!(matches!(&failed, RolloutError::Failed(why) if why.contains("exited with 1")), "{failed:?}");
    let ids = fixture.push(&[job("fail", "{}")]).await;
    fixture.until("the job to fail for good", |status| status.failed == 1).await;
    assert_eq!(fixture.get(ids[0]).await.meta.attempts, 3, "the previous settings");
    fixture.reload(fixture.spec.clone(), settings(1)).await.unwrap();
    let ids = fixture.push(&[job("fail", "{}")]).await;
    fixture.until("the second job to fail for good", |status| status.failed == 2).await;
    assert_eq!(fixture.get(ids[0]).await.meta.attempts, 1);
    fixture.stop(false).await;
}

#[tokio::test]
async fn suspects_after_reload_run_in_new_generation() {
    let fixture = start_channel(Options::new(Plan::coroutine(4, 0))).await;
    let mut suspect = job("sleep", r#"{"ms":50}"#);
    suspect.meta.suspect = true;
    // More jobs than the workers finish within the deadline: a worker of the old generation that took them would stay.
    fixture.push(&vec![suspect; 4_000]).await;
    fixture.until("some suspects to be done", |status| status.done >= 4).await;
    fixture.reload(fixture.spec.clone(), fixture.settings.clone()).await.unwrap();
    let all_new = |status: &ChannelStatus| status.pool.rows.iter().all(|row| row.generation > 1);
    fixture.until_status("the old generation to end", all_new).await;
    let done = fixture.store.status().await.unwrap().done;
    fixture.until("more suspects to be done", |status| status.done >= done + 4).await;
    fixture.stop(true).await;
}
