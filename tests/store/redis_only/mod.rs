//! Redis only: foreign keys, memory, outages, lost replies, permissions.

mod access;
mod batches;
mod claims;
mod foreign_entries;
mod foreign_types;
mod ids;
mod kept;
mod layouts;
mod lost_reply;
mod memory;
mod outage;
mod prefix;
mod priorities;
#[path = "../../support/proxy.rs"]
mod proxy;
mod reaper;
mod summaries;
mod wakeups;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::config;
use aint_queue::store::redis::{Options, RedisStore};
use aint_queue::store::{Store, StoreError};

use crate::support::redis::Server;
use crate::support::until_async;

/// The channel of these tests; each test has its own server.
const CHANNEL: &str = "test";

/// The keys of a channel, in the order of the script.
const CHANNEL_KEYS: [&str; 15] = [
    "schema",
    "records",
    "waiting",
    "delayed",
    "failed",
    "owners",
    "dead",
    "seqs",
    "stats",
    "unique",
    "notify",
    "clearing",
    "waiting:high",
    "waiting:low",
    "locks",
];

/// The name of one of the channel's keys.
fn key(name: &str) -> String {
    format!("aint-queue:{{{CHANNEL}}}:{name}")
}

async fn connect(config: &config::Redis) -> Result<RedisStore, StoreError> {
    RedisStore::connect(config, CHANNEL).await
}

/// A store on this server, with the options of the fixture.
async fn open(server: &Server) -> Arc<dyn Store> {
    Arc::new(connect(&server.config()).await.unwrap())
}

/// A store that treats the server as one without script flags.
async fn open_plain(server: &Server) -> Arc<dyn Store> {
    let options = Options { script_flags: Some(false), ..Options::default() };
    Arc::new(RedisStore::connect_with(&server.config(), CHANNEL, options).await.unwrap())
}

/// Sends one command without the driver.
fn send(server: &Server, parts: &[&str]) -> redis::Value {
    let mut cmd = redis::cmd(parts[0]);
    cmd.arg(&parts[1..]).query(&mut server.connection()).unwrap()
}

/// The data of the server in a comparable form.
fn everything(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut connection = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let mut all = BTreeMap::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
        let (command, args): (_, &[&str]) = match kind.as_str() {
            "string" => ("MGET", &[]),
            "hash" => ("HGETALL", &[]),
            "list" => ("LRANGE", &["0", "-1"]),
            "set" => ("SMEMBERS", &[]),
            "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
            other => panic!("a {other} under {key}"),
        };
        let mut values: Vec<String> = redis::cmd(command).arg(&key).arg(args).query(&mut connection).unwrap();
        if kind == "hash" {
            let mut pairs: Vec<_> = values.chunks(2).map(|pair| pair.join(" = ")).collect();
            pairs.sort_unstable();
            values = pairs;
        } else if kind == "set" {
            values.sort_unstable();
        }
        values.insert(0, kind);
        all.insert(key, values);
    }
    all
}

/// Calls until the store is available again, which may take no longer than `limit`.
async fn until_it_works<T>(limit: Duration, mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let begun = std::time::Instant::now();
    let value = until_async("the store to be available", async || match call().await {
        Err(error) if !matches!(error, StoreError::Unavailable { .. }) => panic!("{error:?}"),
        outcome => outcome,
    })
    .await;
    assert!(begun.elapsed() <= limit, "{:?} until the store was available", begun.elapsed());
    value
}

/// Number of clients in a blocking call.
fn blocked_clients(server: &Server) -> usize {
    let redis::Value::BulkString(info) = send(server, &["INFO", "clients"]) else { panic!("INFO is text") };
    let info = String::from_utf8(info).unwrap();
    info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().trim().parse().unwrap()
}

/// Returns once `count` clients are in a blocking call.
async fn until_blocked(server: &Server, count: usize) {
    until_async("the blocking calls", async || blocked_clients(server) == count).await;
}
