//! SQLite with several processes: killed during a write, writing concurrently, waking each other.
//!
//! The other processes are this test program, started with arguments that select a role.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, io};

use aint_queue::job::JobId;
use aint_queue::store::sqlite::SqliteStore;
use aint_queue::store::{JobState, Reap, Store};
use rusqlite::Connection;

use crate::fixture::{Master, done, job};

/// Environment variable with the file for a child.
const FILE: &str = "AINT_QUEUE_TEST_FILE";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, "test").unwrap())
}

/// Starts a role of this program as a child process.
fn start(child: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("processes::{child}"), "--ignored", "--nocapture", "--quiet"])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In a child: opens its store.
fn given() -> Arc<dyn Store> {
    open(Path::new(&env::var_os(FILE).expect("started by a test of this module")))
}

/// In a child: reports to the test, unbuffered, because a kill would lose a buffer.
fn tell(word: &str, id: JobId) {
    let mut out = io::stdout().lock();
    writeln!(out, "{word} {id}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "a process of its own, started by the tests below"]
fn role_work_until_killed() {
    block_on(async {
        let store = given();
        let mut master = Master::join(&store).await;
        loop {
            let jobs: Vec<_> = (0..5).map(|n| job(&format!("j{n}"))).collect();
            for pushed in store.push(&jobs).await.unwrap() {
                tell("pushed", pushed.id());
            }
            let leased = master.lease(3).await;
            assert_eq!(master.settle(&[done(&leased[0])]).await, []);
            tell("done", leased[0].id);
        }
    });
}

#[test]
fn killed_writer_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (mut pushed, mut ended) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let mut child = start("role_work_until_killed", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = 0;
        while let Some(Ok(line)) = lines.next() {
            let Some((word, id)) = line.split_once(' ') else { continue };
            match (word, id.parse::<JobId>()) {
                ("pushed", Ok(id)) => pushed.push(id),
                ("done", Ok(id)) => ended.push(id),
                _ => continue,
            }
            told += 1;
            // Killed at a different point of its work each time; earlier reports are still in the pipe.
            if told == 10 + round * 7 {
                child.kill().unwrap();
            }
        }
        assert!(told >= 10 + round * 7, "the child ended by itself");
        child.wait().unwrap();
    }

    let check = Connection::open(&path).unwrap();
    let verdict: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    block_on(async {
        let store = open(&path);
        let ended: std::collections::BTreeSet<_> = ended.into_iter().collect();
        for id in &pushed {
            // A done job may lack its report; then its record is gone and counted.
            if ended.contains(id) {
                assert_eq!(store.get(*id).await.unwrap(), None, "{id} is done");
            }
        }
        let status = store.status().await.unwrap();
        let there = status.waiting + status.reserved;
        let missing = pushed.len() as u64 - ended.len() as u64;
        assert!(status.done >= ended.len() as u64);
        assert!(there + status.done >= pushed.len() as u64, "{status:?}, {missing} reported but not done");
        // Every count is the number of rows there are.
        for (state, count) in [(JobState::Waiting, status.waiting), (JobState::Reserved, status.reserved)] {
            let (mut rows, mut after) = (0, None);
            loop {
                let page = store.list(state, after, 500).await.unwrap();
                rows += page.jobs.len() as u64;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(rows, count, "{state:?}");
        }
        // No other job is missing.
        let mut gone = 0;
        for id in &pushed {
            gone += u64::from(store.get(*id).await.unwrap().is_none());
        }
        assert!(gone <= status.done, "{gone} are gone, {} are done", status.done);
    });
}

/// Number of jobs pushed by each child.
const EACH: usize = 150;

#[test]
#[ignore = "a process of its own, started by the tests below"]
fn role_push_and_work() {
    block_on(async {
        let store = given();
        let mut master = Master::join(&store).await;
        let mut finished = 0;
        for n in 0..EACH {
            store.push(&[job(&format!("j{n}"))]).await.unwrap();
            let ends: Vec<_> = master.lease(4).await.iter().map(done).collect();
            for end in &ends {
                tell("done", end.id);
            }
            assert_eq!(master.settle(&ends).await, []);
            finished += ends.len();
        }
        // Other children may have pushed more jobs than they could finish.
        while finished < EACH / 2 {
            let ends: Vec<_> = master.lease(4).await.iter().map(done).collect();
            if ends.is_empty() {
                break;
            }
            ends.iter().for_each(|end| tell("done", end.id));
            finished += ends.len();
            assert_eq!(master.settle(&ends).await, []);
        }
        store.leave(&master.owner).await.unwrap();
    });
}

#[test]
fn concurrent_processes_run_each_job_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    // The children also race to create the file.
    let children: Vec<_> = (0..6).map(|_| start("role_push_and_work", &path)).collect();
    let mut finished = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        finished.extend(text.lines().filter_map(|line| line.strip_prefix("done ")?.parse::<JobId>().ok()));
    }
    let distinct: std::collections::BTreeSet<_> = finished.iter().collect();
    assert_eq!(distinct.len(), finished.len(), "a job was leased twice");
    let status = block_on(async { open(&path).status().await.unwrap() });
    assert_eq!(status.done, finished.len() as u64);
    assert_eq!((status.waiting + status.done, status.reserved), (6 * EACH as u64, 0));
}

#[test]
#[ignore = "a process of its own, started by the tests below"]
fn role_push_on_request() {
    let store = given();
    println!("ready 0");
    io::stdin().read_line(&mut String::new()).unwrap();
    block_on(async { store.push(&[job("late")]).await.unwrap() });
}

#[test]
fn push_of_another_process_wakes_waiters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path);
    let mut child = start("role_push_on_request", &path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().expect("the child says when it is ready").unwrap().contains("ready") {}
    block_on(async {
        while store.status().await.unwrap().total() == 0 {
            // Earlier wake-ups are used up by now.
            store.wait(Duration::from_millis(50)).await.unwrap();
            let begin = Instant::now();
            let mut told = child.stdin.take();
            let tell = async {
                tokio::task::yield_now().await;
                if let Some(told) = &mut told {
                    told.write_all(b"\n").unwrap();
                }
            };
            let (waited, ()) = tokio::join!(store.wait(Duration::from_secs(20)), tell);
            waited.unwrap();
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
    });
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "a process of its own, started by the tests below"]
fn role_clear_until_killed() {
    block_on(async {
        let store = given();
        println!("ready 0");
        let all = aint_queue::store::Clear { waiting: true, delayed: true, failed: true, reserved: false };
        store.clear(all).await.unwrap();
        println!("cleared 0");
        std::future::pending::<()>().await;
    });
}

#[test]
fn killed_clear_and_reap_are_finished_by_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path);
    let mut total = 0;
    for round in 0..4_u64 {
        block_on(async {
            let jobs: Vec<_> = (0..500).map(|n| job(&format!("j{n}"))).collect();
            for _ in 0..6 {
                total += store.push(&jobs).await.unwrap().len() as u64;
            }
            let mut dead = Master::join(&store).await;
            dead.lease(500).await;
            dead.lease(500).await;
            let mut child = start("role_clear_until_killed", &path);
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            while !lines.next().expect("the child says when it begins").unwrap().contains("ready") {}
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            child.kill().unwrap();
            child.wait().unwrap();

            let halfway = store.status().await.unwrap();
            assert_eq!(halfway.total() - halfway.done + halfway.cleared, total, "{halfway:?}");
            assert_eq!(store.reap(Reap::Owner(&dead.owner)).await.unwrap(), 1000);
            let all = aint_queue::store::Clear { waiting: true, delayed: true, failed: true, reserved: true };
            store.clear(all).await.unwrap();
            let status = store.status().await.unwrap();
            assert_eq!((status.total(), status.cleared), (0, total));
        });
    }
    let check = Connection::open(&path).unwrap();
    let rows = |table| -> i64 {
        check.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("jobs"), rows("records"), rows("owners")), (0, 0, 0));
    assert_eq!(rows("lanes"), 3, "nothing is left behind");
}
