//! A prefix of all keys: two applications in one database.

use std::sync::Arc;

use aint_queue::config::{Redis, Secret};
use aint_queue::job::JobId;
use aint_queue::store::{Claim, ClaimKind, Clear, JobState, LimitDecision, Pushed, Reap, Store, StoreError};

use super::{CHANNEL_KEYS, connect, everything, send};
use crate::fixture::{Master, done, failed, job, unique, unique_for};
use crate::support::redis::Server;

/// The script for producers.
const SCRIPT: &str = include_str!("../../../examples/redis/push.lua");

fn with_prefix(server: &Server, prefix: &str) -> Redis {
    Redis { prefix: prefix.to_owned(), ..server.config() }
}

async fn open(config: &Redis) -> Arc<dyn Store> {
    Arc::new(connect(config).await.unwrap())
}

/// Adds a user with the keys and commands of the documentation, behind a prefix.
fn add_user(server: &Server, prefix: &str) {
    let documented = include_str!("../../../docs/operations.md");
    let start = documented.find("~aint-queue:*").unwrap();
    let rules = documented[start..].split("```").next().unwrap();
    let rules = rules.replace('~', &format!("~{prefix}"));
    let mut parts = vec!["ACL", "SETUSER", "shop", "on", ">secret"];
    parts.extend(rules.split_whitespace());
    send(server, &parts);
}

#[tokio::test]
async fn prefixes_separate_applications_in_one_database() {
    let server = Server::start();
    add_user(&server, "shop:");
    let shop = Redis {
        username: Some("shop".into()),
        password: Some(Secret::new("secret")),
        ..with_prefix(&server, "shop:")
    };
    let (here, there) = (open(&shop).await, open(&server.config()).await);
    // Everything that makes a key, by a user who may use no others.
    let jobs =
        [job("a"), unique("b", "k"), unique_for("c", "t", std::time::Duration::from_secs(60)), job("d")];
    let ids: Vec<_> = here.push(&jobs).await.unwrap().iter().map(|pushed| pushed.id()).collect();
    let mut master = Master::join(&here).await;
    let leased = master.lease_exactly(&ids[..3]).await;
    let kind = ClaimKind::Rate { count: 1, burst: 1, per: std::time::Duration::from_secs(60) };
    let rate = Claim { id: ids[0], key: "r".into(), kind };
    let lock = Claim { kind: ClaimKind::Lock { limit: 1 }, ..rate.clone() };
    assert_eq!(here.claim(&master.owner, &[rate, lock]).await.unwrap(), [LimitDecision::Granted; 2]);
    assert_eq!(master.settle(&[failed(&leased[0]), done(&leased[1])]).await, []);
    assert_eq!(here.reap(Reap::Owner(&master.owner)).await.unwrap(), 1);
    assert_eq!(here.get(ids[2]).await.unwrap().unwrap().state, JobState::Waiting);
    assert_eq!(
        here.clear(Clear { waiting: true, failed: true, ..Clear::default() }).await.unwrap().waiting,
        2
    );
    let keys: Vec<_> = everything(&server).into_keys().collect();
    assert!(keys.iter().all(|key| key.starts_with("shop:aint-queue:{test}:")), "{keys:?}");

    assert_eq!(there.holder("t").await.unwrap(), None);
    let theirs = there.push(&[unique("x", "k"), unique("y", "t")]).await.unwrap();
    assert!(theirs.iter().all(|pushed| matches!(pushed, Pushed::Added(_))), "{theirs:?}");
    assert_eq!((there.status().await.unwrap().waiting, here.status().await.unwrap().total()), (2, 1));
    let refused = connect(&Redis { prefix: "other:".into(), ..shop }).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn producer_script_pushes_behind_a_prefix() {
    let server = Server::start();
    let store = open(&with_prefix(&server, "shop:eu/")).await;
    let keys = |prefix: &str| CHANNEL_KEYS.map(|name| format!("{prefix}aint-queue:{{test}}:{name}"));
    let push = |keys: &[String], name: &str, options: &str| {
        let mut call = redis::cmd("EVAL");
        call.arg(SCRIPT).arg(keys.len()).arg(keys).arg(name).arg("1").arg(options);
        call.query::<(u64, u64)>(&mut server.connection())
    };
    let (id, added) = push(&keys("shop:eu/"), r"app\job\Mail@send", "{}").unwrap();
    assert_eq!(added, 1);
    assert_eq!(store.get(JobId(id)).await.unwrap().unwrap().meta.job, r"app\job\Mail@send");
    let with_key = [keys("shop:eu/").to_vec(), vec!["shop:eu/aint-queue:{test}:unique:k".into()]].concat();
    let (id, _) = push(&with_key, "module/Job1", r#"{"unique":"k"}"#).unwrap();
    assert_eq!(store.holder("k").await.unwrap(), Some(JobId(id)));
    assert_eq!(push(&with_key, "module/Job1", r#"{"unique":"k"}"#).unwrap(), (id, 0));
    for (prefix, name) in
        [("{shop}:", "a"), ("a b:", "a"), ("", "../a"), ("", "a//b"), ("", "/a"), ("", "a/.")]
    {
        let error = push(&keys(prefix), name, "{}").unwrap_err().to_string();
        assert!(error.contains("AINTARG"), "{prefix} {name}: {error}");
    }
}
