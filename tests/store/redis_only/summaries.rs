//! Summaries of masters: a key that producers may not write, and that holds up no job when it is not as it should be.

use std::sync::Arc;

use aint_queue::config::{Redis, Secret};
use aint_queue::store::{OwnerView, Store, StoreError, Summary, Turn};

use super::{CHANNEL, connect, everything, key, open, send};
use crate::fixture::{Master, done, job, record};
use crate::support::redis::Server;

const SUMMARIES: &str = "aint-queue-fleet:{test}:summaries";

/// A turn that publishes and leases up to one job.
async fn publish(master: &mut Master, text: &str) -> Result<usize, StoreError> {
    let (summary, seq) = (Summary::new(text).unwrap(), master.next());
    let turn = Turn {
        owner: &master.owner,
        seq,
        settlements: &[],
        releases: &[],
        want: 1,
        max_bytes: usize::MAX,
        overdue: None,
        publish: Some(&summary),
    };
    let leased = master.store.turn(turn).await?.leased;
    for leased in &leased {
        assert_eq!(master.settle(&[done(&record(leased.clone()))]).await, []);
    }
    Ok(leased.len())
}

fn add_user(server: &Server, name: &str, rules: &str) {
    let mut parts = vec!["ACL", "SETUSER", name, "on", ">secret"];
    parts.extend(rules.split_whitespace());
    send(server, &parts);
}

/// Adds a user with these rules; returns a store that connects as this user.
async fn as_user(server: &Server, name: &str, rules: &str, prefix: &str) -> Arc<dyn Store> {
    add_user(server, name, rules);
    let config = Redis {
        username: Some(name.into()),
        password: Some(Secret::new("secret")),
        prefix: prefix.to_owned(),
        ..server.config()
    };
    Arc::new(connect(&config).await.unwrap())
}

/// The rights of a master in the documentation.
fn master_rights() -> &'static str {
    let document = include_str!("../../../docs/operations.md");
    document[document.find("~aint-queue:*").unwrap()..].split("```").next().unwrap()
}

/// The rights of a producer of this channel in the documentation.
fn producer_rights() -> String {
    let document = include_str!("../../../docs/redis-producers.md");
    let line = document.lines().find(|line| line.starts_with("ACL SETUSER shop on >secret ")).unwrap();
    line.trim_start_matches("ACL SETUSER shop on >secret ").replace("{mail}", &format!("{{{CHANNEL}}}"))
}

#[tokio::test]
async fn producer_rights_do_not_reach_summaries() {
    let server = Server::start();
    let mut master = Master::join(&as_user(&server, "master", master_rights(), "").await).await;
    assert_eq!(publish(&mut master, "true").await.unwrap(), 0);
    let before = everything(&server)[SUMMARIES].clone();
    assert_eq!(before.len(), 2, "{before:?}");

    // With the documented commands, and with all commands on the documented keys.
    for (name, more) in [("producer", ""), ("bold", "+@all")] {
        add_user(&server, name, &format!("{} {more}", producer_rights()));
        let url = format!("redis://{name}:secret@127.0.0.1:{}/", server.config().port);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let own = redis::cmd("HSET").arg(key("records")).arg("7").arg("x").exec(&mut connection);
        own.unwrap();
        let script = "return redis.call('HSET', KEYS[1], 'a', '1')";
        let unnamed = format!("return redis.call('HSET', '{SUMMARIES}', 'a', '1')");
        for command in [
            ["HSET", SUMMARIES, "a", "1"].as_slice(),
            &["HGET", SUMMARIES, "a"],
            &["EVAL", script, "1", SUMMARIES],
            &["EVAL", &unnamed, "0"],
        ] {
            let refused = redis::cmd(command[0]).arg(&command[1..]).exec(&mut connection).unwrap_err();
            let said = refused.to_string();
            let denied = ["NOPERM", "NoPerm", "permission", "can't access", "No permissions"];
            assert!(denied.iter().any(|word| said.contains(word)), "{name} {command:?}: {said}");
        }
    }
    assert_eq!(everything(&server)[SUMMARIES], before);
}

#[tokio::test]
async fn master_with_earlier_rights_serves_without_a_summary() {
    let server = Server::start();
    let rights = master_rights().replacen("~aint-queue-fleet:*", "", 1);
    let store = as_user(&server, "old", &rights, "").await;
    store.push(&[job("a"), job("b")]).await.unwrap();
    let mut master = Master::join(&store).await;
    assert_eq!(publish(&mut master, "1").await.unwrap(), 1);
    assert_eq!(publish(&mut master, "2").await.unwrap(), 1);
    assert!(!everything(&server).contains_key(SUMMARIES));
    let refused = store.masters().await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("aint-queue-fleet:*"), "{refused}");
    // Others see the owner, and the next one without its right ends as well.
    let seen = open(&server).await.masters().await.unwrap();
    assert_eq!((seen.len(), &seen[0].published), (1, &None));
    store.leave(&master.owner).await.unwrap();
    assert_eq!(open(&server).await.masters().await.unwrap(), []);
    assert_eq!(store.status().await.unwrap().done, 2);
}

#[tokio::test]
async fn foreign_summary_key_holds_up_no_turn() {
    let server = Server::start();
    let store = open(&server).await;
    store.push(&[job("a")]).await.unwrap();
    send(&server, &["SET", SUMMARIES, "theirs"]);
    let mut master = Master::join(&store).await;
    assert_eq!(publish(&mut master, "1").await.unwrap(), 1);
    let error = store.masters().await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { detail, .. } if detail.contains(SUMMARIES)), "{error:?}");
    store.leave(&master.owner).await.unwrap();
    assert_eq!(everything(&server)[SUMMARIES], ["string", "theirs"]);
}

#[tokio::test]
async fn foreign_summary_is_unknown() {
    let server = Server::start();
    let store = open(&server).await;
    let master = Master::join(&store).await;
    let published = async || store.masters().await.unwrap().remove(0).published;
    for text in ["", "no time", "x\n{}", "\u{0}"] {
        send(&server, &["HSET", SUMMARIES, master.owner.as_str(), text]);
        assert_eq!(published().await, None, "{text:?}");
    }
    send(&server, &["HSET", SUMMARIES, master.owner.as_str(), &format!("1\n{}", "x".repeat(9 << 10))]);
    assert_eq!(published().await.unwrap().summary, None, "larger than any summary");
    // Names that only another program adds.
    send(&server, &["ZADD", &key("owners"), "inf", "\u{1b}[2J", "-inf", ""]);
    let all = store.masters().await.unwrap();
    assert_eq!(all.iter().filter(|view| view.published.is_none()).count(), 2, "{all:?}");
}

#[tokio::test]
async fn summary_of_owner_ended_by_earlier_version_is_removed() {
    let server = Server::start();
    let store = open(&server).await;
    let (mut old, mut new) = (Master::join(&store).await, Master::join(&store).await);
    publish(&mut old, "old").await.unwrap();
    publish(&mut new, "new").await.unwrap();
    // As end_owner.lua of an earlier version does for an owner without jobs.
    send(&server, &["ZREM", &key("owners"), old.owner.as_str()]);
    send(&server, &["HDEL", &key("seqs"), old.owner.as_str()]);
    let seen = store.masters().await.unwrap();
    assert_eq!(seen.iter().map(|view| &view.owner).collect::<Vec<_>>(), [&new.owner]);
    publish(&mut new, "newer").await.unwrap();
    assert_eq!(everything(&server)[SUMMARIES].len(), 2, "the type and one summary");
}

#[tokio::test]
async fn prefix_precedes_the_key_of_summaries() {
    let server = Server::start();
    let rights = master_rights().replace('~', "~shop:");
    let store = as_user(&server, "shop", &rights, "shop:").await;
    let mut master = Master::join(&store).await;
    publish(&mut master, "1").await.unwrap();
    assert!(everything(&server).contains_key(&format!("shop:{SUMMARIES}")));
    assert!(store.masters().await.unwrap().iter().all(OwnerView::is_alive));
    store.leave(&master.owner).await.unwrap();
    assert!(!everything(&server).contains_key(&format!("shop:{SUMMARIES}")));
}
