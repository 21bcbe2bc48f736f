//! A single handler, run once.

use std::time::Duration;

use aint_queue::App;
use aint_queue::job::{Outcome, RetryDecision};
use aint_queue::testing::{TestQueue, TestRun, run_one};

use crate::jobs::{Again, AsyncNote, Fails, Family, Hangs, Log, Panics, note};

#[tokio::test]
async fn a_handler_gets_what_the_test_says_and_ends_with_what_it_says() {
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
    // The job's own opinion is part of it.
    let error = run().attempt(9).run_one(fails()).await.unwrap_err();
    assert!(matches!(error.outcome(), Outcome::Failed { next: RetryDecision::Never, .. }));

    let error = run().run_one(Again { times: 9 }).await.unwrap_err();
    assert_eq!(error.outcome(), &Outcome::Released { after: Duration::from_secs(30) });
}

#[tokio::test]
async fn a_missing_state_a_panic_and_a_limit_are_said() {
    let error = run_one(note("x")).await.unwrap_err();
    assert!(error.message().contains("there is no state of the type"), "{error:?}");
    let error = run_one(Panics {}).await.unwrap_err();
    assert!(error.message().ends_with("oh no"), "{error:?}");
    let limit = Duration::from_millis(5);
    let run = TestRun::new().state(Log::default()).timeout(limit);
    let error = run.run_one(Hangs {}).await.unwrap_err();
    assert_eq!(error.outcome(), &Outcome::TimedOut { limit });
}

#[tokio::test]
async fn follow_up_jobs_are_pushed_and_do_not_run() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let run = TestRun::new().queue(&testing).state(log.clone()).header("traceparent", "00-1");
    run.run_one(Family { generations: 3, into: None }).await.unwrap();
    let pushed = testing.pushed_async::<Family>();
    assert_eq!(pushed, [Family { generations: 2, into: None }]);
    assert_eq!(pushed[0].headers()["traceparent"], "00-1");
    assert_eq!(log.take(), ["3 in default"]);

    let unknown = TestRun::new().state(log).run_one(Family { generations: 1, into: Some("x".into()) }).await;
    let unknown = unknown.unwrap_err();
    assert!(unknown.message().contains("add it with TestQueue::channel"), "{unknown:?}");
}

#[tokio::test]
async fn the_middleware_of_an_application_stands_around_it() {
    let log = Log::default();
    let said = log.clone();
    let app = App::new().state(log.clone()).middleware(move |call, next| {
        let said = said.clone();
        async move {
            said.say("before");
            next.run(call).await
        }
    });
    TestRun::new().app(app).run_one(note("one")).await.unwrap();
    assert_eq!(log.take(), ["before", "one"]);
}
