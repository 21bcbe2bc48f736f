//! The two keys of kept done jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::store::redis::{Options, RedisStore};
use aint_queue::store::{Destination, KeptJob, KeptLimits, KeptTrim, Settlement, Store, StoreError};

use super::key;
use crate::fixture::{Master, done, end, job};
use crate::support::redis::Server;

const DAY: Duration = Duration::from_secs(86_400);

async fn open(server: &Server) -> Arc<dyn Store> {
    Arc::new(RedisStore::connect_with(&server.config(), "test", Options::default()).await.unwrap())
}

fn send(server: &Server, command: &[&str]) -> redis::Value {
    redis::cmd(command[0]).arg(&command[1..]).query(&mut server.connection()).unwrap()
}

/// The keys of kept jobs that exist.
fn keys(server: &Server) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg(key("kept*")).query(&mut server.connection()).unwrap();
    keys.sort_unstable();
    keys
}

/// Leases one job and ends it as kept.
async fn lease_one(store: &Arc<dyn Store>, master: &mut Master, limits: KeptLimits) -> Settlement {
    store.push(&[job("a")]).await.unwrap();
    let leased = master.lease(1).await;
    let kept = KeptJob::new("{}", limits).unwrap();
    end(&leased[0], |_| Destination::Kept(Box::new(kept)))
}

#[tokio::test]
async fn keys_exist_only_while_jobs_are_kept() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    store.push(&[job("a")]).await.unwrap();
    let leased = master.lease(1).await;
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
    assert_eq!((keys(&server), store.trim_kept().await.unwrap()), (vec![], KeptTrim::default()));
    let short = KeptLimits { count: 9, age: Duration::from_millis(20) };
    let kept = lease_one(&store, &mut master, short).await;
    assert_eq!(master.settle(&[kept]).await, []);
    assert_eq!(keys(&server), [key("kept"), key("kept:texts")]);
    tokio::time::sleep(2 * short.age).await;
    assert_eq!(store.trim_kept().await.unwrap(), KeptTrim { removed: 1, left: 0 });
    assert_eq!(keys(&server), [""; 0]);
}

/// The number of calls of each command since the last reset, those of scripts included.
fn commands(server: &Server) -> BTreeMap<String, u64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let calls = |line: &str| {
        let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), numbers.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(calls).collect()
}

#[tokio::test]
async fn turn_that_keeps_nothing_makes_no_command_for_it() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let kept = lease_one(&store, &mut master, KeptLimits { count: 9, age: DAY }).await;
    send(&server, &["CONFIG", "RESETSTAT"]);
    assert_eq!(master.settle(&[kept]).await, []);
    let with = commands(&server);
    store.push(&[job("a")]).await.unwrap();
    let leased = master.lease(1).await;
    send(&server, &["CONFIG", "RESETSTAT"]);
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
    let without = commands(&server);
    for trims in ["zcard", "zcount", "hmset"] {
        assert!(!without.contains_key(trims), "{trims}: {without:?}");
    }
    assert!(with.contains_key("zcard") && with.contains_key("zcount"), "{with:?}");
    // The channel's 15 keys and its reserved set.
    assert_eq!((without["type"], with["type"]), (16, 19));
}

#[tokio::test]
async fn foreign_type_stops_the_settlement_without_loss() {
    for (name, foreign) in [("kept", ["SET", "x"]), ("kept:texts", ["SADD", "x"])] {
        let server = Server::start();
        let store = open(&server).await;
        let mut master = Master::join(&store).await;
        let kept = lease_one(&store, &mut master, KeptLimits { count: 9, age: DAY }).await;
        send(&server, &[foreign[0], &key(name), foreign[1]]);
        let id = kept.id;
        let Err(StoreError::Corrupt { detail, .. }) = master.turn(std::slice::from_ref(&kept), 0).await
        else {
            panic!("a foreign {name} is refused");
        };
        assert!(detail.contains(&key(name)), "{detail}");
        for read in [
            store.kept(None, 9).await.map(drop),
            store.kept_job(id).await.map(drop),
            store.trim_kept().await.map(drop),
        ] {
            assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
        }
        send(&server, &["DEL", &key(name)]);
        assert_eq!(master.held().await, [id]);
        assert_eq!(master.settle(&[kept]).await, []);
        assert_eq!(store.kept(None, 9).await.unwrap().jobs[0].id, id);
    }
}

#[tokio::test]
async fn entries_of_other_programs_are_left_out() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let kept = lease_one(&store, &mut master, KeptLimits { count: 9, age: DAY }).await;
    let id = kept.id;
    assert_eq!(master.settle(&[kept]).await, []);
    // An id without a text, a text without an id, and an id that is none.
    let late = (id.0 + 9_000_000).to_string();
    send(&server, &["ZADD", &key("kept"), &late, "17", &late, "x"]);
    send(&server, &["HSET", &key("kept:texts"), "x", "{}", "19", "{}"]);
    let page = store.kept(None, 9).await.unwrap();
    assert_eq!((page.jobs.len(), page.jobs[0].id, page.next), (1, id, None));
    assert_eq!(store.kept_job(aint_queue::job::JobId(17)).await.unwrap(), None);
    assert_eq!(store.kept_job(aint_queue::job::JobId(19)).await.unwrap(), None);
}
