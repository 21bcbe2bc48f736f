//! The producer interface as another program uses it.

use std::time::{Duration, SystemTime};

use aint_queue::engine::demo_jobs::{Echo, Noop};
use aint_queue::job::Payload;
use aint_queue::store::{PushError, Pushed};
use aint_queue::{Config, PushOptions, Queue};

use crate::fixture::{Fixture, runtime};

fn config(fixture: &Fixture) -> Config {
    Config::parse("[channels.default]", fixture.path("aint-queue.toml")).unwrap()
}

#[test]
fn blocking_and_asynchronous_jobs_are_pushed_alike() {
    let mut fixture = Fixture::new();
    let config = config(&fixture);
    runtime().block_on(async {
        let queue = Queue::open(&config, "default").await.unwrap();
        let echo = Echo { message: "hello".to_owned() };
        let first = queue.push(&echo).await.unwrap();
        let second = queue.push(&Noop {}).await.unwrap();
        assert!(first < second);
        queue.push_in(Duration::from_secs(3600), &echo).await.unwrap();
        queue.push_at(SystemTime::now() + Duration::from_secs(3600), &Noop {}).await.unwrap();
        let unique = PushOptions::new().unique("k");
        let held = queue.push_with(&Noop {}, &unique).await.unwrap();
        assert_eq!(queue.push_with(&Noop {}, &unique).await.unwrap(), Pushed::Existing(held.id()));
        queue.push_raw("elsewhere", Payload::parse("[1]").unwrap(), &PushOptions::new()).await.unwrap();
    });
    let status = fixture.status();
    assert_eq!((&status["waiting"], &status["delayed"]), (&4.into(), &2.into()));
}

#[test]
fn batched_push_refusal_reports_pushed_jobs() {
    let mut fixture = Fixture::new();
    let config = config(&fixture);
    let text = |n: usize| Echo { message: "x".repeat(n) };
    runtime().block_on(async {
        let queue = Queue::open(&config, "default").await.unwrap();
        let jobs: Vec<_> = (0..1200).map(text).collect();
        let pushed = queue.push_many(&jobs).await.unwrap();
        assert_eq!(pushed.len(), 1200);
        assert!(pushed.windows(2).all(|two| two[0].id() < two[1].id()));

        let mut jobs: Vec<_> = (0..600).map(text).collect();
        jobs.push(text(1 << 20));
        let error = queue.push_many(&jobs).await.unwrap_err();
        assert_eq!(error.pushed.len(), 500);
        assert!(matches!(error.source, PushError::Payload { index: 600, .. }));

        let late = PushOptions::new().delay(Duration::from_secs(11 * 366 * 86400));
        let error = queue.push_with(&text(1), &late).await.unwrap_err();
        assert_eq!(error.to_string(), "job 0 of the batch is refused: the delay is longer than ten years");
    });
    assert_eq!(fixture.status()["waiting"], 1700);
}

#[test]
fn undeclared_channel_cannot_be_opened() {
    let fixture = Fixture::new();
    let config = config(&fixture);
    let error = runtime().block_on(Queue::open(&config, "mail")).unwrap_err();
    assert!(error.to_string().contains("declared are: default"), "{error}");
}
