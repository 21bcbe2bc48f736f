//! Entries of another program that are no jobs: texts are kept as failed jobs, ids without a record leave with a log line, and
//! nothing else changes.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::FailReason;
use aint_queue::store::{
    Clear, JobFilter, JobState, Leased, LowerPriorities, Pushed, Reap, Store, reload_failed,
};

use super::{everything, key, open, open_plain, send};
use crate::fixture::{Master, done, done_id, job, later, unique};
use crate::support::redis::Server;

/// Entries of the lists that are no ids of this store.
const FOREIGN: [&str; 5] = ["mail-1", "007", "+12", "", "99999999999999999999"];

fn add_foreign(server: &Server, list: &str) {
    for (n, name) in FOREIGN.into_iter().enumerate() {
        send(
            server,
            &["HSET", &key("records"), name, &format!("{{\"job\":\"a\",\"unique\":\"u{n}\"}}\n{n}")],
        );
        send(server, &["HSET", &key("unique"), &format!("u{n}"), name]);
        match list {
            "delayed" => send(server, &["ZADD", &key(list), "1", name]),
            _ if list.starts_with("reserved") => send(server, &["SADD", &key(list), name]),
            _ => send(server, &["RPUSH", &key(list), name]),
        };
    }
}

/// All foreign entries are in failed, in full and under ids that commands can name.
async fn assert_quarantined(store: &Arc<dyn Store>, jobs: u64) {
    let status = store.status().await.unwrap();
    assert_eq!(
        (status.waiting, status.reserved, status.delayed, status.failed),
        (jobs, 0, 0, 5),
        "{status:?}"
    );
    let page = store.list(JobState::Failed, None, 9).await.unwrap().jobs;
    assert_eq!(page.len(), 5);
    for (n, name) in FOREIGN.into_iter().enumerate() {
        let payload = format!("{{\"job\":\"a\",\"unique\":\"u{n}\"}}\n{n}");
        let view = page.iter().find(|view| view.payload == payload).unwrap();
        assert!(view.meta.last_error().contains(&format!("entry \"{name}\"")), "{view:?}");
        assert_eq!(view.meta.failed, Some(FailReason::Malformed));
        assert!(matches!(store.push(&[unique("x", &format!("u{n}"))]).await.unwrap()[0], Pushed::Added(_)));
        assert_eq!(store.discard(&[view.id]).await.unwrap(), 1);
    }
    assert_eq!(store.status().await.unwrap().failed, 0);
}

#[tokio::test]
async fn foreign_entries_of_each_list_are_quarantined() {
    for list in ["waiting", "waiting:high", "waiting:low", "delayed"] {
        let server = Server::start();
        let store = open(&server).await;
        add_foreign(&server, list);
        let id = store.push(&[job("a")]).await.unwrap()[0].id();
        let mut master = Master::join(&store).await;
        let reply = master.turn(&[], 20).await.unwrap();
        assert_eq!(reply.leased.iter().map(Leased::id).collect::<Vec<_>>(), [id], "{list}");
        assert_eq!(reply.held, 1, "{list}");
        assert_eq!(master.settle(&[done_id(id)]).await, []);
        assert_quarantined(&store, 0).await;
    }
}

/// Older versions left them reserved.
#[tokio::test]
async fn foreign_entries_of_owners_are_quarantined() {
    for way in ["held", "leave", "reap", "clear"] {
        let server = Server::start();
        let store = open_plain(&server).await;
        let mut master = Master::join(&store).await;
        let id = store.push(&[job("a")]).await.unwrap()[0].id();
        master.lease_exactly(&[id]).await;
        add_foreign(&server, &format!("reserved:{}", master.owner.as_str()));
        assert_eq!(store.status().await.unwrap().reserved, 6);
        let jobs = match way {
            "held" => {
                assert_eq!(master.held().await, [id]);
                master.settle(&[done_id(id)]).await;
                0
            }
            "leave" => store.leave(&master.owner).await.unwrap(),
            "reap" => store.reap(Reap::Owner(&master.owner)).await.unwrap(),
            _ => {
                let reserved = Clear { reserved: true, ..Clear::default() };
                assert_eq!(store.clear(reserved).await.unwrap().reserved, 1);
                0
            }
        };
        assert_quarantined(&store, jobs).await;
        let left: Vec<_> =
            everything(&server).into_keys().filter(|name| name.contains("reserved:")).collect();
        assert_eq!(left, Vec::<String>::new(), "{way}");
    }
}

/// The states of a channel: waiting, reserved, delayed, failed.
async fn states(store: &Arc<dyn Store>) -> [u64; 4] {
    let status = store.status().await.unwrap();
    [status.waiting, status.reserved, status.delayed, status.failed]
}

/// The payloads of the failed jobs, each with an error that names the entry.
async fn kept_texts(store: &Arc<dyn Store>) -> Vec<String> {
    let page = store.list(JobState::Failed, None, 50).await.unwrap().jobs;
    let mut texts = Vec::new();
    for view in page {
        assert_eq!(view.meta.failed, Some(FailReason::Malformed));
        assert!(view.meta.last_error().contains("entry \""), "{view:?}");
        texts.push(view.payload);
    }
    texts.sort_unstable();
    texts
}

/// Texts without a record: raw jobs of another program, unusual numbers, an empty text, and bytes that are no text.
const TEXTS: [&str; 4] = ["", "+7", "x1", "{\"job\":\"mail\"}"];

#[tokio::test]
async fn texts_without_record_are_kept_as_failed_jobs() {
    for list in ["waiting", "waiting:high", "waiting:low", "delayed"] {
        let server = Server::start();
        let store = open(&server).await;
        let mut master = Master::join(&store).await;
        let ids: Vec<_> =
            store.push(&[job("a"), job("b")]).await.unwrap().iter().map(|pushed| pushed.id()).collect();
        let running = master.lease(1).await;
        for text in TEXTS {
            match list {
                "delayed" => send(&server, &["ZADD", &key(list), "1", text]),
                _ => send(&server, &["RPUSH", &key(list), text]),
            };
        }
        let before = if list == "delayed" { [1, 1, 4, 0] } else { [5, 1, 0, 0] };
        assert_eq!(states(&store).await, before, "{list}");
        let reply = master.turn(&[], 20).await.unwrap();
        assert_eq!(reply.leased.iter().map(Leased::id).collect::<Vec<_>>(), ids[1..], "{list}");
        assert_eq!((reply.held, reply.waiting), (2, 0), "{list}");
        assert_eq!(states(&store).await, [0, 2, 0, 4], "{list}");
        assert_eq!(kept_texts(&store).await, TEXTS, "{list}");
        assert_eq!(master.settle(&[done(&running[0]), done_id(ids[1])]).await, []);
        // A reloaded entry fails again and keeps its text.
        assert_eq!(reload_failed(&*store, &JobFilter::default()).await.unwrap(), 4, "{list}");
        assert_eq!(states(&store).await, [4, 0, 0, 0], "{list}");
    }
}

#[tokio::test]
async fn raised_text_is_kept_as_failed_job() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    send(&server, &["RPUSH", &key("waiting"), "12", "x1"]);
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let overdue = Some(LowerPriorities { normal: true, low: true });
    let owner = master.owner.clone();
    let turn = |seq| aint_queue::store::Turn {
        owner: &owner,
        seq,
        settlements: &[],
        releases: &[],
        want: 5,
        max_bytes: 1 << 20,
        overdue,
        publish: None,
    };
    let reply = store.turn(turn(master.next())).await.unwrap();
    assert_eq!(reply.leased.iter().map(Leased::id).collect::<Vec<_>>(), [id]);
    assert_eq!(kept_texts(&store).await, ["x1"]);
    assert_eq!(states(&store).await, [0, 1, 0, 1]);
}

#[tokio::test]
async fn tombstones_and_foreign_ids_differ_by_count() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let ids: Vec<_> =
        store.push(&[job("a"), job("b"), job("c")]).await.unwrap().iter().map(|pushed| pushed.id()).collect();
    assert_eq!(store.discard(&ids[..2]).await.unwrap(), 2);
    send(&server, &["LPUSH", &key("waiting"), "12", "13"]);
    assert_eq!(states(&store).await, [3, 0, 0, 0]);
    master.lease_exactly(&ids[2..]).await;
    assert_eq!(states(&store).await, [0, 1, 0, 0]);
    // The count of tombstones is right for the next ones.
    let id = store.push(&[job("d")]).await.unwrap()[0].id();
    assert_eq!(states(&store).await, [1, 1, 0, 0]);
    store.discard(&[id]).await.unwrap();
    assert_eq!(states(&store).await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn texts_in_sets_of_owners_are_kept_as_failed_jobs() {
    for way in ["held", "leave", "reap", "clear"] {
        let server = Server::start();
        let store = open(&server).await;
        let mut master = Master::join(&store).await;
        let id = store.push(&[job("a"), later("b", Duration::from_secs(60))]).await.unwrap()[0].id();
        master.lease_exactly(&[id]).await;
        send(&server, &["SADD", &key(&format!("reserved:{}", master.owner.as_str())), "garbage", "x1", "17"]);
        assert_eq!(states(&store).await, [0, 4, 1, 0], "{way}");
        let left = match way {
            "held" => {
                let held = master.held().await;
                assert_eq!(held.len(), 2, "an id without a record is no text: {held:?}");
                let fetched = store.fetch(&master.owner, &held).await.unwrap();
                assert_eq!(fetched.iter().map(Leased::id).collect::<Vec<_>>(), [id]);
                assert_eq!(master.held().await, [id]);
                [0, 1, 1, 2]
            }
            "leave" => {
                assert_eq!(store.leave(&master.owner).await.unwrap(), 1);
                [1, 0, 1, 2]
            }
            "reap" => {
                assert_eq!(store.reap(Reap::Owner(&master.owner)).await.unwrap(), 1);
                [1, 0, 1, 2]
            }
            _ => {
                let cleared = store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
                assert_eq!(cleared.reserved, 1);
                [0, 0, 1, 2]
            }
        };
        assert_eq!(states(&store).await, left, "{way}");
        assert_eq!(kept_texts(&store).await, ["garbage", "x1"], "{way}");
    }
}

#[tokio::test]
async fn foreign_entries_of_failed_are_listed_and_removed() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    store.push(&[job("a")]).await.unwrap();
    master.lease(1).await;
    for (score, name) in [("5", "junk"), ("inf", "far"), ("-3", "early"), ("7", "17")] {
        send(&server, &["ZADD", &key("failed"), score, name]);
    }
    send(&server, &["HSET", &key("records"), "stored", "{\"job\":\"a\"}\n1"]);
    send(&server, &["ZADD", &key("failed"), "6", "stored"]);
    assert_eq!(states(&store).await, [0, 1, 0, 5]);
    // Page by page, as queue:flush reads.
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(JobState::Failed, after, 1).await.unwrap();
        seen.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let texts: Vec<_> = seen.iter().map(|view| view.payload.as_str()).collect();
    assert_eq!(texts, ["far", "17", "{\"job\":\"a\"}\n1", "junk", "early"]);
    assert_eq!(states(&store).await, [0, 1, 0, 5]);
    let ids: Vec<_> = seen.iter().map(|view| view.id).collect();
    assert_eq!(store.discard(&ids[..2]).await.unwrap(), 2);
    assert_eq!(reload_failed(&*store, &JobFilter::default()).await.unwrap(), 3);
    assert_eq!(states(&store).await, [3, 1, 0, 0]);
}

#[tokio::test]
async fn foreign_entries_of_delayed_move_when_listed() {
    let server = Server::start();
    let store = open(&server).await;
    let id = store.push(&[later("a", Duration::from_secs(60))]).await.unwrap()[0].id();
    send(&server, &["ZADD", &key("delayed"), "9e17", "junk", "1", "17"]);
    assert_eq!(states(&store).await, [0, 0, 3, 0]);
    let listed = store.list(JobState::Delayed, None, 9).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [id]);
    assert_eq!(states(&store).await, [0, 0, 1, 2]);
    assert_eq!(kept_texts(&store).await, ["17", "junk"]);
}

#[tokio::test]
async fn clear_counts_foreign_entries_and_no_tombstones() {
    let server = Server::start();
    for store in [open(&server).await, open_plain(&server).await] {
        send(&server, &["FLUSHALL"]);
        let ids: Vec<_> =
            store.push(&[job("a"), job("b")]).await.unwrap().iter().map(|pushed| pushed.id()).collect();
        store.discard(&ids[..1]).await.unwrap();
        send(&server, &["RPUSH", &key("waiting"), "x1", "12"]);
        let mut connection = server.connection();
        redis::cmd("RPUSH").arg(key("waiting")).arg(&b"\xff\xfe"[..]).exec(&mut connection).unwrap();
        send(&server, &["ZADD", &key("failed"), "5", "junk"]);
        send(&server, &["ZADD", &key("delayed"), "9e17", "junk"]);
        assert_eq!(states(&store).await, [4, 0, 1, 1]);
        let all = Clear { waiting: true, delayed: true, failed: true, ..Clear::default() };
        let cleared = store.clear(all).await.unwrap();
        assert_eq!((cleared.waiting, cleared.delayed, cleared.failed), (4, 1, 1));
        let status = store.status().await.unwrap();
        assert_eq!((status.waiting, status.delayed, status.failed, status.cleared), (0, 0, 0, 7));
        // Tombstones of new jobs are counted from zero.
        let id = store.push(&[job("c")]).await.unwrap()[0].id();
        store.discard(&[id]).await.unwrap();
        assert_eq!(states(&store).await, [0, 0, 0, 0]);
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_and_shown() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    let mut connection = server.connection();
    redis::cmd("RPUSH").arg(key("waiting")).arg(&b"\xff\x1b[31m"[..]).exec(&mut connection).unwrap();
    redis::cmd("ZADD").arg(key("failed")).arg(5).arg(&b"\xfe"[..]).exec(&mut connection).unwrap();
    assert_eq!(master.turn(&[], 5).await.unwrap().leased, []);
    let page = store.list(JobState::Failed, None, 9).await.unwrap().jobs;
    assert_eq!(page.len(), 2);
    assert!(page.iter().all(|view| !view.meta.last_error().contains('\u{1b}')), "{page:?}");
    assert_eq!(page[0].payload, "\u{fffd}\u{1b}[31m");
}
