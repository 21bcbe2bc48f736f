//! The in-memory queue follows the rules of the other drivers.

use std::time::Duration;

use aint_queue::job::FailReason;
use aint_queue::middleware::CircuitBreaker;
use aint_queue::store::{Claim, ClaimKind, LimitDecision, Pushed};
use aint_queue::testing::{RunEnd, TestQueue};
use aint_queue::{AsyncJob, Config, Context, JobError, Priority, PushOptions};
use serde::{Deserialize, Serialize};

use crate::jobs::{AsyncFails, Exclusive, Fails, Log, app, note};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn expired_job_runs_only_its_callback() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let soon = PushOptions::new().expires_in(10 * SECOND);
    testing.queue().push_with(&Fails { until: 0, never: false }, &soon).await.unwrap();
    testing.queue().push_with(&note("late"), &soon).await.unwrap();
    testing.advance(11 * SECOND);
    let report = testing.app(app(&log)).drain().await;
    assert_eq!((report.done, report.failed, report.runs.len()), (0, 2, 3));
    assert_eq!(log.take(), ["failed: expired: not started before its expiry"]);
    assert!(testing.failed().iter().all(|failed| failed.reason == FailReason::Expired));
}

#[tokio::test]
async fn failed_job_keeps_all_errors() {
    let (testing, log) = (TestQueue::new(), Log::default());
    testing.queue().push(&AsyncFails {}).await.unwrap();
    let report = testing.app(app(&log)).drain_all().await;
    assert_eq!((report.retried, report.failed), (1, 1));
    assert_eq!(report.runs[0].end, RunEnd::Retried(60 * SECOND));
    let callback = report.runs.last().unwrap();
    assert!(callback.callback && callback.error.as_deref() == Some("the callback too"), "{callback:?}");
    let failed = &testing.failed()[0];
    assert_eq!((failed.job.as_str(), failed.payload.as_str()), ("async_fails", "{}"));
    let errors: Vec<_> = failed.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(errors, ["it is so", "it is so", "the failed callback: the callback too"]);
}

#[tokio::test]
async fn unique_key_is_held_until_job_end() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let (queue, unique) = (testing.queue(), PushOptions::new().unique("k"));
    let first = queue.push_with(&note("a"), &unique).await.unwrap();
    assert_eq!(queue.push_with(&note("b"), &unique).await.unwrap(), Pushed::Existing(first.id()));
    assert_eq!(testing.app(app(&log)).drain().await.done, 1);
    assert!(matches!(queue.push_with(&note("c"), &unique).await, Ok(Pushed::Added(_))));
}

#[tokio::test]
async fn priority_order_and_key_until_start() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let queue = testing.queue();
    for (text, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
        queue.push_with(&note(text), &PushOptions::new().priority(priority)).await.unwrap();
    }
    assert_eq!(testing.app(app(&log)).drain().await.done, 3);
    assert_eq!(log.take(), ["high", "normal", "low"]);

    // After its first attempt the job no longer holds the key.
    let start = PushOptions::new().unique_until_start("k");
    queue.push_with(&Fails { until: 2, never: false }, &start).await.unwrap();
    assert_eq!(testing.app(app(&log)).drain().await.retried, 1);
    assert!(matches!(queue.push_with(&note("next"), &start).await, Ok(Pushed::Added(_))));
}

#[derive(Serialize, Deserialize)]
struct LookAgain {
    left: u32,
}

impl AsyncJob for LookAgain {
    const NAME: &'static str = "look_again";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        if let Some(left) = self.left.checked_sub(1) {
            ctx.push_with(&Self { left }, &PushOptions::new().unique_until_start("again")).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn run_can_push_under_its_freed_key() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let start = PushOptions::new().unique_until_start("again");
    testing.queue().push_with(&LookAgain { left: 2 }, &start).await.unwrap();
    assert_eq!(testing.app(app(&log).async_job::<LookAgain>()).drain().await.done, 3);
}

#[tokio::test]
async fn locks_are_freed_and_breakers_use_test_clock() {
    let (testing, log) = (TestQueue::new(), Log::default());
    testing.queue().push_many(&[Exclusive {}, Exclusive {}]).await.unwrap();
    let report = testing.app(app(&log)).drain().await;
    assert_eq!((report.done, report.released), (2, 0));

    // Another owner of the channel holds the lock.
    let store = testing.store();
    let owner = store.join().await.unwrap();
    let kind = ClaimKind::Lock { limit: 1 };
    let id = testing.queue().push_in(SECOND, &note("holder")).await.unwrap();
    assert!(store.take(&owner, 1, id).await.unwrap().is_some());
    let claim = Claim { id, key: "alone".into(), kind };
    assert_eq!(store.claim(&owner, &[claim]).await.unwrap(), [LimitDecision::Granted]);
    testing.queue().push(&Exclusive {}).await.unwrap();
    assert_eq!(testing.app(app(&log)).drain().await.released, 1);
    store.leave(&owner).await.unwrap();
    assert_eq!(testing.app(app(&log)).drain_all().await.done, 2);

    let testing = TestQueue::new();
    let broken = app(&log).layer(CircuitBreaker::new(2, 3600 * SECOND).by(|_| Ok("mail".into())));
    testing.queue().push(&Fails { until: 3, never: false }).await.unwrap();
    let begun = testing.now();
    let report = testing.app(broken).drain_all().await;
    assert_eq!((report.retried, report.done), (2, 1));
    // Real time passes between the decision and the release: some microseconds are left for further, short releases.
    assert!(report.released >= 1, "{report:?}");
    let took = testing.now().duration_since(begun).unwrap();
    assert!((3600 * SECOND..3700 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test]
async fn test_queue_uses_channel_attempts_and_backoff() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let text = "[channels.default]\nmax_attempts = 2\nbackoff = { kind = \"fixed\", base = 7 }";
    let config = Config::parse(text, "aint-queue.toml").unwrap();
    testing.queue().push(&Fails { until: 9, never: false }).await.unwrap();
    let app = testing.app(app(&log)).channel(config.channel("default").unwrap());
    let report = app.drain_all().await;
    let ends: Vec<_> = report.runs.iter().map(|run| run.end).collect();
    assert_eq!(ends[..2], [RunEnd::Retried(7 * SECOND), RunEnd::Failed(FailReason::Exhausted)]);
    assert!(report.runs[2].callback);
    assert_eq!(report.runs.len(), 3);
}
