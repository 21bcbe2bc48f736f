//! Redis: one server for the whole run, separate channels for each fixture.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use aint_queue::config::Secret;
use aint_queue::job::JobId;
use aint_queue::store::redis::{Options, RedisStore};
use aint_queue::store::{Clear, Cleared, Owner, Store};
use async_trait::async_trait;

use crate::fixture::Driver;
use crate::support::redis::Server;

/// The server; its watchdog ends it with the test process.
static SERVER: OnceLock<Server> = OnceLock::new();
static FIXTURES: AtomicUsize = AtomicUsize::new(0);

struct OnServer {
    fixture: usize,
    /// A server of this fixture alone, whose clock the test steps.
    own: Option<Server>,
    /// Treat the server as older than Redis 7, and connect as a user with the minimum of permissions.
    modest: bool,
}

/// The minimum of permissions for the driver; `INFO` and `CONFIG GET` add information only.
const PERMISSIONS: &str = "~aint-queue:* ~aint-queue-fleet:* resetchannels -@all +select +evalsha +script|load +blpop +smembers +type +time \
    +get +set +exists +rename +hget +hset +hmget +hdel +hexists +hlen +hscan +hstrlen +hkeys +hincrby +lrange +lpush +rpush +ltrim \
    +llen +lpos +lrem +sadd +srem +scard +sismember +smismember +zadd +zrem +zscore +zcard +zcount +zrange \
    +zrangebyscore +zrevrange +zlexcount +zrandmember";

#[test]
fn permissions_match_the_documentation() {
    for document in [
        include_str!("../../../docs/operations.md"),
        include_str!("../../../crates/core/src/store/redis/mod.rs"),
    ] {
        let start = document.find("~aint-queue:*").unwrap();
        let told = document[start..].split("```").next().unwrap();
        let told: Vec<_> = told.split_whitespace().filter(|word| *word != "//!").collect();
        assert_eq!(told, PERMISSIONS.split_whitespace().collect::<Vec<_>>());
    }
}

/// The driver with all features.
pub async fn start() -> Box<dyn Driver> {
    Box::new(OnServer::new(None, false))
}

/// The driver on an older server, with a restricted user.
pub async fn start_modest() -> Box<dyn Driver> {
    Box::new(OnServer::new(None, true))
}

/// The driver with all features, on a server whose clock can be stepped.
pub async fn start_with_clock() -> Box<dyn Driver> {
    Box::new(OnServer::new(Some(Server::start_with_clock()), false))
}

/// Like [`start_modest`], on a server whose clock can be stepped.
pub async fn start_modest_with_clock() -> Box<dyn Driver> {
    let server = Server::start_with_clock();
    add_worker(&server);
    Box::new(OnServer::new(Some(server), true))
}

impl OnServer {
    fn new(own: Option<Server>, modest: bool) -> Self {
        Self { fixture: FIXTURES.fetch_add(1, Ordering::Relaxed), own, modest }
    }

    fn server(&self) -> &Server {
        self.own.as_ref().unwrap_or_else(|| server())
    }

    fn channel(&self, channel: &str) -> String {
        format!("w{}.{channel}", self.fixture)
    }

    /// Manipulates stored data as only tests do.
    fn redis_command(&self, channel: &str, key: &str, command: &str, args: &[&str]) {
        let key = format!("aint-queue:{{{}}}:{key}", self.channel(channel));
        let mut connection = self.server().connection();
        redis::cmd(command).arg(key).arg(args).exec(&mut connection).unwrap();
    }
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let server = Server::start();
        add_worker(&server);
        server
    })
}

/// Adds a user with the minimum of permissions.
fn add_worker(server: &Server) {
    let mut rules = vec!["SETUSER", "worker", "on", ">secret"];
    rules.extend(PERMISSIONS.split_whitespace());
    redis::cmd("ACL").arg(rules).exec(&mut server.connection()).unwrap();
}

#[async_trait]
impl Driver for OnServer {
    async fn open(&self, channel: &str) -> Arc<dyn Store> {
        let options = Options {
            lease: Duration::from_secs(600),
            reap_delay: Some(Duration::ZERO),
            script_flags: self.modest.then_some(false),
        };
        let mut config = self.server().config();
        if self.modest {
            config.username = Some("worker".into());
            config.password = Some(Secret::new("secret"));
        }
        Arc::new(RedisStore::connect_with(&config, &self.channel(channel), options).await.unwrap())
    }

    async fn expire_lease(&self, channel: &str, owner: &Owner) {
        self.redis_command(channel, "owners", "ZADD", &["XX", "0", owner.as_str()]);
    }

    async fn pass(&self, time: Duration) {
        // The server's clock cannot be moved, so the test sleeps.
        tokio::time::sleep(time).await;
    }

    async fn step_clock(&self, micros: i64) {
        self.server().step_clock(micros);
    }

    async fn corrupt_record(&self, channel: &str, id: JobId, text: &str) {
        self.redis_command(channel, "records", "HSET", &[&id.to_string(), text]);
    }

    async fn delete_record(&self, channel: &str, id: JobId) {
        self.redis_command(channel, "records", "HDEL", &[&id.to_string()]);
    }

    async fn cut_clear(&self, channel: &str, store: &Arc<dyn Store>, which: Clear) -> Option<Cleared> {
        let states = [
            (which.waiting, "waiting"),
            (which.waiting, "waiting:high"),
            (which.waiting, "waiting:low"),
            (which.delayed, "delayed"),
            (which.failed, "failed"),
        ];
        let key = |name: &str| format!("aint-queue:{{{}}}:{name}", self.channel(channel));
        let keys: Vec<_> =
            states.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| key(name)).collect();
        let mut connection = self.server().connection();
        let mut is_begun =
            || keys.is_empty() || redis::cmd("EXISTS").arg(&keys).query::<u32>(&mut connection).unwrap() == 0;
        let mut clear = store.clear(which);
        // The clear sends at most one call per poll, and its first one renames the keys.
        std::future::poll_fn(|context| match clear.as_mut().poll(context) {
            Poll::Ready(cleared) => Poll::Ready(Some(cleared.unwrap())),
            Poll::Pending if is_begun() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    async fn forget_last_id(&self, channel: &str) {
        self.redis_command(channel, "stats", "HDEL", &["last_id"]);
    }
}
