//! The blocking wait: quick, and never in the way of others.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{open, send};
use crate::harness::{Master, job};
use crate::support::redis::Server;

const LONG: Duration = Duration::from_secs(20);

/// Returns once `count` clients stand in a blocking call.
async fn until_blocked(server: &Server, count: usize) {
    let wanted = format!("blocked_clients:{count}\r");
    loop {
        let redis::Value::BulkString(info) = send(server, &["INFO", "clients"]) else { panic!() };
        if String::from_utf8(info).unwrap().contains(&wanted) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_push_from_another_connection_wakes_within_50_ms() {
    let server = Server::start();
    let (idle, other) = (open(&server).await, open(&server).await);
    let mut master = Master::on(&idle).await;
    let mut delays = Vec::new();
    for _ in 0..15 {
        let waiting = tokio::spawn({
            let idle = idle.clone();
            async move {
                idle.wait(LONG).await.unwrap();
                Instant::now()
            }
        });
        until_blocked(&server, 1).await;
        let pushed = Instant::now();
        other.push(&[job("a")]).await.unwrap();
        delays.push(waiting.await.unwrap() - pushed);
        master.lease(5).await;
    }
    // The middle one: a single delay may be the machine's.
    delays.sort_unstable();
    assert!(delays[7] < Duration::from_millis(50), "{delays:?}");
}

#[tokio::test]
async fn a_wait_given_up_leaves_its_token_to_the_next_wait() {
    let server = Server::start();
    let store = open(&server).await;
    assert!(timeout(Duration::from_millis(50), store.wait(LONG)).await.is_err());
    until_blocked(&server, 1).await;
    // The question is still asked, so it takes the token of this push.
    store.push(&[job("a")]).await.unwrap();
    until_blocked(&server, 0).await;
    timeout(Duration::from_secs(5), store.wait(LONG)).await.expect("the token is not lost").unwrap();
}

#[tokio::test]
async fn many_waits_given_up_ask_one_question_on_one_connection() {
    let server = Server::start();
    let store = open(&server).await;
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(2), store.wait(LONG)).await.is_err());
    }
    until_blocked(&server, 1).await;
}

#[tokio::test]
async fn a_store_that_is_gone_takes_no_token_from_others() {
    let server = Server::start();
    let (gone, idle) = (open(&server).await, open(&server).await);
    assert!(timeout(Duration::from_millis(50), gone.wait(LONG)).await.is_err());
    until_blocked(&server, 1).await;
    drop(gone);
    until_blocked(&server, 0).await;
    idle.push(&[job("a")]).await.unwrap();
    timeout(Duration::from_secs(5), idle.wait(LONG)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_one_master_leaves_behind_wakes_the_next() {
    let server = Server::start();
    let (first, second) = (open(&server).await, open(&server).await);
    let jobs: Vec<_> = (0..10).map(|n| job(&format!("j{n}"))).collect();
    first.push(&jobs).await.unwrap();
    first.wait(LONG).await.unwrap();
    let mut master = Master::on(&first).await;
    assert_eq!(master.lease(4).await.len(), 4);
    timeout(Duration::from_secs(5), second.wait(LONG)).await.expect("six jobs are left").unwrap();
    // Having no free slot is no reason to wake anybody, least of all oneself.
    master.turn(&[], 0).await.unwrap();
    let begin = Instant::now();
    first.wait(Duration::from_millis(100)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(95));
}

#[tokio::test]
async fn a_wait_of_no_time_returns_at_once() {
    let server = Server::start();
    let store = open(&server).await;
    timeout(Duration::from_secs(5), store.wait(Duration::ZERO)).await.unwrap().unwrap();
    timeout(Duration::from_secs(5), store.wait(Duration::from_micros(10))).await.unwrap().unwrap();
}
