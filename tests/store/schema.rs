//! SQLite files of older versions, and rows that must not accumulate.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::{FailReason, JobId, Priority};
use aint_queue::store::sqlite::SqliteStore;
use aint_queue::store::{
    ChannelLimits, Claim, ClaimKind, JobState, LimitDecision, Pushed, Reap, Store, StoreError,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::fixture::{Master, done, failed, job, of, unique, unique_for};

/// A file of schema 2 whose clock was an hour ahead for its last two jobs.
const SCHEMA_2: &str = include_str!("fixtures/schema_2.sql");
/// A file of schema 1 with a job in each state.
const SCHEMA_1: &str = include_str!("fixtures/schema_1.sql");
const FIRST: u64 = 1_700_000_000_081_481;
const HELD: JobId = JobId(FIRST);
const FAILED: JobId = JobId(FIRST + 1);
const WAITING: JobId = JobId(FIRST + 3);
const LAST: JobId = JobId(FIRST + 4);
const LATER: JobId = JobId(1_700_000_000_082_112);
const OVERDUE: JobId = JobId(1_700_000_000_082_113);

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("store.db")
}

fn hand(dir: &TempDir) -> Connection {
    let connection = Connection::open(path(dir)).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

fn number(dir: &TempDir, sql: &str) -> i64 {
    hand(dir).query_row(sql, [], |row| row.get(0)).unwrap()
}

fn open(dir: &TempDir) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&path(dir), "test").unwrap())
}

fn of_schema_1() -> TempDir {
    of_schema(SCHEMA_1)
}

fn of_schema(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let connection = hand(&dir);
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(text).unwrap();
    dir
}

/// Tables with their columns, and indexes, as SQLite sees them.
fn shape(dir: &TempDir) -> Vec<String> {
    let connection = hand(dir);
    let mut statement = connection
        .prepare(
            "SELECT m.type || ' ' || m.name || ' ' || coalesce((SELECT group_concat(c.cid || c.name || ' ' || c.type || \
             c.\"notnull\" || coalesce(c.dflt_value, '-') || c.pk, ', ') FROM pragma_table_xinfo(m.name) c), '') \
             || ' ' || coalesce((SELECT group_concat(i.name || i.\"unique\" || i.origin || i.partial, ', ') \
             FROM pragma_index_list(m.name) i), '') || coalesce((SELECT wr || strict FROM pragma_table_list l \
             WHERE l.name = m.name), '') FROM sqlite_schema m ORDER BY 1",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn upgraded_file_has_the_current_schema() {
    for (version, text) in [(1, SCHEMA_1), (2, SCHEMA_2)] {
        let (old, new) = (of_schema(text), tempfile::tempdir().unwrap());
        assert_eq!(number(&old, "PRAGMA user_version"), version);
        open(&new);
        assert_ne!(shape(&old), shape(&new));
        open(&old);
        assert_eq!(shape(&old), shape(&new));
        assert_eq!(number(&old, "PRAGMA user_version"), number(&new, "PRAGMA user_version"));
        let check: String = hand(&old).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}

/// Schema 2 refused every push while its newest id was ahead of the clock.
#[tokio::test]
async fn schema_2_file_with_ids_ahead_of_the_clock_is_served() {
    let dir = of_schema(SCHEMA_2);
    let last = number(&dir, "SELECT last_id FROM store").cast_unsigned();
    let ahead = Duration::from_secs(3600);
    let store = SqliteStore::open(&path(&dir), "test").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    // The clock of the machine, as if an hour had been taken from it after the last push.
    store.step_clock((last as i128 - ahead.as_micros() as i128 - now as i128) as i64);
    let store: Arc<dyn Store> = Arc::new(store);
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.delayed, status.failed, status.done), (3, 1, 1, 7));
    let behind = status.clock_behind.unwrap();
    assert!(behind <= ahead && behind + Duration::from_secs(60) > ahead, "{behind:?}");
    assert_eq!(store.holder("timed").await.unwrap(), Some(JobId(last)));
    assert_eq!(store.holder("held").await.unwrap(), Some(JobId(last - 1)));

    let new = store.push(&[job("new")]).await.unwrap()[0].id();
    assert_eq!(new, JobId(last + 1));
    let view = store.get(new).await.unwrap().unwrap();
    assert!(view.at.0 < last - 3_500_000_000, "{:?} is not the time of the push", view.at);
    let mut master = Master::join(&store).await;
    let leased = master.lease(9).await;
    let ids: Vec<_> = leased.iter().map(|record| record.id.0).collect();
    assert_eq!(ids, [last - 1, 1_700_000_000_000_003, last + 1, last]);
    // The rate of an hour ahead makes no claim wait longer than its own period.
    let kind = ClaimKind::Rate { count: 1, burst: 1, per: Duration::from_secs(60) };
    let LimitDecision::Wait(time) = master.claim(Claim { id: new, key: "rate".into(), kind }).await else {
        panic!("the rate is in use")
    };
    assert!(time <= Duration::from_secs(60), "{time:?}");
    assert_eq!(master.settle(&leased.iter().map(done).collect::<Vec<_>>()).await, []);
}

#[tokio::test]
async fn old_schema_file_keeps_its_jobs() {
    let dir = of_schema_1();
    let store = open(&dir);
    let status = store.status().await.unwrap();
    let counts = [status.waiting, status.reserved, status.delayed, status.done, status.failed];
    assert_eq!(counts, [3, 1, 1, 1, 1]);
    let gone = store.get(FAILED).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.meta.failed), (JobState::Failed, Some(FailReason::Exhausted)));
    assert_eq!(store.get(LATER).await.unwrap().unwrap().state, JobState::Delayed);
    for (key, id) in [("held", HELD), ("waiting", WAITING)] {
        assert_eq!(store.push(&[unique("again", key)]).await.unwrap(), [Pushed::Existing(id)]);
        let timed = unique_for("again", key, Duration::from_secs(60));
        assert_eq!(store.push(&[timed]).await.unwrap(), [Pushed::Existing(id)]);
    }

    // Its owner renewed last in an earlier boot of the machine.
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 1);
    let urgent = [Priority::Low, Priority::High].map(|priority| of(priority, job("new")));
    let new: Vec<_> = store.push(&urgent).await.unwrap().iter().map(|pushed| pushed.id()).collect();
    assert_eq!(store.requeue(&[(FAILED, gone.meta.reloaded())]).await.unwrap(), 1);
    let mut master = Master::join(&store).await;
    let leased = master.lease_exactly(&[new[1], HELD, WAITING, LAST, OVERDUE, FAILED, new[0]]).await;
    assert_eq!((leased[1].meta.lost, leased[1].payload.as_str()), (1, r#"{"name":"held"}"#));
    let lock = Claim { id: HELD, key: "k".into(), kind: ClaimKind::Lock { limit: 1 } };
    assert_eq!(master.claim(lock).await, LimitDecision::Granted);
    let ends: Vec<_> = leased.iter().map(done).collect();
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(store.status().await.unwrap().done, 8);
}

#[test]
fn concurrent_opens_upgrade_a_file_once() {
    let dir = of_schema_1();
    let path = path(&dir);
    std::thread::scope(|scope| {
        for n in 0..4 {
            // Two paths to the file share nothing inside this process, like two processes.
            let path = &path;
            scope.spawn(move || SqliteStore::open(path, &format!("c{n}")).map(drop).unwrap());
        }
    });
    assert_eq!(number(&dir, "PRAGMA user_version"), 8);
    assert_eq!(number(&dir, "SELECT count(*) FROM channels"), 5);
}

#[test]
fn failed_upgrade_leaves_file_unchanged() {
    let dir = of_schema_1();
    // Another program has created a table that the new schema needs.
    hand(&dir).execute_batch("CREATE TABLE locks (theirs)").unwrap();
    let before = shape(&dir);
    match SqliteStore::open(&path(&dir), "test") {
        Err(StoreError::Corrupt { detail, .. }) => assert!(detail.contains("locks"), "{detail}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((shape(&dir), number(&dir, "PRAGMA user_version")), (before, 1));
    hand(&dir).execute_batch("DROP TABLE locks").unwrap();
    open(&dir);
}

#[tokio::test]
async fn expired_keys_and_rates_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    master.lease_exactly(&[id]).await;
    for round in 0..4 {
        let keys: Vec<_> =
            (0..300).map(|n| unique_for("once", &format!("{round}-{n}"), Duration::from_millis(1))).collect();
        store.push(&keys).await.unwrap();
        let kind = ClaimKind::Rate { count: 1, burst: 1, per: Duration::from_millis(1) };
        let claims: Vec<_> = (0..300).map(|n| Claim { id, key: format!("{round}-{n}"), kind }).collect();
        store.claim(&master.owner, &claims).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        // Rows of this round only: older ones have expired and are deleted.
        assert_eq!(number(&dir, "SELECT count(*) FROM holds"), 300, "{round}");
        assert_eq!(number(&dir, "SELECT count(*) FROM rates"), 300, "{round}");
    }
    store.push(&[unique_for("once", "last", Duration::from_secs(60))]).await.unwrap();
    let lock = Claim { id, key: "lock".into(), kind: ClaimKind::Lock { limit: 1 } };
    let rate =
        Claim { kind: ClaimKind::Rate { count: 1, burst: 1, per: Duration::from_secs(60) }, ..lock.clone() };
    assert_eq!(store.claim(&master.owner, &[lock, rate]).await.unwrap(), [LimitDecision::Granted; 2]);
    assert_eq!(number(&dir, "SELECT count(*) FROM holds"), 1);
    assert_eq!(number(&dir, "SELECT count(*) FROM rates"), 1);
    assert_eq!(number(&dir, "SELECT count(*) FROM locks"), 1);
    store.leave(&master.owner).await.unwrap();
    assert_eq!(number(&dir, "SELECT count(*) FROM locks"), 0);
}

#[tokio::test]
async fn lock_of_owner_ended_by_old_version_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ids: Vec<_> = store.push(&[job("a"), job("b")]).await.unwrap().iter().map(|p| p.id()).collect();
    let (mut dead, mut alive) = (Master::join(&store).await, Master::join(&store).await);
    dead.lease_exactly(&ids[..1]).await;
    alive.lease_exactly(&ids[1..]).await;
    let lock = |id| Claim { id, key: "k".into(), kind: ClaimKind::Lock { limit: 1 } };
    assert_eq!(dead.claim(lock(ids[0])).await, LimitDecision::Granted);
    assert_eq!(alive.claim(lock(ids[1])).await, LimitDecision::Wait(Duration::ZERO));
    hand(&dir).execute("DELETE FROM owners WHERE name = ?1", [dead.owner.as_str()]).unwrap();
    assert_eq!(alive.claim(lock(ids[1])).await, LimitDecision::Granted);
    assert_eq!(number(&dir, "SELECT count(*) FROM locks"), 1);
    let leased = alive.store.fetch(&alive.owner, &ids[1..]).await.unwrap().remove(0);
    assert_eq!(alive.settle(&[failed(&crate::fixture::record(leased))]).await, []);
}

#[tokio::test]
async fn pause_is_compatible_with_earlier_versions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    let stored = || number(&dir, "SELECT paused FROM channels");
    hand(&dir).execute("UPDATE channels SET paused = 1", []).unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.paused, status.paused_until), (true, None));
    assert!(master.lease(1).await.is_empty());
    assert!(store.resume().await.unwrap());
    store.pause(None).await.unwrap();
    assert_eq!(stored(), 1);
    // Older versions test the column for 0, so it must be 0 after the end.
    store.pause(Some(Duration::ZERO)).await.unwrap();
    assert_ne!(stored(), 0);
    master.lease_exactly(&[id]).await;
    assert_eq!(stored(), 0);
}

#[tokio::test]
async fn deletions_of_other_programs_are_counted() {
    let limits = ChannelLimits { max_waiting: None, max_bytes: Some(1 << 30) };
    for deletions in ["DELETE FROM records; DELETE FROM jobs", "DELETE FROM jobs; DELETE FROM records"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        store.record_limits(limits).await.unwrap();
        store.push(&[job("a"), job("b")]).await.unwrap();
        hand(&dir).execute_batch(deletions).unwrap();
        assert_eq!(number(&dir, "SELECT bytes FROM job_bytes"), 0, "{deletions}");
    }
    // A count that was put wrong begins again with the next master, if the channel is empty.
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.record_limits(limits).await.unwrap();
    hand(&dir).execute_batch("UPDATE job_bytes SET bytes = 99").unwrap();
    store.record_limits(limits).await.unwrap();
    assert_eq!(number(&dir, "SELECT bytes FROM job_bytes"), 0);
}
