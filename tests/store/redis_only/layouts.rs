//! Layouts of channels: those of earlier versions, and what raises them.

use std::sync::Arc;

use aint_queue::Config;
use aint_queue::job::{JobId, JobMeta, NewJob, Priority, UniqueUntil};
use aint_queue::store::{
    ChannelLimits, Clear, Destination, JobCounts, JobState, Owner, PushLimit, Pushed, Reap, Store,
};

use super::{key, open, open_plain, send};
use crate::fixture::{Master, done, end, job, unique};
use crate::support::redis::Server;

const FAILED: JobId = JobId(1_795_260_847_279_671);
const HELD: JobId = JobId(1_795_260_850_309_708);
const PLAIN: JobId = JobId(1_795_260_852_329_535);
const ONCE: JobId = JobId(1_795_260_852_337_216);
const LATER: JobId = JobId(1_795_260_852_343_935);
const LAST: JobId = JobId(1_795_260_852_350_780);
const DEAD: &str = "77532fc818773afe04da39b2761e63f0";

/// A channel as the old version left it when its master was killed.
fn fill(server: &Server) {
    let failed = r#"{"job":"fails","attempts":1,"unique":"u-failed","errors":[{"attempt":1,"at":1795260847301035,"kind":"error","message":"exited with 1"}],"failed":"exhausted"}"#;
    let records = [
        (FAILED, failed.to_owned() + "\n{\"n\":1}"),
        (HELD, "{\"job\":\"held\",\"unique\":\"u-held\"}\n{\"n\":2}".to_owned()),
        (PLAIN, "{\"job\":\"plain\"}\n{\"n\":3}".to_owned()),
        (ONCE, "{\"job\":\"once\",\"unique\":\"u-waiting\"}\n{\"n\":4}".to_owned()),
        (LATER, "{\"job\":\"later\",\"unique\":\"u-delayed\"}\n{\"n\":5}".to_owned()),
        (LAST, "{\"job\":\"plain\"}\n{\"n\":6}".to_owned()),
    ];
    for (id, record) in records {
        send(server, &["HSET", &key("records"), &id.to_string(), &record]);
    }
    let [failed, held, plain, once, later, last] =
        [FAILED, HELD, PLAIN, ONCE, LATER, LAST].map(|id| id.to_string());
    for command in [
        ["SET", &key("schema"), "1"].as_slice(),
        &["HSET", &key("stats"), "last_id", &last, "checked_to", "0"],
        &["HSET", &key("unique"), "u-held", &held, "u-waiting", &once, "u-delayed", &later],
        &["HSET", &key("seqs"), DEAD, "2"],
        &["RPUSH", &key("waiting"), &plain, &once, &last],
        &["RPUSH", &key("notify"), "1"],
        &["ZADD", &key("delayed"), "4070908800000000", &later],
        &["ZADD", &key("failed"), "1795260847301483", &failed],
        &["ZADD", &key("owners"), "1795260880326555", DEAD],
        &["SADD", &key(&format!("reserved:{DEAD}")), &held],
    ] {
        send(server, command);
    }
}

fn layout(server: &Server) -> String {
    match send(server, &["GET", &key("schema")]) {
        redis::Value::BulkString(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn of(priority: Priority, name: &str) -> NewJob {
    let mut job = job(name);
    job.meta.priority = priority;
    job
}

async fn serve(server: &Server, store: Arc<dyn Store>) {
    let counts = JobCounts { waiting: 3, reserved: 1, delayed: 1, failed: 1, ..JobCounts::default() };
    let status = store.status().await.unwrap();
    assert!(status.front_ready_at.is_some() && status.next_due.is_some(), "{status:?}");
    assert_eq!(JobCounts { front_ready_at: None, next_due: None, now: counts.now, ..status }, counts);
    for (name, holder) in [("u-held", HELD), ("u-waiting", ONCE), ("u-delayed", LATER)] {
        assert_eq!(store.push(&[unique("x", name)]).await.unwrap(), [Pushed::Existing(holder)]);
    }
    // Options known to version 1 leave the layout unchanged.
    let old = store.push(&[job("old")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    assert_eq!(store.reap(Reap::Owner(&Owner::named(DEAD))).await.unwrap(), 1);
    assert_eq!(layout(server), "1");

    let new = [of(Priority::High, "high"), of(Priority::Low, "low"), of(Priority::Normal, "normal")];
    let [high, low, normal] = store.push(&new).await.unwrap().try_into().unwrap();
    let requeue = [(FAILED, JobMeta { unique: Some("u-failed".into()), ..JobMeta::named("fails") })];
    assert_eq!(store.requeue(&requeue).await.unwrap(), 1);
    let order = [high.id(), HELD, PLAIN, ONCE, LAST, old, normal.id(), FAILED, low.id()];
    let listed = store.list(JobState::Waiting, None, 50).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), order);
    let leased = master.lease_exactly(&order).await;
    assert_eq!(leased[1].meta.lost, 1);
    assert_eq!(master.settle(&leased.iter().map(done).collect::<Vec<_>>()).await, []);
    assert!(store.take(&master.owner, master.seq + 1, LATER).await.unwrap().is_some());
    let status = store.status().await.unwrap();
    assert_eq!((status.done, status.reserved, status.total()), (9, 1, 10));
    assert_eq!(layout(server), "2");
}

#[tokio::test]
async fn channel_of_layout_1_is_served() {
    let server = Server::start();
    fill(&server);
    serve(&server, open(&server).await).await;
}

#[tokio::test]
async fn channel_of_layout_1_is_served_by_plain_scripts() {
    let server = Server::start();
    fill(&server);
    serve(&server, open_plain(&server).await).await;
}

#[tokio::test]
async fn newer_features_upgrade_layout_1_permanently() {
    let edits: [fn(&mut JobMeta); 7] = [
        |meta| meta.priority = Priority::Low,
        |meta| (meta.unique, meta.unique_for_ms) = (Some("k".into()), Some(1)),
        |meta| (meta.unique, meta.unique_until) = (Some("k".into()), UniqueUntil::Start),
        |meta| meta.expires_in_ms = Some(5),
        |meta| meta.expires_at = Some(aint_queue::job::Timestamp(5)),
        |meta| drop(meta.headers.insert("a".into(), "b".into())),
        // A settlement with another priority, which no program of ours makes.
        |_| (),
    ];
    for (n, edit) in edits.into_iter().enumerate() {
        let server = Server::start();
        let store = open(&server).await;
        store.push(&[unique("a", "b")]).await.unwrap();
        assert_eq!(layout(&server), "1");
        if n < 6 {
            let mut new = job("new");
            edit(&mut new.meta);
            store.push(&[new]).await.unwrap();
        } else {
            let mut master = Master::join(&store).await;
            let record = master.lease(1).await.remove(0);
            let to = |meta: JobMeta| Destination::Back(JobMeta { priority: Priority::High, ..meta });
            master.settle(&[end(&record, to)]).await;
            master.lease_exactly(&[record.id]).await;
        }
        assert_eq!(layout(&server), "2", "{n}");
        let all = Clear { waiting: true, delayed: true, failed: true, reserved: true };
        store.clear(all).await.unwrap();
        store.push(&[job("old")]).await.unwrap();
        assert_eq!(layout(&server), "2", "{n}");
    }
}

#[tokio::test]
async fn pause_is_compatible_with_earlier_versions() {
    let server = Server::start();
    let store = open(&server).await;
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    let stored = || send(&server, &["HGET", &key("stats"), "paused"]);
    // Values of an earlier version, and foreign ones.
    for text in ["1", "yes", ""] {
        send(&server, &["HSET", &key("stats"), "paused", text]);
        let status = store.status().await.unwrap();
        assert_eq!((status.paused, status.paused_until), (true, None), "{text:?}");
        assert!(master.lease(1).await.is_empty(), "{text:?}");
        assert!(store.resume().await.unwrap(), "{text:?}");
    }
    store.pause(None).await.unwrap();
    assert_eq!(stored(), redis::Value::BulkString(b"1".to_vec()));
    // Older versions test for the existence of the field, so it must be deleted after the end.
    store.pause(Some(std::time::Duration::ZERO)).await.unwrap();
    assert_ne!(stored(), redis::Value::Nil);
    master.lease_exactly(&[id]).await;
    assert_eq!(stored(), redis::Value::Nil);
    assert_eq!(layout(&server), "1");
}

#[tokio::test]
async fn limit_of_bytes_raises_the_layout_to_3() {
    let server = Server::start();
    let store = open(&server).await;
    let limits = |max_bytes| ChannelLimits { max_waiting: Some(7), max_bytes };
    store.record_limits(limits(None)).await.unwrap();
    assert_eq!(layout(&server), "1");
    store.push(&[job("a"), of(Priority::High, "b")]).await.unwrap();
    assert_eq!(layout(&server), "2");
    store.record_limits(limits(Some(9_999))).await.unwrap();
    assert_eq!(layout(&server), "3");
    let stored = |name: &str| send(&server, &["HGET", &key("stats"), name]);
    assert_eq!(stored("max_bytes"), redis::Value::BulkString(b"9999".to_vec()));
    store.push(&[of(Priority::Low, "c")]).await.unwrap();
    store.record_limits(ChannelLimits::default()).await.unwrap();
    assert_eq!((stored("max_waiting"), stored("max_bytes")), (redis::Value::Nil, redis::Value::Nil));
    assert_eq!(layout(&server), "3", "the count goes on");
}

/// Records and outputs of a channel, as their lengths in bytes.
fn stored_bytes(server: &Server) -> u64 {
    let values = |name| match send(server, &["HVALS", &key(name)]) {
        redis::Value::Array(values) => values,
        other => panic!("{other:?}"),
    };
    let length = |value: redis::Value| match value {
        redis::Value::BulkString(text) => text.len() as u64,
        other => panic!("{other:?}"),
    };
    values("records").into_iter().chain(values("outputs")).map(length).sum()
}

#[tokio::test]
async fn count_of_bytes_includes_quarantined_entries() {
    let server = Server::start();
    let store = open(&server).await;
    store.record_limits(ChannelLimits { max_waiting: None, max_bytes: Some(1 << 30) }).await.unwrap();
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    master.lease_exactly(&[id]).await;
    // An entry that is no id, with a record that the count does not know.
    send(&server, &["SADD", &key(&format!("reserved:{}", master.owner.as_str())), "not-an-id"]);
    send(&server, &["HSET", &key("records"), "not-an-id", "{\"job\":\"x\"}\n{}"]);
    let before = stored_bytes(&server) - store.status().await.unwrap().bytes.unwrap();
    assert_eq!(master.held().await, [id]);
    assert_eq!(store.status().await.unwrap().failed, 1, "it is in failed now");
    assert_eq!(stored_bytes(&server) - store.status().await.unwrap().bytes.unwrap(), before);
}

#[tokio::test]
async fn wrong_count_of_bytes_is_right_again_in_an_empty_channel() {
    let server = Server::start();
    let store = open(&server).await;
    store.record_limits(ChannelLimits { max_waiting: None, max_bytes: Some(1 << 30) }).await.unwrap();
    store.push(&[job("a")]).await.unwrap();
    // Another program deletes a record, so that its bytes stay counted.
    send(&server, &["DEL", &key("records")]);
    assert!(store.status().await.unwrap().bytes.unwrap() > 0);
    store.push(&[job("b")]).await.unwrap();
    assert_eq!(store.status().await.unwrap().bytes, Some(stored_bytes(&server)));

    // Also above the limit, where a push is refused before it reaches the server.
    send(&server, &["DEL", &key("records"), &key("waiting")]);
    send(&server, &["HSET", &key("stats"), "bytes", "99999999999"]);
    let limit = PushLimit::of(&aint_queue::config::Channel {
        max_bytes: Some(1 << 30),
        ..Config::built_in(std::path::Path::new("/srv")).channels["default"].clone()
    });
    limit.push(&*store, &[job("c")]).await.unwrap();
    assert_eq!(store.status().await.unwrap().bytes, Some(stored_bytes(&server)));
}
