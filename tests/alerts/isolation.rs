//! A receiver that hangs, floods or fails delays no other one, and neither does the end wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fixture::{Running, firing, resolved};
use crate::receiver::{CannedResponse, Receiver, status};
use crate::wait::until_async;

fn slack(name: &str, server: &Receiver) -> String {
    format!("{name} = {{ type = \"slack\", url = \"http://127.0.0.1:{}/x\" }}\n", server.port())
}

#[tokio::test]
async fn hanging_receiver_delays_no_other_and_not_the_end() {
    let hanging = Receiver::start(|_| CannedResponse::Never);
    let good = Receiver::start(|_| status(200));
    let mut running = Running::start(&(slack("hanging", &hanging) + &slack("good", &good)), None);
    let started = Instant::now();
    for number in 0..5 {
        running.deliver("hanging", firing(number));
        running.deliver("good", firing(number));
    }
    for _ in 0..5 {
        assert_eq!(running.next().await, ("good".to_owned(), None));
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(running.status("good").counts.sent, 5);
    // Four messages wait behind the one that is on its way.
    until_async("the request", async || (hanging.waiting() > 0).then_some(())).await;
    let status = running.status("hanging");
    assert_eq!((status.waiting, status.counts.sent), (5, 0));
    let stopping = Instant::now();
    running.deliveries.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn failure_that_passes_is_tried_again_and_shown() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = Receiver::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => status(503),
        _ => status(200),
    });
    let mut running = Running::start(&slack("team", &server), None);
    running.deliver("team", firing(7));
    let failed = running.until("team", |status| status.last_error.is_some()).await;
    assert!(failed.last_error.unwrap().contains("503") && failed.counts.failed == 0);
    assert_eq!(running.next().await, ("team".to_owned(), None));
    let status = running.status("team");
    assert_eq!(
        (status.counts.sent, status.counts.failed, status.waiting, status.last_error),
        (1, 0, 0, None)
    );
    running.deliveries.stop().await;
}

#[tokio::test]
async fn final_refusal_is_reported_and_the_next_message_is_sent() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = Receiver::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => status(404),
        _ => status(200),
    });
    let mut running = Running::start(&slack("team", &server), None);
    running.deliver("team", firing(1));
    running.deliver("team", firing(2));
    assert!(running.next().await.1.unwrap().contains("404 Not Found"));
    assert_eq!(running.next().await.1, None);
    running.deliver("nobody", firing(3));
    assert!(running.next().await.1.unwrap().contains("no such receiver"));
    running.deliveries.stop().await;
}

#[tokio::test]
async fn muted_bot_is_left_alone() {
    let server = Receiver::start(|_| {
        CannedResponse::Whole(200, Vec::new(), r#"{"errcode":130101,"errmsg":"send too fast"}"#.to_owned())
    });
    let line = format!("ding = {{ type = \"dingtalk\", url = \"http://127.0.0.1:{}/x\" }}\n", server.port());
    let running = Running::start(&line, None);
    running.deliver("ding", firing(1));
    let muted = running.until("ding", |status| status.muted_until.is_some()).await;
    assert!(muted.last_error.unwrap().contains("130101: send too fast"));
    running.deliver("ding", firing(2));
    assert_eq!(running.status("ding").waiting, 2, "the message that is sent again after the mute counts");
    assert_eq!(server.requests().len(), 1);
    running.deliveries.stop().await;
}

#[tokio::test]
async fn end_sends_what_waits_once() {
    let server = Receiver::start(|_| status(200));
    let mut running = Running::start(&slack("team", &server), None);
    running.deliver("team", firing(1));
    running.deliver("team", resolved(1));
    running.deliveries.stop().await;
    assert_eq!(server.requests().len(), 2);
    for _ in 0..2 {
        assert_eq!(running.next().await.1, None);
    }
}

#[tokio::test]
async fn too_many_messages_drop_repeats_and_are_counted() {
    let server = Receiver::start(|_| CannedResponse::Never);
    let mut running = Running::start(&slack("team", &server), None);
    running.deliver("team", resolved(1_000));
    for number in 0..150 {
        running.deliver("team", firing(number));
    }
    let status = running.status("team");
    assert!(status.waiting <= 101 && status.counts.dropped >= 50, "{status:?}");
    assert!(running.next().await.1.unwrap().starts_with("dropped: too many messages wait"));
    running.deliveries.stop().await;
}

#[tokio::test]
async fn heartbeat_calls_and_is_counted() {
    let server = Receiver::start(|_| status(200));
    let line =
        format!("alive = {{ type = \"heartbeat\", url = \"http://127.0.0.1:{}/x\" }}\n", server.port());
    let running = Running::start(&line, None);
    running.deliveries.beat("alive", None);
    running.until("alive", |status| status.counts.sent == 1).await;
    running.deliveries.beat("alive", Some("store down".to_owned()));
    running.until("alive", |status| status.counts.sent == 2).await;
    let paths: Vec<_> = server.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/x", "/x/fail"]);
    running.deliveries.stop().await;
}
