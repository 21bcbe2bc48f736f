//! The conditions under which the reaper trusts expired leases.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::store::redis::{Options, RedisStore};
use aint_queue::store::{Reap, Store, StoreError};
use tokio::time::Instant;

use super::{CHANNEL, connect, key, send};
use crate::fixture::{Master, job};
use crate::support::redis::Server;
use crate::support::until_async;

async fn open(server: &Server, lease: Duration) -> Arc<dyn Store> {
    let options = Options { lease, ..Options::default() };
    Arc::new(RedisStore::connect_with(&server.config(), CHANNEL, options).await.unwrap())
}

#[tokio::test]
async fn reaper_needs_a_third_of_a_lease_connected() {
    let server = Server::start();
    let dying = open(&server, Duration::from_millis(1)).await;
    dying.push(&[job("a")]).await.unwrap();
    let mut master = Master::join(&dying).await;
    master.lease(1).await;

    let lease = Duration::from_millis(4500);
    let begin = Instant::now();
    let reaper = open(&server, lease).await;
    until_async("the dead owner to be reaped", async || reaper.reap(Reap::Expired).await.unwrap() > 0).await;
    assert!(begin.elapsed() >= lease / 3, "{:?}", begin.elapsed());
    assert!(matches!(master.turn(&[], 1).await, Err(StoreError::Lost)));
}

#[tokio::test]
async fn fresh_server_gives_masters_time_to_return() {
    let server = Server::start();
    let options = Options { reap_delay: Some(Duration::from_secs(3600)), ..Options::default() };
    let store = RedisStore::connect_with(&server.config(), CHANNEL, options).await.unwrap();
    let owner = store.join().await.unwrap();
    send(&server, &["ZADD", &key("owners"), "0", owner.as_str()]);
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 0);
    store.held(&owner, 1).await.expect("it was not reaped");
    // An owner known to be dead is reaped at once.
    assert_eq!(store.reap(Reap::Owner(&owner)).await.unwrap(), 0);
    assert!(matches!(store.held(&owner, 2).await, Err(StoreError::Lost)));
}

#[tokio::test]
async fn interrupted_leave_frees_jobs_uncounted() {
    let server = Server::start();
    let store: Arc<dyn Store> = Arc::new(connect(&server.config()).await.unwrap());
    store.push(&[job("a"), job("b")]).await.unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.lease(2).await;
    // The state after a leave that was interrupted behind its first step.
    send(&server, &["ZADD", &key("dead"), "0", master.owner.as_str()]);
    send(&server, &["ZREM", &key("owners"), master.owner.as_str()]);
    assert_eq!(store.reap(Reap::Owner(&master.owner)).await.unwrap(), 2);
    let mut next = Master::join(&store).await;
    let again = next.lease(2).await;
    assert_eq!(again, leased, "in order, and lost is not raised");
}
