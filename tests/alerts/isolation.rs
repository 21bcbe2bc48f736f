//! A receiver that hangs, floods or fails delays no other one, and neither does the end wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fixture::{firing, next, resolved, start};
use crate::receiver::{CannedResponse, Receiver, status};

fn slack(name: &str, server: &Receiver) -> String {
    format!("{name} = {{ type = \"slack\", url = \"http://127.0.0.1:{}/x\" }}\n", server.port())
}

#[tokio::test]
async fn hanging_receiver_delays_no_other_and_not_the_end() {
    let hanging = Receiver::start(|_| CannedResponse::Never);
    let good = Receiver::start(|_| status(200));
    let (deliveries, mut results) = start(&(slack("hanging", &hanging) + &slack("good", &good)));
    let started = Instant::now();
    for number in 0..5 {
        deliveries.deliver("hanging", firing(number));
        deliveries.deliver("good", firing(number));
    }
    for _ in 0..5 {
        let delivered = next(&mut results).await;
        assert_eq!((delivered.receiver.as_str(), delivered.result), ("good", Ok(())));
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(deliveries.status()["good"].sent, 5);
    assert_eq!(deliveries.status()["hanging"].waiting, 4);
    let stopping = Instant::now();
    deliveries.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
}

#[tokio::test]
async fn failure_that_passes_is_tried_again_and_reported() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = Receiver::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => status(503),
        _ => status(200),
    });
    let (deliveries, mut results) = start(&slack("team", &server));
    deliveries.deliver("team", firing(7));
    let first = next(&mut results).await;
    let failure = first.result.unwrap_err();
    assert!(failure.message.contains("503") && !failure.is_final, "{failure:?}");
    assert!(deliveries.status()["team"].last_error.as_ref().unwrap().contains("503"));
    let second = next(&mut results).await;
    assert_eq!((second.result, second.fingerprints[0].0), (Ok(()), 7));
    let status = deliveries.status().remove("team").unwrap();
    assert_eq!((status.sent, status.failed, status.last_error), (1, 0, None));
    deliveries.stop().await;
}

#[tokio::test]
async fn muted_bot_is_left_alone() {
    let server = Receiver::start(|_| {
        CannedResponse::Whole(200, Vec::new(), r#"{"errcode":130101,"errmsg":"send too fast"}"#.to_owned())
    });
    let line = format!("ding = {{ type = \"dingtalk\", url = \"http://127.0.0.1:{}/x\" }}\n", server.port());
    let (deliveries, mut results) = start(&line);
    deliveries.deliver("ding", firing(1));
    let failure = next(&mut results).await.result.unwrap_err();
    assert!(failure.message.contains("130101: send too fast") && !failure.is_final, "{failure:?}");
    deliveries.deliver("ding", firing(2));
    let status = deliveries.status().remove("ding").unwrap();
    assert!(status.muted_until.is_some() && status.waiting == 1, "{status:?}");
    assert_eq!(server.requests().len(), 1);
    deliveries.stop().await;
}

#[tokio::test]
async fn end_sends_what_waits_once() {
    let server = Receiver::start(|_| status(200));
    let (deliveries, mut results) = start(&slack("team", &server));
    deliveries.deliver("team", firing(1));
    deliveries.deliver("team", resolved(1));
    deliveries.stop().await;
    assert_eq!(server.requests().len(), 2);
    for _ in 0..2 {
        assert_eq!(next(&mut results).await.result, Ok(()));
    }
}

#[tokio::test]
async fn too_many_messages_drop_repeats_and_are_counted() {
    let server = Receiver::start(|_| CannedResponse::Never);
    let (deliveries, mut results) = start(&slack("team", &server));
    deliveries.deliver("team", resolved(1_000));
    for number in 0..150 {
        deliveries.deliver("team", firing(number));
    }
    let status = deliveries.status().remove("team").unwrap();
    assert!(status.waiting <= 100 && status.dropped >= 50, "{status:?}");
    let failure = next(&mut results).await.result.unwrap_err();
    assert!(failure.message.starts_with("dropped: too many messages wait"), "{failure:?}");
    deliveries.stop().await;
}
