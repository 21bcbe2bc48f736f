//! Outages of the server.

use std::time::Duration;

use aint_queue::store::{Reap, Store, StoreError};
use tokio::time::Instant;

use super::proxy::Proxy;
use super::{connect, open, send, until_blocked, until_it_works};
use crate::fixture::{Master, done, job};
use crate::support::redis::{Server, at};
use crate::support::until_async;

fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn killed_server_is_unavailable_until_restart() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = open(&server).await;
    store.push(&[job("a"), job("b"), job("c")]).await.unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.lease(2).await;
    server.kill();
    for _ in 0..3 {
        assert_unavailable(store.status().await);
        assert_unavailable(store.wait(Duration::from_secs(1)).await);
    }
    server.restart();
    let back = Instant::now();
    let status = until_it_works(Duration::from_secs(2), async || store.status().await).await;
    assert!(back.elapsed() < Duration::from_secs(2));
    assert_eq!((status.waiting, status.reserved), (1, 2));
    // The owner survives, and an outage alone leads to no reaping.
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 0);
    assert_eq!(master.held().await, [leased[0].id, leased[1].id]);
    assert_eq!(master.settle(&[done(&leased[0]), done(&leased[1])]).await, []);
    store.wait(Duration::from_millis(20)).await.unwrap();
    assert_eq!(master.lease(5).await.len(), 1);
}

#[tokio::test]
async fn wait_notices_server_death() {
    let mut server = Server::start();
    let store = open(&server).await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait(Duration::from_secs(60)).await }
    });
    until_blocked(&server, 1).await;
    server.kill();
    assert_unavailable(tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap());
}

#[tokio::test]
async fn timed_out_connection_is_discarded() {
    let server = Server::start();
    let proxy = Proxy::to(server.config().port).await;
    let mut config = at(proxy.port());
    config.read_write_timeout = Duration::from_secs(1);
    let store = connect(&config).await.unwrap();
    assert_eq!(proxy.connections(), 1);
    proxy.stall(true);
    let begin = Instant::now();
    assert_unavailable(store.status().await);
    assert!(begin.elapsed() >= Duration::from_millis(990) && begin.elapsed() < Duration::from_secs(10));
    proxy.stall(false);
    // The late reply to the first call must not be taken for the reply to this one.
    store.push(&[job("a")]).await.unwrap();
    assert_eq!(store.status().await.unwrap().waiting, 1);
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn concurrent_callers_share_one_connection() {
    let server = Server::start();
    let proxy = Proxy::to(server.config().port).await;
    let store = std::sync::Arc::new(connect(&at(proxy.port())).await.unwrap());
    send(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        // Each call may meet the cut connection once.
        calls.spawn(async move {
            if store.status().await.is_err() {
                store.status().await.unwrap();
            }
        });
    }
    calls.join_all().await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn killed_connections_are_replaced() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    for _ in 0..20 {
        send(&server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        until_it_works(Duration::from_secs(2), async || master.turn(&[], 0).await).await;
    }
}

#[tokio::test]
async fn flushed_scripts_are_reloaded() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    for _ in 0..3 {
        send(&server, &["SCRIPT", "FLUSH"]);
        let id = store.push(&[job("a")]).await.unwrap()[0].id();
        send(&server, &["SCRIPT", "FLUSH"]);
        let leased = master.lease_exactly(&[id]).await;
        assert_eq!(master.settle(&[done(&leased[0])]).await, []);
    }
    assert_eq!(store.status().await.unwrap().done, 3);
}

#[tokio::test]
async fn replica_is_unavailable_until_promoted() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    send(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    assert_unavailable(master.turn(&[], 1).await);
    assert_unavailable(store.pause(None).await.map(drop));
    send(&server, &["REPLICAOF", "NO", "ONE"]);
    assert_eq!(master.turn(&[], 1).await.unwrap().held, 0);
}

#[tokio::test]
async fn server_lacking_replicas_or_disk_is_unavailable() {
    let server = Server::start();
    let store = open(&server).await;
    send(&server, &["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_unavailable(store.pause(None).await.map(drop));
    send(&server, &["CONFIG", "SET", "min-replicas-to-write", "0"]);
    store.pause(None).await.unwrap();
}

#[tokio::test]
async fn server_busy_with_script_is_unavailable() {
    let server = Server::start_with(&["--lua-time-limit", "20"]);
    let store = open(&server).await;
    let mut foreign = server.connection();
    let busy = std::thread::spawn(move || {
        let endless: Result<(), _> = redis::cmd("EVAL").arg("while true do end").arg(0).query(&mut foreign);
        endless.unwrap_err()
    });
    // Until the time limit of scripts is over the server answers nobody; then it answers BUSY.
    let error = until_async("a server that is busy", async || store.status().await.err()).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("BUSY"), "{source}");
    send(&server, &["SCRIPT", "KILL"]);
    busy.join().unwrap();
    store.status().await.unwrap();
}

#[tokio::test]
async fn server_at_max_clients_is_unavailable() {
    let server = Server::start();
    // Opened beforehand, as the server accepts no connection during the script.
    let mut admin = server.connection();
    redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).exec(&mut admin).unwrap();
    assert_unavailable(connect(&server.config()).await);
    redis::cmd("CONFIG").arg(&["SET", "maxclients", "100"]).exec(&mut admin).unwrap();
    connect(&server.config()).await.unwrap();
}
