//! A single run of a handler.

use std::time::Duration;

use aint_queue::App;
use aint_queue::job::{Outcome, RetryDecision};
use aint_queue::testing::{TestQueue, TestRun, run_one};

use crate::jobs::{AsyncNote, Descendants, Fails, Log, NeverEnds, Panics, ReleasesItself, note};

#[tokio::test]
async fn run_one_passes_input_and_returns_outcome() {
    let log = Log::default();
    let run = || TestRun::new().state(log.clone());
    run().run_one(note("one")).await.unwrap();
    run().run_one(AsyncNote { text: "two".into() }).await.unwrap();
    assert_eq!(log.take(), ["one", "two"]);

    let fails = || Fails { until: 10, never: false };
    let error = run().attempt(2).max_attempts(7).run_one(fails()).await.unwrap_err();
    assert_eq!(error.message(), "error 2");
    assert!(matches!(error.outcome(), Outcome::Failed { next: RetryDecision::ByPolicy, .. }));
    assert_eq!(log.take(), ["attempt 2 of 7"]);
    // The job type's retry decision is part of the outcome.
    let error = run().attempt(9).run_one(fails()).await.unwrap_err();
    assert!(matches!(error.outcome(), Outcome::Failed { next: RetryDecision::Never, .. }));

    let error = run().run_one(ReleasesItself { times: 9 }).await.unwrap_err();
    assert_eq!(error.outcome(), &Outcome::Released { after: Duration::from_secs(30) });
}

#[tokio::test]
async fn missing_state_panic_and_timeout_are_reported() {
    let error = run_one(note("x")).await.unwrap_err();
    assert!(error.message().contains("the application has no state of type"), "{error:?}");
    let error = run_one(Panics {}).await.unwrap_err();
    assert!(error.message().ends_with("oh no"), "{error:?}");
    let limit = Duration::from_millis(5);
    let run = TestRun::new().state(Log::default()).timeout(limit);
    let error = run.run_one(NeverEnds {}).await.unwrap_err();
    assert_eq!(error.outcome(), &Outcome::TimedOut { limit, how: String::new() });
}

#[tokio::test]
async fn run_one_records_follow_up_jobs() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let run = TestRun::new().queue(&testing).state(log.clone()).header("traceparent", "00-1");
    run.run_one(Descendants { generations: 3, into: None }).await.unwrap();
    let pushed = testing.pushed_async::<Descendants>();
    assert_eq!(pushed, [Descendants { generations: 2, into: None }]);
    assert_eq!(pushed[0].headers()["traceparent"], "00-1");
    assert_eq!(log.take(), ["3 in default"]);

    let unknown =
        TestRun::new().state(log).run_one(Descendants { generations: 1, into: Some("x".into()) }).await;
    let unknown = unknown.unwrap_err();
    assert!(unknown.message().contains("add it with TestQueue::channel"), "{unknown:?}");
}

#[tokio::test]
async fn run_one_applies_app_middleware() {
    let log = Log::default();
    let said = log.clone();
    let app = App::new().state(log.clone()).middleware(move |call, next| {
        let said = said.clone();
        async move {
            said.record("before");
            next.run(call).await
        }
    });
    TestRun::new().app(app).run_one(note("one")).await.unwrap();
    assert_eq!(log.take(), ["before", "one"]);
}
