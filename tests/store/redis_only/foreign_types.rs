//! Foreign keys and values: an error that names them, and no lost job.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::{JobId, JobMeta, Priority};
use aint_queue::store::{
    Claim, ClaimKind, Clear, Destination, JobState, Leased, LimitDecision, OutputChange, Owner, PushError,
    Pushed, Reap, SettleConflict, Settlement, Store, StoreError, Turn,
};

use super::{connect, everything, key, open, open_plain, send};
use crate::fixture::{Master, done, done_id, failed, job, later, unique};
use crate::support::redis::Server;

/// A channel with something under every key.
struct Full {
    server: Server,
    store: Arc<dyn Store>,
    master: Master,
    held: Vec<JobId>,
    others: Vec<JobId>,
}

async fn full(open: impl AsyncFn(&Server) -> Arc<dyn Store>) -> Full {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    store.push(&[job("a"), job("b"), unique("c", "key"), job("d")]).await.unwrap();
    let leased = master.lease(3).await;
    master.settle(&[failed(&leased[0])]).await;
    let [mut high, mut low] = [job("high"), job("low")];
    (high.meta.priority, low.meta.priority) = (Priority::High, Priority::Low);
    store.push(&[later("e", Duration::from_secs(3600)), high, low]).await.unwrap();
    let claims = [lock(leased[1].id)];
    assert_eq!(store.claim(&master.owner, &claims).await.unwrap(), [LimitDecision::Granted]);
    let held = leased[1..].iter().map(|record| record.id).collect();
    let others = vec![
        store.list(JobState::Waiting, None, 9).await.unwrap().jobs[0].id,
        store.list(JobState::Delayed, None, 9).await.unwrap().jobs[0].id,
        leased[0].id,
    ];
    // An ended owner that still has jobs, and a clear that was interrupted before its first batch.
    for command in [
        ["ZADD", &key("dead"), "5", "gone"].as_slice(),
        &["SADD", &key("reserved:gone"), "7"],
        &["HSET", &key("records"), "7", "{\"job\":\"x\"}\n1"],
        &["HSET", &key("clearing"), "waiting:1", "waiting"],
        &["RPUSH", &key("clearing:waiting:1"), "8"],
        &["HSET", &key("records"), "8", "{\"job\":\"x\"}\n1"],
        &["HSET", &key("stats"), "clearing_waiting", "1"],
        &["RPUSH", &key("notify"), "1"],
    ] {
        if command[0] != "RPUSH"
            || !command[1].ends_with("notify")
            || !everything(&server).contains_key(command[1])
        {
            send(&server, command);
        }
    }
    Full { server, store, master, held, others }
}

fn lock(id: JobId) -> Claim {
    Claim { id, key: "printer".into(), kind: ClaimKind::Lock { limit: 1 } }
}

impl Full {
    /// Every method of the contract, by name.
    async fn call_everything(&mut self) -> Vec<(&'static str, Result<(), StoreError>)> {
        let store = Arc::clone(&self.store);
        let owner = self.master.owner.clone();
        let mut seq = || self.master.next();
        let push = match store.push(&[job("new")]).await {
            Err(PushError::Store(error)) => Err(error),
            other => other.map(drop).map_err(|error| panic!("{error}")),
        };
        let ids = [self.held.as_slice(), &self.others].concat();
        let requeue: Vec<_> = ids.iter().map(|id| (*id, JobMeta::named("again"))).collect();
        let settlements: Vec<_> = self.held.iter().map(|id| done_id(*id)).collect();
        let turn = Turn {
            owner: &owner,
            seq: seq(),
            settlements: &settlements,
            releases: &[],
            want: 5,
            max_bytes: 1 << 20,
            overdue: None,
            publish: None,
        };
        let all = Clear { waiting: true, delayed: true, failed: true, reserved: true };
        vec![
            ("push", push),
            ("join", store.join().await.map(drop)),
            ("turn", store.turn(turn).await.map(drop)),
            ("held", store.held(&owner, seq()).await.map(drop)),
            ("fetch", store.fetch(&owner, &ids).await.map(drop)),
            ("claim", store.claim(&owner, &[lock(ids[1])]).await.map(drop)),
            ("take", store.take(&owner, seq(), self.others[0]).await.map(drop)),
            ("status", store.status().await.map(drop)),
            ("get", store.get(ids[0]).await.map(drop)),
            ("list waiting", store.list(JobState::Waiting, None, 5).await.map(drop)),
            ("list delayed", store.list(JobState::Delayed, None, 5).await.map(drop)),
            ("list failed", store.list(JobState::Failed, None, 5).await.map(drop)),
            ("list reserved", store.list(JobState::Reserved, None, 5).await.map(drop)),
            ("requeue", store.requeue(&requeue).await.map(drop)),
            ("discard", store.discard(&ids).await.map(drop)),
            ("clear", store.clear(all).await.map(drop)),
            ("pause", store.pause(None).await.map(drop)),
            ("resume", store.resume().await.map(drop)),
            ("reap", store.reap(Reap::Owner(&Owner::named("gone"))).await.map(drop)),
            ("leave", store.leave(&owner).await.map(drop)),
        ]
    }
}

async fn a_foreign_type_stops_every_call(open: impl AsyncFn(&Server) -> Arc<dyn Store>) {
    for name in super::CHANNEL_KEYS {
        let mut full = full(&open).await;
        let before = everything(&full.server);
        assert!(before.contains_key(&key(name)), "{name} is in use");
        send(&full.server, &["RENAME", &key(name), "saved"]);
        send(&full.server, &["PFADD", &key("sketch"), "x"]);
        let foreign: &[&str] =
            if name == "schema" { &["SADD", &key(name), "x"] } else { &["SET", &key(name), "x"] };
        send(&full.server, foreign);
        send(&full.server, &["DEL", &key("sketch")]);
        let spoiled = everything(&full.server);
        for (method, outcome) in full.call_everything().await {
            match outcome {
                Err(StoreError::Corrupt { detail, .. }) => {
                    assert!(detail.contains(&key(name)), "{method}: {detail}")
                }
                other => panic!("{method} with a foreign {name}: {other:?}"),
            }
        }
        assert_eq!(everything(&full.server), spoiled, "nothing changed under a foreign {name}");
        // After the repair everything works as before.
        send(&full.server, &["RENAME", "saved", &key(name)]);
        assert_eq!(everything(&full.server), before);
        assert_eq!(full.master.held().await, full.held);
    }
}

#[tokio::test]
async fn foreign_type_stops_every_call_without_loss() {
    a_foreign_type_stops_every_call(open).await;
}

#[tokio::test]
async fn foreign_type_stops_plain_scripts() {
    a_foreign_type_stops_every_call(open_plain).await;
}

#[tokio::test]
async fn foreign_type_in_reserved_set_stops_its_calls() {
    let mut full = full(open).await;
    let set = key(&format!("reserved:{}", full.master.owner.as_str()));
    send(&full.server, &["RENAME", &set, "saved"]);
    send(&full.server, &["SET", &set, "x"]);
    let spoiled = everything(&full.server);
    let (owner, id) = (full.master.owner.clone(), full.others[0]);
    let turn = full.master.turn(&[], 5).await.map(drop);
    let seq = full.master.next();
    for (method, outcome) in [
        ("turn", turn),
        ("held", full.store.held(&owner, seq).await.map(drop)),
        ("fetch", full.store.fetch(&owner, &full.held).await.map(drop)),
        ("claim", full.store.claim(&owner, &[lock(full.held[0])]).await.map(drop)),
        ("take", full.store.take(&owner, seq, id).await.map(drop)),
        ("get", full.store.get(id).await.map(drop)),
        ("list reserved", full.store.list(JobState::Reserved, None, 5).await.map(drop)),
        ("discard", full.store.discard(&[id]).await.map(drop)),
        ("reap", full.store.reap(Reap::Owner(&owner)).await.map(drop)),
        ("leave", full.store.leave(&owner).await.map(drop)),
    ] {
        assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{method}: {outcome:?}");
    }
    assert_eq!(everything(&full.server), spoiled);
    send(&full.server, &["RENAME", "saved", &set]);
    assert_eq!(full.master.held().await, full.held);
}

#[tokio::test]
async fn foreign_type_in_cleared_key_stops_the_clear() {
    let full = full(open).await;
    send(&full.server, &["DEL", &key("clearing:waiting:1")]);
    send(&full.server, &["SET", &key("clearing:waiting:1"), "x"]);
    let spoiled = everything(&full.server);
    let outcome = full.store.clear(Clear::default()).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{outcome:?}");
    assert_eq!(everything(&full.server), spoiled);
}

#[tokio::test]
async fn foreign_type_in_notify_fails_waits() {
    let server = Server::start();
    let store = open(&server).await;
    send(&server, &["SET", &key("notify"), "x"]);
    let outcome = store.wait(Duration::from_secs(5)).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{outcome:?}");
    send(&server, &["DEL", &key("notify")]);
    store.wait(Duration::from_millis(20)).await.unwrap();
}

#[tokio::test]
async fn foreign_count_stops_settlement_before_removal() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    store.push(&[job("a"), job("b")]).await.unwrap();
    let leased = master.lease(2).await;
    send(&server, &["HSET", &key("stats"), "done", "many"]);
    let ends = [done(&leased[0]), done(&leased[1])];
    let outcome = master.turn(&ends, 0).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{outcome:?}");
    assert_eq!(master.held().await, [leased[0].id, leased[1].id]);
    send(&server, &["HSET", &key("stats"), "done", "40"]);
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(store.status().await.unwrap().done, 42);
}

#[tokio::test]
async fn unknown_layout_version_is_refused_by_every_call() {
    let server = Server::start();
    let store = open(&server).await;
    store.push(&[job("a")]).await.unwrap();
    send(&server, &["SET", &key("schema"), "4"]);
    let before = everything(&server);
    for outcome in [
        connect(&server.config()).await.map(drop),
        store.join().await.map(drop),
        store.pause(None).await.map(drop),
    ] {
        let Err(StoreError::Corrupt { detail, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(detail.contains("another version of aint-queue"), "{detail}");
    }
    assert_eq!(everything(&server), before);
}

#[tokio::test]
async fn flushed_server_loses_leases_and_restarts() {
    let server = Server::start();
    let store = open(&server).await;
    let mut master = Master::join(&store).await;
    store.push(&[job("a"), job("b")]).await.unwrap();
    let leased = master.lease(1).await;
    send(&server, &["FLUSHALL"]);
    assert!(matches!(master.turn(&[done(&leased[0])], 5).await, Err(StoreError::Lost)));
    let seq = master.next();
    assert!(matches!(store.held(&master.owner, seq).await, Err(StoreError::Lost)));
    assert!(matches!(store.leave(&master.owner).await, Err(StoreError::Lost)));
    assert_eq!(store.reap(Reap::Owner(&master.owner)).await.unwrap(), 0);

    let mut next = Master::join(&store).await;
    let conflicts = next.settle(&[done(&leased[0])]).await;
    assert_eq!(conflicts, [(leased[0].id, SettleConflict::Cleared)]);
    let id = store.push(&[job("c")]).await.unwrap()[0].id();
    assert!(id > leased[0].id);
    next.lease_exactly(&[id]).await;
}

#[tokio::test]
async fn malformed_record_frees_its_key_when_set_aside() {
    let server = Server::start();
    let store = open(&server).await;
    let id = store.push(&[unique("a", "key")]).await.unwrap()[0].id();
    let broken = "{\"job\":\"a\",\"unique\":\"key\"}\n{no payload";
    send(&server, &["HSET", &key("records"), &id.to_string(), broken]);
    let mut master = Master::join(&store).await;
    let reply = master.turn(&[], 1).await.unwrap();
    let Leased::Malformed { why, .. } = &reply.leased[0] else { panic!("{reply:?}") };
    let aside = Destination::Failed(JobMeta::malformed(reply.now, why));
    master.settle(&[Settlement { id, unique: None, to: aside, output: OutputChange::Keep }]).await;
    assert_eq!(store.get(id).await.unwrap().unwrap().payload, "{no payload");
    let again = store.push(&[unique("a", "key")]).await.unwrap();
    assert!(matches!(again[..], [Pushed::Added(_)]), "{again:?}");
}

#[tokio::test]
async fn records_without_a_list_are_counted_and_return() {
    let server = Server::start();
    for store in [open(&server).await, open_plain(&server).await] {
        send(&server, &["FLUSHALL"]);
        let mut jobs: Vec<_> = (0..5).map(|n| job(&format!("j{n}"))).collect();
        jobs.push(later("j5", Duration::from_secs(60)));
        let ids: Vec<_> = store.push(&jobs).await.unwrap().iter().map(|pushed| pushed.id()).collect();
        let mut master = Master::join(&store).await;
        assert_eq!(master.lease(2).await.len(), 2);
        assert_eq!(store.unlisted().await.unwrap(), 0);
        // Another program deletes the list: three jobs are in no state.
        send(&server, &["DEL", &key("waiting")]);
        assert_eq!(store.unlisted().await.unwrap(), 3);
        assert_eq!(store.status().await.unwrap().reserved, 5);
        // A handle that has not met the owner yet counts the same.
        assert_eq!(open(&server).await.unlisted().await.unwrap(), 3);
        // The record is whole: an entry in the list is enough.
        for id in &ids[2..5] {
            send(&server, &["RPUSH", &key("waiting"), &id.to_string()]);
        }
        assert_eq!(store.unlisted().await.unwrap(), 0);
        let leased: Vec<_> = master.lease(9).await.iter().map(|leased| leased.id).collect();
        assert_eq!(leased, ids[2..5]);
    }
}
