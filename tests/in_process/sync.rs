//! The `sync` driver: a push runs the job.

use std::time::Duration;

use aint_queue::job::{FailReason, Payload};
use aint_queue::queue::OpenError;
use aint_queue::store::{PushError, Pushed, StoreError};
use aint_queue::{Config, PushOptions, Queue};

use crate::jobs::{
    AsyncFails, AsyncNote, BlocksThread, Descendants, Fails, Log, NeverEnds, Panics, ReleasesItself, app,
    note,
};

fn config() -> Config {
    let text = "[defaults.driver]\ntype = \"sync\"\n[channels.default]\n[channels.other]\n[channels.short]\nmax_attempts = 1\n";
    Config::parse(text, "aint-queue.toml").unwrap()
}

async fn open(log: &Log, channel: &str) -> Queue {
    app(log).queue(&config(), channel).await.unwrap()
}

fn failure(error: PushError) -> (FailReason, String) {
    match error {
        PushError::Failed { failure, .. } => (failure.reason, failure.error),
        other => panic!("the job did not fail: {other}"),
    }
}

#[tokio::test]
async fn sync_push_runs_job_and_returns_its_id() {
    let log = Log::default();
    let queue = open(&log, "default").await;
    let first = queue.push(&note("one")).await.unwrap();
    assert_eq!(log.take(), ["one"]);
    let second = queue.push(&AsyncNote { text: "two".into() }).await.unwrap();
    assert!(first < second);
    // The driver does not wait for delays.
    queue.push_in(Duration::from_secs(3600), &note("three")).await.unwrap();
    queue.push_raw("note", Payload::parse("\"four\"").unwrap(), &PushOptions::new()).await.unwrap();
    assert_eq!(log.take(), ["two", "three", "four"]);
}

#[tokio::test]
async fn sync_push_retries_and_returns_last_error() {
    let log = Log::default();
    let queue = open(&log, "default").await;
    queue.push(&Fails { until: 3, never: false }).await.unwrap();
    assert_eq!(log.take(), ["attempt 1 of 3", "attempt 2 of 3", "attempt 3 of 3"]);

    let error = queue.push(&Fails { until: 9, never: false }).await.unwrap_err();
    assert_eq!(log.take().last().unwrap(), "failed: exhausted: error 3");
    let said = error.to_string();
    assert!(said.contains("(\"fails\") was run here and failed (exhausted): error 3"), "{said}");

    let error = queue.push(&Fails { until: 9, never: true }).await.unwrap_err();
    assert_eq!(failure(error), (FailReason::Final, "no use: 1".to_owned()));
    assert_eq!(log.take(), ["attempt 1 of 3", "failed: final: no use: 1"]);

    // Options of the push override those of the job, which override those of the channel.
    let twice = PushOptions::new().max_attempts(2);
    queue.push_with(&Fails { until: 9, never: false }, &twice).await.unwrap_err();
    assert_eq!(log.take().len(), 3);
    let short = open(&log, "short").await;
    short.push(&Fails { until: 9, never: false }).await.unwrap_err();
    assert_eq!(log.take(), ["attempt 1 of 1", "failed: exhausted: error 1"]);
    let error = short.push(&AsyncFails {}).await.unwrap_err();
    // The error is that of the job, not that of its callback.
    assert_eq!(failure(error), (FailReason::Exhausted, "it is so".to_owned()));
    assert_eq!(log.take(), ["callback"]);
}

#[tokio::test]
async fn unknown_job_bad_payload_and_panic_have_reasons() {
    let queue = open(&Log::default(), "default").await;
    let raw = async |name, data: &str| {
        let pushed = queue.push_raw(name, Payload::parse(data).unwrap(), &PushOptions::new()).await;
        failure(pushed.unwrap_err())
    };
    assert_eq!(raw("unheard_of", "1").await.0, FailReason::UnknownJob);
    let (reason, error) = raw("fails", r#"{"until":"x","never":true}"#).await;
    assert_eq!(reason, FailReason::Final);
    assert!(error.contains("at `until`: invalid type: a string"), "{error}");
    let (_, error) = failure(queue.push(&Panics {}).await.unwrap_err());
    assert!(error.contains("panicked at tests/in_process/jobs.rs:") && error.ends_with(": oh no"), "{error}");
}

#[tokio::test]
async fn timeout_drops_async_and_awaits_blocking_handlers() {
    let log = Log::default();
    let queue = open(&log, "default").await;
    let (reason, error) = failure(queue.push(&NeverEnds {}).await.unwrap_err());
    assert_eq!((reason, error.as_str()), (FailReason::Timeout, "ran longer than 50ms and was ended"));
    assert_eq!(log.take(), ["dropped"]);
    let (reason, _) = failure(queue.push(&BlocksThread { done: false }).await.unwrap_err());
    assert_eq!(reason, FailReason::Timeout);
    // The run exceeded its limit but succeeded.
    queue.push(&BlocksThread { done: true }).await.unwrap();
}

#[tokio::test]
async fn follow_up_jobs_run_before_push_returns() {
    let log = Log::default();
    let queue = open(&log, "default").await;
    queue.push(&Descendants { generations: 2, into: None }).await.unwrap();
    assert_eq!(log.take(), ["0 in default", "1 in default", "2 in default"]);
    queue.push(&Descendants { generations: 1, into: Some("other".into()) }).await.unwrap();
    assert_eq!(log.take(), ["0 in other", "1 in default"]);

    let error =
        failure(queue.push(&Descendants { generations: 1, into: Some("none".into()) }).await.unwrap_err());
    assert!(error.1.contains("declared are: default, other, short"), "{error:?}");
}

#[tokio::test]
async fn self_pushing_and_releasing_jobs_end() {
    let log = Log::default();
    let queue = open(&log, "short").await;
    for channel in ["default", "short"] {
        let endless = Descendants { generations: 10_000, into: Some("default".into()) };
        let error = open(&log, channel).await.push(&endless).await.unwrap_err().to_string();
        assert!(error.contains("a job that pushes itself never ends"), "{error}");
        assert!(log.take().is_empty());
    }
    // Finished chains do not count towards the depth of the next one.
    queue.push(&Descendants { generations: 99, into: None }).await.unwrap();
    queue.push(&Descendants { generations: 99, into: None }).await.unwrap();
    assert_eq!(log.take().len(), 200);

    queue.push(&ReleasesItself { times: 20 }).await.unwrap();
    assert_eq!(log.take().len(), 21);
    let (_, error) = failure(queue.push(&ReleasesItself { times: usize::MAX - 1 }).await.unwrap_err());
    assert!(error.contains("released 100 times in a row"), "{error}");
}

#[tokio::test]
async fn sync_driver_keeps_only_timed_unique_keys() {
    let log = Log::default();
    let queue = open(&log, "short").await;
    let unique = PushOptions::new().unique("k");
    let fails = Fails { until: 9, never: true };
    assert!(queue.push_with(&fails, &unique).await.is_err());
    assert!(matches!(queue.push_with(&note("a"), &unique).await, Ok(Pushed::Added(_))));
    assert!(matches!(queue.push_with(&note("b"), &unique).await, Ok(Pushed::Added(_))));
}

#[tokio::test]
async fn batch_stops_at_the_first_failed_job() {
    let log = Log::default();
    let queue = open(&log, "short").await;
    let fails = |until| Fails { until, never: false };
    let error = queue.push_many(&[fails(0), fails(0), fails(7), fails(0)]).await.unwrap_err();
    assert_eq!(error.pushed.len(), 2);
    assert!(matches!(error.source, PushError::Failed { index: 2, .. }), "{error:?}");
    assert_eq!(log.take().len(), 4);
}

#[tokio::test]
async fn dropped_push_future_keeps_running() {
    let log = Log::default();
    let queue = open(&log, "default").await;
    {
        let job = AsyncNote { text: "late".into() };
        let mut push = std::pin::pin!(queue.push(&job));
        std::future::poll_fn(|cx| {
            assert!(push.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    let mut said = log.take();
    for _ in 0..1_000 {
        if !said.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
        said = log.take();
    }
    assert_eq!(said, ["late"]);
}

#[tokio::test]
async fn sync_queue_needs_registered_jobs() {
    let error = Queue::open(&config(), "default").await.unwrap_err();
    assert!(matches!(&error, OpenError::Store(StoreError::Refused { .. })), "{error:?}");
    assert!(error.to_string().contains("push with App::queue"), "{error}");

    let log = Log::default();
    let twice = app(&log).job::<crate::jobs::Note>().queue(&config(), "default").await.unwrap_err();
    assert!(twice.to_string().contains("two job types are registered as \"note\""), "{twice}");
    let broken = app(&log).state_with(|| Err::<u8, _>("no database")).queue(&config(), "default").await;
    let broken = broken.unwrap_err().to_string();
    assert!(broken.contains("u8 cannot be made: no database"), "{broken}");
}
