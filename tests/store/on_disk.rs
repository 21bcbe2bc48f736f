//! SQLite only: damaged files, full disks, writes by other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use aint_queue::job::{JobId, MAX_PAYLOAD_BYTES, NewJob, Payload};
use aint_queue::store::sqlite::{Options, SqliteStore};
use aint_queue::store::{
    Claim, ClaimKind, Clear, Destination, JobState, Leased, PushError, Reap, Store, StoreError,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::fixture::{Master, done, end, job, unique_for};
use crate::support::until_async;

/// A directory for a store.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path(), "test").unwrap())
    }

    /// A connection of another program.
    fn hand(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, "test") {
        Err(error @ (StoreError::Refused { .. } | StoreError::Corrupt { .. })) => {
            assert!(!error.is_passing());
            let text = error.to_string();
            assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_files_are_refused_unchanged() {
    let disk = Disk::new();
    let path = disk.path();
    fs::create_dir(&path).unwrap();
    assert!(refusal(&path).contains("the path is a directory: name a file in it"));
    fs::remove_dir(&path).unwrap();

    for text in ["not a database, but longer than the header of one: ".repeat(20), "short".into()] {
        fs::write(&path, &text).unwrap();
        assert!(refusal(&path).contains("not a SQLite database: name another file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::remove_file(&path).unwrap();
    }

    disk.hand().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).contains("a SQLite database of another program: name another file"));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&path).unwrap();

    drop(disk.open());
    disk.hand().pragma_update(None, "user_version", 99).unwrap();
    assert!(refusal(&path).contains("newer aint-queue (schema 99, this version knows up to 8): upgrade"));
}

#[test]
fn missing_directories_and_empty_file_are_initialized() {
    let disk = Disk::new();
    let deep = disk.0.path().join("a/b/c.db");
    SqliteStore::open(&deep, "test").unwrap();
    assert!(deep.is_file());
    fs::write(disk.path(), "").unwrap();
    disk.open();
}

#[tokio::test]
async fn reopened_store_has_all_its_data() {
    let disk = Disk::new();
    let store = disk.open();
    let ids: Vec<_> = store.push(&[job("a"), job("b")]).await.unwrap().iter().map(|p| p.id()).collect();
    let mut master = Master::join(&store).await;
    let leased = master.lease(1).await;
    drop(store);

    let store = disk.open();
    assert_eq!(master.settle(&[done(&leased[0])]).await, [], "an owner lives on in the file");
    assert_eq!(store.get(ids[1]).await.unwrap().unwrap().state, JobState::Waiting);
    assert_eq!(store.durability().await.unwrap(), "fsync");
}

#[tokio::test]
async fn last_handle_drop_closes_the_file() {
    let disk = Disk::new();
    let (one, two) = (disk.open(), disk.open());
    one.push(&[job("a")]).await.unwrap();
    let wal = disk.path().with_extension("db-wal");
    drop(one);
    two.push(&[job("b")]).await.unwrap();
    assert!(wal.exists());
    drop(two);
    // The threads close their connections as soon as they see it. The last one removes the WAL, unless both close at once.
    let open_files =
        || fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| entry.ok()?.path().read_link().ok());
    until_async("the file to be closed", async || !open_files().any(|file| file == wal)).await;
    assert_eq!(disk.open().status().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn moved_file_is_not_written() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    let aside = disk.path().with_extension("aside");
    fs::rename(disk.path(), &aside).unwrap();
    let refused = store.push(&[job("b")]).await;
    assert!(matches!(&refused, Err(PushError::Store(StoreError::Refused { .. }))), "{refused:?}");
    // A foreign file in its place is refused, too.
    fs::write(disk.path(), "").unwrap();
    assert!(matches!(store.join().await, Err(StoreError::Refused { .. })));
    fs::rename(&aside, disk.path()).unwrap();
    store.push(&[job("c")]).await.unwrap();
    assert_eq!(store.status().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn log_replaced_while_in_use_is_kept_beside_a_copy() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a"), job("b")]).await.unwrap();
    // The log of another process, which may hold jobs.
    let (wal, theirs) = (disk.path().with_extension("db-wal"), disk.path().with_extension("theirs"));
    fs::write(&theirs, "log of another process").unwrap();
    fs::rename(&theirs, &wal).unwrap();
    let refused = until_async("the copy", async || {
        let refused = store.push(&[job("c")]).await.unwrap_err().to_string();
        refused.contains("-rescued-").then_some(refused)
    });
    let refused = refused.await;
    assert!(
        refused.contains("store.db-wal") && store.damage().is_some_and(|found| refused.ends_with(&found))
    );
    // Nothing is read through files that others may have changed, and no second set of files is opened beside them.
    assert!(matches!(store.status().await, Err(StoreError::Refused { .. })));
    assert!(refusal(&disk.path()).contains("-rescued-"));
    let copy = refused.split('"').find(|part| part.contains("-rescued-")).unwrap();
    let saved = SqliteStore::open(Path::new(copy), "test").unwrap();
    assert_eq!(saved.status().await.unwrap().waiting, 2);
    drop(store);
    // The file is open until both threads have ended.
    until_async("the end of the store", async || !locked_by_this_process(&disk.path())).await;
    assert_eq!(fs::read_to_string(wal).unwrap(), "log of another process");
}

/// Whether this process has SQLite's lock on a file.
fn locked_by_this_process(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ending = format!(":{} 1073741826 1073742335", fs::metadata(path).unwrap().ino());
    let pid = std::process::id().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.ends_with(&ending) && line.split_whitespace().any(|field| field == pid))
}

#[tokio::test]
async fn log_removed_while_in_use_is_written_into_the_file() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a"), job("b")]).await.unwrap();
    fs::remove_file(disk.path().with_extension("db-wal")).unwrap();
    assert!(matches!(store.join().await, Err(StoreError::Refused { .. })));
    drop(store);
    until_async("the end of the store", async || !locked_by_this_process(&disk.path())).await;
    assert_eq!(disk.open().status().await.unwrap().waiting, 2);
}

/// Sets the length of a file beside the store file, or of the store file itself, under the processes that use it.
fn cut(disk: &Disk, suffix: &str, bytes: u64) {
    let path = disk.path().with_extension(format!("db{suffix}"));
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// Drops the only handle and waits for the end of its threads.
async fn close(disk: &Disk, store: Arc<dyn Store>) {
    drop(store);
    until_async("the end of the store", async || !locked_by_this_process(&disk.path())).await;
}

fn assert_sound(disk: &Disk) {
    let found: String = disk.hand().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

#[tokio::test]
async fn cut_log_ends_all_work_and_leaves_the_file_sound() {
    const FRAME: u64 = 24 + 4096;
    for bytes in [0, 31, 32, 32 + FRAME, 32 + 5 * FRAME, 32 + 30 * FRAME] {
        let disk = Disk::new();
        let store = disk.open();
        store.push(&[job("a")]).await.unwrap();
        let hand = disk.hand();
        hand.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        for _ in 0..9 {
            store.push(&[job("b")]).await.unwrap();
        }
        cut(&disk, "-wal", bytes);
        let refused = store.push(&[job("c")]).await.unwrap_err().to_string();
        assert!(refused.contains("store.db-wal\" was cut short while in use"), "{bytes}: {refused}");
        assert!(refused.contains("are lost") && refused.contains("queue:stop"), "{refused}");
        assert!(store.damage().is_some_and(|found| refused.ends_with(&found)));
        for error in [store.join().await.map(drop), store.status().await.map(drop)] {
            assert!(matches!(error, Err(StoreError::Refused { .. })), "{bytes}: {error:?}");
        }
        drop(hand);
        close(&disk, store).await;
        let store = disk.open();
        let waiting = store.status().await.unwrap().waiting;
        assert!((1..=10).contains(&waiting), "{bytes}: {waiting} jobs, one was in the main file");
        assert_sound(&disk);
        store.push(&[job("d")]).await.unwrap();
    }
}

#[tokio::test]
async fn cut_log_that_is_then_removed_writes_nothing_into_the_file() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    disk.hand().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    store.push(&[job("b"), job("c")]).await.unwrap();
    cut(&disk, "-wal", 0);
    fs::remove_file(disk.path().with_extension("db-wal")).unwrap();
    assert!(store.push(&[job("d")]).await.is_err());
    close(&disk, store).await;
    assert_eq!(disk.open().status().await.unwrap().waiting, 1);
    assert_sound(&disk);
}

#[tokio::test]
async fn reader_finds_a_cut_log_first() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    cut(&disk, "-wal", 0);
    let error = store.list(JobState::Waiting, None, 1).await;
    let Err(error @ StoreError::Refused { .. }) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("was cut short while in use"), "{error}");
}

#[tokio::test]
async fn log_emptied_by_a_checkpoint_is_right() {
    let disk = Disk::new();
    let store = disk.open();
    for waiting in 1..20 {
        store.push(&[job("a")]).await.unwrap();
        let hand = disk.hand();
        let mode = ["TRUNCATE", "RESTART", "FULL"][waiting as usize % 3];
        hand.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
        assert_eq!(store.status().await.unwrap().waiting, waiting);
    }
    disk.hand().execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    store.push(&[job("a")]).await.unwrap();
    assert_eq!((store.status().await.unwrap().waiting, store.damage()), (20, None));
}

#[tokio::test]
async fn vacuum_of_another_program_under_pushes_is_no_cut() {
    const EMPTYING: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
    let begin = Instant::now();
    let mut round = 0;
    while round < 4 || begin.elapsed() < Duration::from_secs(3) {
        let disk = Disk::new();
        let store = disk.open();
        for _ in 0..4 {
            store.push(&vec![job("a"); 500]).await.unwrap();
        }
        disk.hand().query_row(EMPTYING, [], |_| Ok(())).unwrap();
        store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
        let hand = disk.hand();
        hand.query_row(EMPTYING, [], |_| Ok(())).unwrap();
        store.push(&[job("b")]).await.unwrap();
        let before = fs::metadata(disk.path()).unwrap().len();
        // The last statement makes pages that are in the log only.
        let vacuum =
            thread::spawn(move || hand.execute_batch(&format!("VACUUM; {EMPTYING}; ANALYZE")).map(|()| hand));
        let mut pushed = 0;
        while round % 2 == 1 && !vacuum.is_finished() {
            store.push(&vec![job("b"); 60]).await.unwrap();
            pushed += 1;
        }
        let _hand = vacuum.join().unwrap().unwrap();
        for _ in 0..10 {
            store.push(&[job("b")]).await.unwrap();
        }
        assert_eq!(store.status().await.unwrap().waiting, 11 + 60 * pushed);
        assert_eq!(store.damage(), None);
        assert!(pushed > 0 || fs::metadata(disk.path()).unwrap().len() < before, "the file became shorter");
        round += 1;
    }
}

#[tokio::test]
async fn log_cut_behind_a_checkpoint_begins_again() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    disk.hand().query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).unwrap();
    cut(&disk, "-wal", 0);
    assert_eq!(store.status().await.unwrap().waiting, 1);
    store.push(&[job("b")]).await.unwrap();
    assert_eq!((store.status().await.unwrap().waiting, store.damage()), (2, None));
    close(&disk, store).await;
    assert_eq!(disk.open().status().await.unwrap().waiting, 2);
    assert_sound(&disk);
}

#[tokio::test]
async fn cut_index_ends_all_work_and_loses_no_job() {
    for bytes in [0, 136, 32 * 1024 - 1] {
        let disk = Disk::new();
        let store = disk.open();
        store.push(&[job("a"), job("b")]).await.unwrap();
        cut(&disk, "-shm", bytes);
        let refused = store.push(&[job("c")]).await.unwrap_err().to_string();
        assert!(
            refused.contains("store.db-shm\" was cut short") && refused.contains("no job is lost"),
            "{refused}"
        );
        assert!(matches!(store.status().await, Err(StoreError::Refused { .. })));
        close(&disk, store).await;
        assert_eq!(disk.open().status().await.unwrap().waiting, 2);
        assert_sound(&disk);
    }
}

#[tokio::test]
async fn cut_store_file_ends_all_work() {
    for bytes in [0, 4096] {
        let disk = Disk::new();
        let store = disk.open();
        store.push(&vec![job("a"); 500]).await.unwrap();
        disk.hand().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let backup = disk.path().with_extension("backup");
        disk.hand().execute("VACUUM INTO ?1", [backup.to_string_lossy()]).unwrap();
        store.push(&[job("b")]).await.unwrap();
        cut(&disk, "", bytes);
        let refused = store.push(&[job("c")]).await.unwrap_err().to_string();
        assert!(
            refused.contains(&format!("cut to {bytes} bytes")) && refused.contains("from a backup"),
            "{refused}"
        );
        assert!(refused.contains("move its \"-wal\" and \"-shm\" away"), "{refused}");
        drop(store);
        // The end of the store keeps the files beside it. (The cut has released the lock that `close` looks at.)
        until_async("the files aside", async || {
            let marks = [".db-wal-cut-", ".db-shm-cut-"];
            marks.iter().all(|mark| beside(&disk, mark).len() == 1).then_some(())
        })
        .await;
        assert_eq!(fs::metadata(disk.path()).unwrap().len(), bytes, "nothing was written into it");
        let error = SqliteStore::open(&disk.path(), "test").unwrap_err().to_string();
        assert!(bytes > 0 || error.contains("it was cut while in use"), "{error}");
        // A restored backup does not get the log of the lost file.
        fs::copy(&backup, disk.path()).unwrap();
        assert_eq!(disk.open().status().await.unwrap().waiting, 500);
        assert_sound(&disk);
    }
}

/// The files whose names begin with `store` and this.
fn beside(disk: &Disk, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(disk.path().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(&format!("/store{start}"))).collect()
}

#[tokio::test]
async fn empty_file_beside_a_log_is_not_made_a_store() {
    for is_missing in [false, true] {
        let disk = Disk::new();
        fs::write(disk.path().with_extension("db-wal"), "log").unwrap();
        if !is_missing {
            fs::write(disk.path(), "").unwrap();
        }
        let error = SqliteStore::open(&disk.path(), "test").unwrap_err().to_string();
        assert!(error.contains("store.db-wal\" is not") && error.contains("move the log"), "{error}");
        assert_eq!(disk.path().exists(), !is_missing);
    }
}

#[tokio::test]
async fn removed_store_is_saved_in_a_copy() {
    enum Removed {
        MainFile,
        AllFiles,
        DirectoryMadeAgain,
    }
    use Removed::{AllFiles, DirectoryMadeAgain, MainFile};
    for removed in [MainFile, AllFiles, DirectoryMadeAgain] {
        let outer = Disk::new();
        let directory = outer.0.path().join("jobs");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("store.db");
        let store = SqliteStore::open(&path, "test").unwrap();
        for _ in 0..5 {
            store.push(&[job("a")]).await.unwrap();
        }
        match removed {
            MainFile => fs::remove_file(&path).unwrap(),
            AllFiles => {
                for suffix in ["", "-wal", "-shm"] {
                    fs::remove_file(path.with_extension(format!("db{suffix}"))).unwrap();
                }
            }
            DirectoryMadeAgain => {
                fs::remove_dir_all(&directory).unwrap();
                fs::create_dir(&directory).unwrap();
            }
        }
        let error = store.push(&[job("b")]).await.unwrap_err().to_string();
        assert!(error.contains("was removed or replaced") && error.contains("-rescued-"), "{error}");
        assert!(matches!(store.status().await, Err(StoreError::Refused { .. })));
        drop(store);
        let copy = until_async("the copy and the end of the store", async || {
            let entries = fs::read_dir(&directory).ok()?.map(|entry| entry.unwrap().path());
            let names: Vec<_> = entries.collect();
            let has_log = names.iter().any(|name| name.ends_with("store.db-wal"));
            let copy = names.into_iter().find(|name| name.to_string_lossy().contains("store.db-rescued-"))?;
            let sound = Connection::open(&copy).ok()?.query_row("PRAGMA page_count", [], |row| row.get(0));
            (!has_log && sound.is_ok_and(|pages: i64| pages > 1)).then_some(copy)
        });
        fs::rename(copy.await, &path).unwrap();
        let store = SqliteStore::open(&path, "test").unwrap();
        assert_eq!(store.status().await.unwrap().waiting, 5);
    }
}

#[tokio::test]
async fn foreign_lock_delays_writes_but_not_reads() {
    let disk = Disk::new();
    let store = disk.open();
    let hand = disk.hand();
    hand.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begin = Instant::now();
    let jobs = [job("a")];
    let (pushed, joined, status) = tokio::join!(store.push(&jobs), store.join(), async {
        let status = store.status().await;
        assert!(begin.elapsed() < Duration::from_millis(1_000), "a read waited for a writer");
        status
    });
    assert!(matches!(pushed, Err(PushError::Store(StoreError::Unavailable { .. }))), "{pushed:?}");
    assert!(matches!(joined, Err(StoreError::Unavailable { .. })), "{joined:?}");
    assert_eq!(status.unwrap().total(), 0);
    assert!(begin.elapsed() < Duration::from_secs(10));

    // A lock that is released in time goes unnoticed.
    let push = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.push(&[job("a")]).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    hand.execute_batch("ROLLBACK").unwrap();
    push.await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_wait_meets_the_commit_of_another_program_at_once() {
    /// Far below the interval at which commits are looked for without an announcement.
    const AT_ONCE: Duration = Duration::from_millis(100);
    let disk = Disk::new();
    let (store, other) = (disk.open(), disk.hand());
    // A loaded machine may delay some of them.
    let mut waits = Vec::new();
    while waits.len() < 20 && !waits.iter().any(|wait| *wait < AT_ONCE) {
        while store_waits(&*store, Duration::from_millis(700)).await < Duration::from_millis(650) {}
        let pushing = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            other.execute("UPDATE channels SET wakes = wakes + 1", []).unwrap();
            Instant::now()
        };
        let (wait, pushed) = tokio::join!(store.wait(Duration::from_secs(30)), pushing);
        wait.unwrap();
        waits.push(pushed.elapsed());
    }
    assert!(waits.last().unwrap() < &AT_ONCE, "{waits:?}");
}

async fn store_waits(store: &dyn Store, timeout: Duration) -> Duration {
    let begin = Instant::now();
    store.wait(timeout).await.unwrap();
    begin.elapsed()
}

#[tokio::test]
async fn reboot_ends_leases() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    let mut master = Master::join(&store).await;
    master.lease(1).await;
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 0);
    assert_eq!(disk.hand().execute("UPDATE owners SET boot = 'an earlier one'", []).unwrap(), 1);
    assert_eq!(store.reap(Reap::Expired).await.unwrap(), 1);
    assert!(matches!(master.turn(&[], 0).await, Err(StoreError::Lost)));
}

#[tokio::test]
async fn lease_duration_is_that_of_the_handle() {
    let disk = Disk::new();
    let options = Options { lease: Duration::from_millis(60), ..Options::default() };
    let short: Arc<dyn Store> = Arc::new(SqliteStore::open_with(&disk.path(), "test", options).unwrap());
    let long = disk.open();
    short.push(&[job("a"), job("b")]).await.unwrap();
    let (mut dead, mut alive) = (Master::join(&short).await, Master::join(&long).await);
    alive.lease(1).await;
    let begin = Instant::now();
    dead.lease(1).await;
    until_async("the lease to end", async || long.reap(Reap::Expired).await.unwrap() > 0).await;
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(matches!(dead.turn(&[], 0).await, Err(StoreError::Lost)));
    assert_eq!(alive.held().await.len(), 1);
}

#[tokio::test]
async fn ids_grow_while_the_clock_is_behind_the_newest() {
    let disk = Disk::new();
    let store = disk.open();
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    let ahead = i64::try_from(id.0).unwrap() + 100_000_000;
    assert_eq!(disk.hand().execute("UPDATE store SET last_id = ?1", [ahead]).unwrap(), 1);
    let next = store.push(&[job("b")]).await.unwrap()[0].id();
    assert_eq!(next.0, ahead as u64 + 1);
    let view = store.get(next).await.unwrap().unwrap();
    assert!(
        view.meta.pushed_at.is_some_and(|time| time == view.at && time.0 < id.0 + 50_000_000),
        "{view:?}"
    );
    let mut master = Master::join(&store).await;
    let leased = master.lease_exactly(&[id, next]).await;
    // The time of the push is kept when the meta is rewritten.
    let back = end(&leased[1], Destination::Back);
    assert_eq!(master.settle(&[back]).await, []);
    assert_eq!(store.get(next).await.unwrap().unwrap().at, view.at);
}

#[tokio::test]
async fn lost_last_id_never_reuses_an_id() {
    let disk = Disk::new();
    let store = disk.open();
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    // A job pushed faster than the clock advanced: its id is ahead.
    let ahead = i64::try_from(id.0).unwrap() + 900_000;
    let hand = disk.hand();
    hand.execute("UPDATE jobs SET id = ?1", [ahead]).unwrap();
    hand.execute("UPDATE records SET id = ?1", [ahead]).unwrap();
    hand.execute("UPDATE store SET last_id = 0", []).unwrap();
    let next = store.push(&[job("b")]).await.unwrap()[0].id();
    assert!(next.0 > ahead as u64, "{next} after {ahead}");
}

#[tokio::test]
async fn record_with_malformed_meta_is_kept_whole() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a")]).await.unwrap();
    assert_eq!(disk.hand().execute("UPDATE records SET meta = '{half'", []).unwrap(), 1);
    let mut master = Master::join(&store).await;
    let reply = master.turn(&[], 1).await.unwrap();
    let Leased::Malformed { id, why } = &reply.leased[0] else { panic!("{reply:?}") };
    let to = aint_queue::store::Destination::Failed(aint_queue::job::JobMeta::malformed(reply.now, why));
    master
        .settle(&[aint_queue::store::Settlement {
            id: *id,
            unique: None,
            to,
            output: aint_queue::store::OutputChange::Keep,
        }])
        .await;
    let failed = store.list(JobState::Failed, None, 10).await.unwrap().jobs.remove(0);
    assert_eq!(failed.payload, "{half\n{\"name\":\"a\"}");
}

#[tokio::test]
async fn renamed_table_fails_every_call_without_loss() {
    let disk = Disk::new();
    let store = disk.open();
    let id = store.push(&[job("a"), job("b")]).await.unwrap()[0].id();
    let mut master = Master::join(&store).await;
    let leased = master.lease(1).await;
    let claims =
        [ClaimKind::Lock { limit: 1 }, ClaimKind::Rate { count: 9, burst: 9, per: Duration::from_secs(1) }]
            .map(|kind| Claim { id: leased[0].id, key: "k".into(), kind });
    for table in ["jobs", "records", "lanes", "owners", "channels", "store", "holds", "locks", "rates"] {
        disk.hand().execute_batch(&format!("ALTER TABLE {table} RENAME TO elsewhere")).unwrap();
        let mut failures = 0;
        let mut count = |failed: Result<(), StoreError>| match failed {
            Ok(()) => {}
            Err(StoreError::Corrupt { .. }) => failures += 1,
            Err(error) => panic!("{table}: {error:?}"),
        };
        count(store.push(&[unique_for("c", table, Duration::from_secs(60))]).await.map(drop).map_err(
            |error| match error {
                PushError::Store(error) => error,
                other => panic!("{other}"),
            },
        ));
        // A turn needs no keys; a push or a claim does.
        let needless = ["holds", "locks", "rates"].contains(&table);
        let ends = if needless { vec![] } else { vec![done(&leased[0])] };
        count(master.turn(&ends, 0).await.map(drop));
        count(master.store.claim(&master.owner, &claims).await.map(drop));
        count(store.get(id).await.map(drop));
        count(store.list(JobState::Waiting, None, 5).await.map(drop));
        count(store.status().await.map(drop));
        count(store.reap(Reap::Expired).await.map(drop));
        count(store.discard(&[JobId(1)]).await.map(drop));
        disk.hand().execute_batch(&format!("ALTER TABLE elsewhere RENAME TO {table}")).unwrap();
        assert!(failures > 0, "{table}");
        // Calls that succeeded without that table were applied completely.
        let status = store.status().await.unwrap();
        let rows: i64 = disk.hand().query_row("SELECT count(*) FROM jobs", [], |row| row.get(0)).unwrap();
        assert_eq!(status.waiting + status.reserved, rows as u64, "{table}");
    }
    assert_eq!(store.get(id).await.unwrap().unwrap().state, JobState::Reserved);
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
}

#[tokio::test]
async fn binary_record_is_set_aside() {
    let disk = Disk::new();
    let store = disk.open();
    store.push(&[job("a"), job("b"), job("c")]).await.unwrap();
    let ids: Vec<i64> = {
        let hand = disk.hand();
        hand.execute(
            "UPDATE records SET meta = CAST(x'ff00fe' AS TEXT) WHERE id = (SELECT min(id) FROM jobs)",
            [],
        )
        .unwrap();
        hand.execute("DELETE FROM records WHERE id = (SELECT max(id) FROM jobs)", []).unwrap();
        let mut all = hand.prepare("SELECT id FROM jobs ORDER BY id").unwrap();
        all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(store.list(JobState::Waiting, None, 10).await.unwrap().jobs.len(), 3);
    let mut master = Master::join(&store).await;
    let reply = master.turn(&[], 3).await.unwrap();
    let malformed: Vec<_> = reply.leased.iter().map(|l| matches!(l, Leased::Malformed { .. })).collect();
    assert_eq!(malformed, [true, false, true]);
    let ends: Vec<_> = reply
        .leased
        .iter()
        .map(|leased| aint_queue::store::Settlement {
            id: leased.id(),
            unique: None,
            to: aint_queue::store::Destination::Failed(aint_queue::job::JobMeta::malformed(reply.now, "why")),
            output: aint_queue::store::OutputChange::Keep,
        })
        .collect();
    assert_eq!(master.settle(&ends).await, []);
    let failed = store.list(JobState::Failed, None, 10).await.unwrap().jobs;
    assert_eq!(failed.len(), 3);
    assert_eq!(failed[2].id.0 as i64, ids[0]);
    assert!(failed[2].payload.ends_with("{\"name\":\"a\"}"), "{:?}", failed[2].payload);
}

#[tokio::test]
async fn page_of_large_payloads_is_shortened() {
    let disk = Disk::new();
    let store = disk.open();
    let payload = Payload::parse(format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 2))).unwrap();
    for _ in 0..9 {
        store.push(&[NewJob::new("large", payload.clone())]).await.unwrap();
    }
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(JobState::Waiting, after, 500).await.unwrap();
        pages.push(page.jobs.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 1]);
}

#[tokio::test]
async fn foreign_rows_do_not_stop_the_status() {
    let disk = Disk::new();
    let store = disk.open();
    let id = store.push(&[job("a")]).await.unwrap()[0].id();
    disk.hand().execute("UPDATE records SET meta = CAST(x'fffe' AS TEXT)", []).unwrap();
    assert_eq!(store.status().await.unwrap().waiting, 1);
    // A row that another program adds is in no count.
    let insert = "INSERT INTO jobs (id, lane, rank) SELECT 5, waiting, 1 FROM channels";
    disk.hand().execute(insert, []).unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.turn(&[], 5).await.unwrap().leased;
    let mut ids: Vec<_> = leased.iter().map(Leased::id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [JobId(5), id]);
    assert!(leased.iter().all(|leased| matches!(leased, Leased::Malformed { .. })), "{leased:?}");
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved), (0, 2));
}
