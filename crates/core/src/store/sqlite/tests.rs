//! Tests that need control over the writer thread: groups, a full disk, callers that stop waiting. The conformance
//! suite in `tests/store` covers the contract.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::yield_now;

use super::*;
use crate::job::{MAX_PAYLOAD_BYTES, Payload};
use crate::store::{Destination, OutputChange, Settlement};

fn open() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("store.db"), "test").unwrap();
    (dir, store)
}

fn job(bytes: usize) -> NewJob {
    NewJob::new("noop", Payload::parse(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap())
}

/// Blocks the writer until the sender is used or dropped; calls made meanwhile become one group.
async fn hold(store: &SqliteStore) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (entered, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let file = Arc::clone(&store.file);
    tokio::spawn(async move {
        let act = move |_: &transaction::Tx<'_>| {
            let _ = entered.send(());
            let _ = held.recv();
            Ok(())
        };
        file.write("holding the writer", 0, act).await
    });
    begun.recv().await.unwrap();
    release
}

fn turn<'a>(owner: &'a Owner, seq: u64, settlements: &'a [Settlement], want: usize) -> Turn<'a> {
    Turn { owner, seq, settlements, releases: &[], want, max_bytes: usize::MAX, overdue: None, publish: None }
}

fn done(leased: &[Leased]) -> Vec<Settlement> {
    let done = |leased: &Leased| Settlement {
        id: leased.id(),
        unique: None,
        to: Destination::Done,
        output: OutputChange::Keep,
    };
    leased.iter().map(done).collect()
}

#[tokio::test]
async fn failing_call_of_a_group_undoes_no_other() {
    let (_dir, store) = open();
    let owner = store.join().await.unwrap();
    store.push(&vec![job(9); 3]).await.unwrap();
    let leased = store.turn(turn(&owner, 5, &[], 1)).await.unwrap().leased;
    let ends = done(&leased);
    let stranger = Owner::named("stranger");

    let release = hold(&store).await;
    let jobs = [job(9)];
    let (first, replayed, lost, settled, last, _) = tokio::join!(
        store.push(&jobs),
        store.turn(turn(&owner, 5, &ends, 1)),
        store.turn(turn(&stranger, 1, &[], 1)),
        store.turn(turn(&owner, 6, &ends, 1)),
        store.push(&jobs),
        async { drop(release) },
    );
    assert!(matches!(replayed, Err(StoreError::Replayed)) && matches!(lost, Err(StoreError::Lost)));
    assert!(first.unwrap()[0].id() < last.unwrap()[0].id());
    assert_eq!(settled.unwrap().conflicts, []);
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved, status.done), (3, 1, 1));
}

#[tokio::test]
async fn failing_call_is_rolled_back_alone_and_grouped() {
    let (_dir, store) = open();
    let channel = store.channel;
    let half = move |tx: &transaction::Tx<'_>| {
        commands::pause(tx, channel, None)?;
        Err::<(), _>(SqliteError::Lost)
    };
    assert!(matches!(store.file.write("failing", 0, half).await, Err(StoreError::Lost)));
    assert!(!store.status().await.unwrap().paused);

    let release = hold(&store).await;
    let (jobs, other) = ([job(9)], [job(9)]);
    let (one, failed, two, _) =
        tokio::join!(store.push(&jobs), store.file.write("failing", 0, half), store.push(&other), async {
            drop(release)
        },);
    assert!(one.is_ok() && two.is_ok() && matches!(failed, Err(StoreError::Lost)));
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.paused), (2, false));
}

#[tokio::test]
async fn full_disk_refuses_pushes_but_settles_jobs() {
    let (_dir, store) = open();
    let owner = store.join().await.unwrap();
    store.push(&vec![job(4000); 40]).await.unwrap();
    let leased = store.turn(turn(&owner, 1, &[], 20)).await.unwrap().leased;
    let limit = |tx: &transaction::Tx<'_>| tx.number("PRAGMA max_page_count = 1", []);
    store.file.write("limiting the file", 0, limit).await.unwrap();

    let full =
        |pushed: Result<_, PushError>| matches!(pushed, Err(PushError::Store(StoreError::Full { .. })));
    let large = vec![job(4000); 20];
    assert!(full(store.push(&large).await));
    // The same when both calls share one transaction, which the full disk rolls back.
    let release = hold(&store).await;
    let ends = done(&leased);
    let (before, settled, after, _) =
        tokio::join!(store.push(&large), store.turn(turn(&owner, 2, &ends, 0)), store.push(&large), async {
            drop(release)
        },);
    assert_eq!(settled.unwrap().conflicts, []);
    // The finished jobs left room for at most one of the two pushes.
    assert!(full(before));
    let pushed = if full(after) { 0 } else { 20 };
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved, status.done), (20 + pushed, 0, 20));

    let room = |tx: &transaction::Tx<'_>| tx.number("PRAGMA max_page_count = 1000000", []);
    store.file.write("making room", 0, room).await.unwrap();
    store.push(&large).await.unwrap();
}

#[tokio::test]
async fn abandoned_queued_call_is_not_made() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    let jobs = [job(9)];
    let given_up = tokio::time::timeout(Duration::from_millis(20), store.push(&jobs)).await;
    assert!(given_up.is_err());
    drop(release);
    store.join().await.unwrap();
    assert_eq!(store.status().await.unwrap().total(), 0);
}

#[tokio::test]
async fn push_into_a_directory_that_is_renamed_says_where_it_is() {
    for is_grouped in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (before, after) = (dir.path().join("before"), dir.path().join("after"));
        std::fs::create_dir(&before).unwrap();
        let store = SqliteStore::open(&before.join("store.db"), "test").unwrap();
        let (channel, items) = (store.channel, [push::PreparedJob::of(store.channel, &job(9))]);
        let release = hold(&store).await;
        let rename = (before.clone(), after.clone());
        let pushed = store.file.write("pushing jobs", 0, move |tx| {
            let pushed = push::push(tx, channel, &items)?;
            // The first run of the call moves the directory.
            let _ = std::fs::rename(&rename.0, &rename.1);
            Ok(pushed)
        });
        let (pushed, joined, _) = if is_grouped {
            tokio::join!(pushed, store.join(), async { drop(release) })
        } else {
            drop(release);
            (pushed.await, store.join().await, ())
        };
        let Err(error @ StoreError::Unavailable { .. }) = pushed else { panic!("{:?}", pushed.is_ok()) };
        let error = crate::job::error_chain(&error);
        assert!(error.contains(&format!("in \"{}\" now", after.join("store.db").display())), "{error}");
        assert!(joined.is_err());
        let refused = store.push(&[job(9)]).await.unwrap_err().to_string();
        assert!(refused.contains("moved, removed or replaced"), "{refused}");
        drop(store);
        // A process that opens the old path again makes no second store.
        let refused = SqliteStore::open(&before.join("store.db"), "test").unwrap_err().to_string();
        assert!(refused.contains("before\" was moved or removed") && !before.exists(), "{refused}");
        let moved = SqliteStore::open(&after.join("store.db"), "test").unwrap();
        assert_eq!(moved.status().await.unwrap().waiting, 1);
    }
}

#[tokio::test]
async fn log_cut_during_a_write_is_found_before_the_reply() {
    for bytes in [0, 31, 5_000, 9_000] {
        let (dir, store) = open();
        store.push(&[job(9)]).await.unwrap();
        let path = dir.path().join("store.db");
        let hand = || rusqlite::Connection::open(&path).unwrap();
        hand().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        for _ in 0..5 {
            store.push(&[job(9)]).await.unwrap();
        }
        let (channel, items) = (store.channel, [push::PreparedJob::of(store.channel, &job(9))]);
        let log = std::fs::OpenOptions::new().write(true).open(dir.path().join("store.db-wal")).unwrap();
        let pushed = store.file.write("pushing jobs", 0, move |tx| {
            let pushed = push::push(tx, channel, &items)?;
            log.set_len(bytes).unwrap();
            Ok(pushed)
        });
        let Err(error @ StoreError::Unavailable { .. }) = pushed.await else { panic!("{bytes}: accepted") };
        let error = crate::job::error_chain(&error);
        assert!(error.contains("the change may be lost") && error.contains("was cut short"), "{error}");
        drop(store);
        let begin = Instant::now();
        // The threads close the file after the drop.
        while SqliteStore::open(&path, "test").is_err() {
            assert!(begin.elapsed() < Duration::from_secs(9), "{bytes}");
            yield_now().await;
        }
        let found: String = hand().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok", "{bytes}");
    }
}

#[tokio::test]
async fn stuck_write_times_out_and_reads_continue() {
    let (_dir, store) = open();
    let release = hold(&store).await;
    let begin = Instant::now();
    let (joined, status) = tokio::join!(store.join(), store.status());
    assert!(matches!(joined, Err(StoreError::Unavailable { .. })), "{joined:?}");
    assert!(begin.elapsed() < Duration::from_secs(8));
    status.unwrap();
    drop(release);
    store.join().await.unwrap();
}

#[tokio::test]
async fn writer_queue_is_bounded_in_bytes() {
    let (_dir, store) = open();
    let store = Arc::new(store);
    let release = hold(&store).await;
    let large = vec![job(MAX_PAYLOAD_BYTES); 4];
    let mut pushes = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, large) = (Arc::clone(&store), large.clone());
        pushes.spawn(async move { store.push(&large).await.map(drop) });
    }
    // All pushes are polled; those beyond the bound stay outside the queue.
    for _ in 0..50 {
        yield_now().await;
    }
    assert!(store.file.waiting_bytes() <= 64 << 20);
    assert!(store.file.waiting_bytes() > 48 << 20);
    drop(release);
    for pushed in pushes.join_all().await {
        pushed.unwrap();
    }
    assert_eq!(store.status().await.unwrap().waiting, 80);
    // A clear of large payloads proceeds in small steps.
    let which = Clear { waiting: true, ..Clear::default() };
    assert_eq!(store.clear(which).await.unwrap().waiting, 80);
}

#[tokio::test]
async fn cleared_jobs_vanish_before_the_sweep() {
    let (_dir, store) = open();
    let channel = store.channel;
    let mut once = job(9);
    once.meta.unique = Some("key".into());
    let held = store.push(&[once.clone()]).await.unwrap()[0].id();
    let owner = store.join().await.unwrap();
    let leased = store.turn(turn(&owner, 1, &[], 1)).await.unwrap().leased;
    let waiting = store.push(&[job(9)]).await.unwrap()[0].id();

    // The state after a process was killed before its first sweep.
    let which = Clear { waiting: true, reserved: true, ..Clear::default() };
    let clear = move |tx: &transaction::Tx<'_>| commands::clear(tx, channel, which);
    let cleared = store.file.write("clearing", 0, clear).await.unwrap();
    assert_eq!((cleared.waiting, cleared.reserved), (1, 1));
    for id in [held, waiting] {
        assert_eq!(store.get(id).await.unwrap(), None);
        assert_eq!(store.discard(&[id]).await.unwrap(), 0);
    }
    let reply = store.turn(turn(&owner, 2, &done(&leased), 5)).await.unwrap();
    assert_eq!((reply.conflicts, reply.held), (vec![(held, crate::store::SettleConflict::Cleared)], 0));
    assert_eq!(store.take(&owner, 3, waiting).await.unwrap(), None);
    assert_eq!(store.list(JobState::Reserved, None, 5).await.unwrap(), Page::default());
    let again = store.push(&[once]).await.unwrap()[0];
    assert!(matches!(again, Pushed::Added(_)));
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved, status.cleared), (1, 0, 2));
    assert_eq!(store.clear(Clear::default()).await.unwrap(), Cleared::default());
    assert!(matches!(store.get(again.id()).await.unwrap(), Some(JobView { state: JobState::Waiting, .. })));
}

#[tokio::test]
async fn dead_owners_jobs_are_reserved_until_freed() {
    let (_dir, store) = open();
    let channel = store.channel;
    store.push(&vec![job(9); 3]).await.unwrap();
    let owner = store.join().await.unwrap();
    let leased = store.turn(turn(&owner, 1, &[], 2)).await.unwrap().leased;
    // The state after a reaper was killed behind its first step.
    let name = owner.as_str().to_owned();
    store.file.write("burying", 0, move |tx| owner::expire(tx, channel, &name)).await.unwrap();
    assert!(matches!(store.turn(turn(&owner, 2, &[], 1)).await, Err(StoreError::Lost)));
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved), (1, 2));
    assert_eq!(store.list(JobState::Reserved, None, 5).await.unwrap().jobs.len(), 2);
    let state = store.get(leased[0].id()).await.unwrap().unwrap().state;
    assert_eq!(state, JobState::Reserved);

    let which = Clear { reserved: true, ..Clear::default() };
    assert_eq!(store.clear(which).await.unwrap().reserved, 2);
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 0);
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved, status.cleared), (1, 0, 2));
}
