//! The blocking wait: fast, and independent of other calls.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::store::Store;
use tokio::time::{Instant, timeout};

use super::{blocked_clients, open, until_blocked};
use crate::fixture::{Master, job};
use crate::support::redis::Server;

const LONG: Duration = Duration::from_secs(20);

/// Starts waits and abandons them until one has reached the server.
async fn start_and_abandon_wait(server: &Server, store: &Arc<dyn Store>) {
    while blocked_clients(server) == 0 {
        assert!(timeout(Duration::from_millis(20), store.wait(LONG)).await.is_err());
    }
}

#[tokio::test]
async fn push_from_another_connection_wakes_within_50_ms() {
    let server = Server::start();
    let (idle, other) = (open(&server).await, open(&server).await);
    let mut master = Master::join(&idle).await;
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
    // The median: a single delay may be caused by the machine.
    delays.sort_unstable();
    assert!(delays[7] < Duration::from_millis(50), "{delays:?}");
}

#[tokio::test]
async fn abandoned_wait_leaves_its_token() {
    let server = Server::start();
    let store = open(&server).await;
    start_and_abandon_wait(&server, &store).await;
    // The pending `BLPOP` takes the token of this push.
    store.push(&[job("a")]).await.unwrap();
    until_blocked(&server, 0).await;
    timeout(Duration::from_secs(5), store.wait(LONG)).await.expect("the token is not lost").unwrap();
}

#[tokio::test]
async fn abandoned_waits_share_one_blocking_call() {
    let server = Server::start();
    let store = open(&server).await;
    start_and_abandon_wait(&server, &store).await;
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(2), store.wait(LONG)).await.is_err());
    }
    assert_eq!(blocked_clients(&server), 1);
}

#[tokio::test]
async fn dropped_store_takes_no_token() {
    let server = Server::start();
    let (gone, idle) = (open(&server).await, open(&server).await);
    start_and_abandon_wait(&server, &gone).await;
    drop(gone);
    until_blocked(&server, 0).await;
    idle.push(&[job("a")]).await.unwrap();
    timeout(Duration::from_secs(5), idle.wait(LONG)).await.unwrap().unwrap();
}

#[tokio::test]
async fn released_jobs_wake_the_next_master() {
    let server = Server::start();
    let (first, second) = (open(&server).await, open(&server).await);
    let jobs: Vec<_> = (0..10).map(|n| job(&format!("j{n}"))).collect();
    first.push(&jobs).await.unwrap();
    first.wait(LONG).await.unwrap();
    let mut master = Master::join(&first).await;
    assert_eq!(master.lease(4).await.len(), 4);
    timeout(Duration::from_secs(5), second.wait(LONG)).await.expect("six jobs are left").unwrap();
    // A turn without free slots must not wake any master, itself included.
    master.turn(&[], 0).await.unwrap();
    let begin = Instant::now();
    first.wait(Duration::from_millis(100)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(95));
}

#[tokio::test]
async fn zero_wait_returns_at_once() {
    let server = Server::start();
    let store = open(&server).await;
    timeout(Duration::from_secs(5), store.wait(Duration::ZERO)).await.unwrap().unwrap();
    timeout(Duration::from_secs(5), store.wait(Duration::from_micros(10))).await.unwrap().unwrap();
}

#[tokio::test]
async fn timed_out_wait_leaves_no_blocking_call() {
    let server = Server::start();
    let store = open(&server).await;
    for _ in 0..20 {
        store.wait(Duration::from_millis(15)).await.unwrap();
        assert_eq!(blocked_clients(&server), 0);
    }
}
