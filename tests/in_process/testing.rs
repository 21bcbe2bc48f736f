//! The in-memory queue: messages of its assertions, results of its drains.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aint_queue::testing::{RunEnd, TestQueue};
use aint_queue::{PushOptions, Queue};

use crate::jobs::{AsyncNote, Descendants, Fails, Log, ReleasesItself, app, note};

const SECOND: Duration = Duration::from_secs(1);

/// The message of a failed assertion.
fn said(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("the assertion should not hold");
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap()
}

#[tokio::test]
async fn pushed_jobs_are_recorded_with_options() {
    let testing = TestQueue::new();
    testing.assert_nothing_pushed();
    let queue: Queue = testing.queue();
    queue.push(&note("one")).await.unwrap();
    let options = PushOptions::new().unique("k").delay(60 * SECOND).header("tenant", "a");
    queue.push_with(&note("two"), &options).await.unwrap();
    queue.push_with(&note("again"), &options).await.unwrap();
    queue.push(&AsyncNote { text: "x".into() }).await.unwrap();

    let notes = testing.pushed::<crate::jobs::Note>();
    assert_eq!(notes, [note("one"), note("two")]);
    assert_eq!((notes[0].delay(), notes[0].unique()), (None, None));
    assert_eq!((notes[1].delay(), notes[1].unique()), (Some(60 * SECOND), Some("k")));
    assert_eq!(notes[1].headers()["tenant"], "a");
    assert_eq!(testing.pushed_async::<AsyncNote>(), [AsyncNote { text: "x".into() }]);
    assert_eq!(testing.pushed_raw().len(), 3);
    testing.assert_pushed(&note("two"));

    let message = said(|| testing.assert_nothing_pushed());
    assert!(message.starts_with("nothing should have been pushed; these were:"), "{message}");
    assert!(
        message.contains(r#" note "one""#) && message.contains(r#" async_note {"text":"x"}"#),
        "{message}"
    );
    let message = said(|| testing.assert_pushed(&note("three")));
    assert!(message.starts_with(r#"note "three" was not pushed; these were:"#), "{message}");
    assert!(message.contains(r#" note "two""#), "{message}");

    testing.forget_pushed();
    testing.assert_nothing_pushed();
    let message = said(|| testing.assert_pushed(&note("one")));
    assert!(message.ends_with("nothing was pushed at all"), "{message}");
    assert_eq!((testing.status().waiting, testing.status().delayed), (2, 1));

    queue.push_raw("note", aint_queue::job::Payload::parse("7").unwrap(), &PushOptions::new()).await.unwrap();
    let message = said(|| drop(testing.pushed::<crate::jobs::Note>()));
    assert!(
        message.contains("\"note\" was pushed with 7, but the payload does not fit the job"),
        "{message}"
    );
}

#[tokio::test]
async fn drain_runs_due_jobs_and_clock_makes_others_due() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let app = testing.app(app(&log));
    let queue = testing.queue();
    queue.push_in(10 * SECOND, &note("later")).await.unwrap();
    queue.push(&note("now")).await.unwrap();
    queue.push(&Fails { until: 3, never: false }).await.unwrap();

    let report = app.drain().await;
    assert_eq!((report.done, report.retried, report.failed, report.released), (1, 1, 0, 0));
    assert_eq!(report.errors(), ["error 1"]);
    assert_eq!(report.runs[1].end, RunEnd::Retried(SECOND));
    assert_eq!(app.drain().await.runs.len(), 0);
    testing.advance(SECOND);
    assert_eq!(app.drain().await.errors(), ["error 2"]);
    log.take();
    let report = app.drain_all().await;
    assert_eq!((report.done, report.retried), (2, 0));
    assert_eq!(log.take(), ["attempt 3 of 3", "later"]);
    assert_eq!((testing.status().done, testing.status().total()), (3, 3));
}

#[tokio::test]
async fn jobs_push_into_all_test_channels() {
    let (testing, log) = (TestQueue::new(), Log::default());
    let mail = testing.channel("mail");
    testing.queue().push(&Descendants { generations: 2, into: Some("mail".into()) }).await.unwrap();
    assert_eq!(testing.app(app(&log)).drain().await.done, 1);
    assert_eq!(mail.pushed_async::<Descendants>().len(), 1);
    // A job may push into another channel, and into its own by name.
    let back = Descendants { generations: 1, into: Some("default".into()) };
    mail.queue().push(&back).await.unwrap();
    assert_eq!(mail.app(app(&log)).drain_all().await.done, 3);
    assert_eq!(testing.status().waiting, 1);
    assert_eq!(testing.channel("mail").pushed_async::<Descendants>().len(), 3);
}

#[tokio::test]
async fn drain_reports_endless_jobs() {
    let log = Log::default();
    let ends = async |testing: &TestQueue, all: bool| {
        let app = testing.app(app(&log)).limit(50);
        let drained =
            tokio::spawn(async move { if all { app.drain_all().await } else { app.drain().await } });
        let panic = drained.await.unwrap_err().into_panic();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let testing = TestQueue::new();
    testing.queue().push(&Descendants { generations: 10_000, into: None }).await.unwrap();
    let message = ends(&testing, false).await;
    assert!(message.starts_with("50 runs and 1 more to run now"), "{message}");
    assert!(message.contains(" family, attempt 1: Done") && message.contains("TestApp::limit"), "{message}");

    let testing = TestQueue::new();
    testing.queue().push(&ReleasesItself { times: usize::MAX - 1 }).await.unwrap();
    assert_eq!(testing.app(app(&log)).limit(50).drain().await.released, 1);
    let message = ends(&testing, true).await;
    assert!(message.contains(" again, attempt 1: Released(30s)"), "{message}");

    // Exactly the allowed number of runs is no error.
    let testing = TestQueue::new();
    let notes: Vec<_> = (0..50).map(|n| note(&n.to_string())).collect();
    testing.queue().push_many(&notes).await.unwrap();
    testing.queue().push_in(SECOND, &note("later")).await.unwrap();
    assert_eq!(testing.app(app(&log)).limit(50).drain().await.done, 50);
}

#[tokio::test]
async fn handler_over_its_timeout_is_ended() {
    let (testing, log) = (TestQueue::new(), Log::default());
    testing.queue().push(&crate::jobs::NeverEnds {}).await.unwrap();
    let report = testing.app(app(&log)).drain().await;
    assert_eq!((report.failed, report.errors()), (1, vec!["ran longer than 50ms"]));
}
