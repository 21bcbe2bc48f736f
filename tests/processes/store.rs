//! SQLite with several processes: killed while writing, writing at once, waking each other.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aint_queue::job::JobId;
use aint_queue::store::sqlite::SqliteStore;
use aint_queue::store::{JobState, Reap, Store};
use rusqlite::Connection;

use crate::block_on;
use crate::role::{Role, RoleProcess, report};
use crate::store_fixture::{Master, done, job};

trials![
    killed_writer_loses_no_acknowledged_write,
    concurrent_processes_run_each_job_once,
    push_of_another_process_wakes_waiters,
    killed_clear_and_reap_are_finished_by_next_process,
    removed_log_refuses_other_processes_and_keeps_jobs,
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("store::work_until_killed", work_until_killed),
    ("store::push_and_work", push_and_work),
    ("store::push_on_request", push_on_request),
    ("store::clear_until_killed", clear_until_killed),
    ("store::push_before_and_after", push_before_and_after),
];

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, "test").unwrap())
}

/// The store that a role works on.
fn given(arguments: &[String]) -> Arc<dyn Store> {
    let [path] = arguments else { panic!("one store") };
    open(Path::new(path))
}

fn work_until_killed(arguments: &[String]) {
    block_on(async {
        let store = given(arguments);
        let mut master = Master::join(&store).await;
        loop {
            let jobs: Vec<_> = (0..5).map(|n| job(&format!("j{n}"))).collect();
            for pushed in store.push(&jobs).await.unwrap() {
                report(format!("pushed {}", pushed.id()));
            }
            let leased = master.lease(3).await;
            assert_eq!(master.settle(&[done(&leased[0])]).await, []);
            report(format!("done {}", leased[0].id));
        }
    });
}

fn killed_writer_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (mut pushed, mut ended) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let mut process = RoleProcess::start("store::work_until_killed", &[&path]);
        let mut told = 0;
        while let Some(line) = process.next_line() {
            // A line that the kill has cut off is no id.
            let Some((word, Ok(id))) = line.split_once(' ').map(|(word, id)| (word, id.parse::<JobId>()))
            else {
                continue;
            };
            match word {
                "pushed" => pushed.push(id),
                "done" => ended.push(id),
                _ => panic!("no report: {line}"),
            }
            told += 1;
            // Killed at a different point of its work each time; earlier reports are still in the pipe.
            if told == 10 + round * 7 {
                process.child.kill().unwrap();
            }
        }
        assert!(told >= 10 + round * 7, "the process ended by itself");
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

/// How many jobs each child of [`push_and_work`] pushes.
const EACH: usize = 150;

fn push_and_work(arguments: &[String]) {
    block_on(async {
        let store = given(arguments);
        let mut master = Master::join(&store).await;
        let mut finished = 0;
        for n in 0..EACH {
            store.push(&[job(&format!("j{n}"))]).await.unwrap();
            let ends: Vec<_> = master.lease(4).await.iter().map(done).collect();
            for end in &ends {
                report(format!("done {}", end.id));
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
            ends.iter().for_each(|end| report(format!("done {}", end.id)));
            finished += ends.len();
            assert_eq!(master.settle(&ends).await, []);
        }
        store.leave(&master.owner).await.unwrap();
    });
}

fn concurrent_processes_run_each_job_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    // They also race to make the file.
    let children: Vec<_> = (0..6).map(|_| RoleProcess::start("store::push_and_work", &[&path])).collect();
    let mut finished = Vec::new();
    for mut child in children {
        let lines: Vec<String> = std::iter::from_fn(|| child.next_line()).collect();
        assert!(child.child.wait().unwrap().success(), "{lines:?}");
        finished
            .extend(lines.iter().map(|line| line.strip_prefix("done ").unwrap().parse::<JobId>().unwrap()));
    }
    let distinct: std::collections::BTreeSet<_> = finished.iter().collect();
    assert_eq!(distinct.len(), finished.len(), "a job was leased twice");
    let status = block_on(async { open(&path).status().await.unwrap() });
    assert_eq!(status.done, finished.len() as u64);
    assert_eq!((status.waiting + status.done, status.reserved), (6 * EACH as u64, 0));
}

fn push_on_request(arguments: &[String]) {
    let store = given(arguments);
    report("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    block_on(async { store.push(&[job("late")]).await.unwrap() });
}

fn push_of_another_process_wakes_waiters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path);
    let mut child = RoleProcess::start("store::push_on_request", &[&path]);
    assert_eq!(child.next_report(), "ready");
    block_on(async {
        while store.status().await.unwrap().total() == 0 {
            // Earlier wake-ups are used up by now.
            store.wait(Duration::from_millis(50)).await.unwrap();
            let begin = Instant::now();
            let mut told = child.child.stdin.take();
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
    assert!(child.child.wait().unwrap().success());
}

fn clear_until_killed(arguments: &[String]) {
    block_on(async {
        let store = given(arguments);
        report("ready");
        let all = aint_queue::store::Clear { waiting: true, delayed: true, failed: true, reserved: false };
        store.clear(all).await.unwrap();
        report("cleared");
        std::future::pending::<()>().await;
    });
}

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
            let mut child = RoleProcess::start("store::clear_until_killed", &[&path]);
            assert_eq!(child.next_report(), "ready");
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            child.kill();

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

/// Pushes a job, and another one that must be refused when the test asks for it.
fn push_before_and_after(arguments: &[String]) {
    let store = given(arguments);
    block_on(async { store.push(&[job("before")]).await.unwrap() });
    report("pushed");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    report(block_on(async { store.push(&[job("after")]).await.unwrap_err() }));
}

fn removed_log_refuses_other_processes_and_keeps_jobs() {
    for suffixes in [&["-wal"][..], &["-shm"], &["-wal", "-shm"]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let mut holder = RoleProcess::start("store::push_before_and_after", &[&path]);
        assert_eq!(holder.next_report(), "pushed");
        for suffix in suffixes {
            std::fs::remove_file(dir.path().join(format!("store.db{suffix}"))).unwrap();
        }
        // A process with files of its own would push jobs that the holder never sees.
        let refused = SqliteStore::open(&path, "test").unwrap_err().to_string();
        let pid = format!("pid {} has it open", holder.child.id());
        assert!(refused.contains(&pid) && refused.contains("queue:stop"), "{suffixes:?}: {refused}");
        assert!(!suffixes.iter().any(|suffix| dir.path().join(format!("store.db{suffix}")).exists()));
        holder.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let refused = holder.next_report();
        assert!(refused.contains(&format!("store.db{}", suffixes[0])), "{suffixes:?}: {refused}");
        assert!(holder.child.wait().unwrap().success());
        let status = block_on(async { open(&path).status().await.unwrap() });
        assert_eq!(status.waiting, 1, "{suffixes:?}");
    }
}
