//! A master that is killed, and a master that is process 1 of a container.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aint_queue::engine::guardian::{ChildEvent, Exit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::block_on;
use crate::guardian_fixture::*;
use crate::role::{self, Role, RoleProcess, report};

trials![
    master_kill_ends_all_in_100_ms_then_frees_lock,
    stopped_masters_runs_end_after_its_lease,
    pid_1_master_reaps_all_orphans,
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("guardian::master", master),
    ("guardian::stopped_master", stopped_master),
    ("guardian::pid_1_master", pid_1_master),
];

fn master_kill_ends_all_in_100_ms_then_frees_lock() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let mark = mark();
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        let mut master = RoleProcess::start("guardian::master", &[OsStr::new(&mark), lock.as_os_str()]);
        assert_eq!(master.next_report(), "serving");
        assert_eq!(sleeping(&mark).len(), 2 * EVERY_ESCAPE.1);
        assert!(is_locked(&lock));

        let begun = Instant::now();
        master.child.kill().unwrap();
        block_on(until("the lock to be free", || !is_locked(&lock)));
        times.push(begun.elapsed());
        assert_none_left(&mark, "a master whose lock is free");
        master.child.wait().unwrap();
    }
    times.sort_unstable();
    assert!(times[2] < Duration::from_millis(100), "{times:?}");
}

/// Starts trees and holds a lock until it is killed.
fn master(arguments: &[String]) {
    let [mark, lock] = arguments else { panic!("a mark and a lock file") };
    block_on(async {
        let mut f = Fixture::new().await;
        let lock = locked(Path::new(lock));
        f.handle.hold("lock", lock.try_clone().unwrap().into());
        f.tree(EVERY_ESCAPE.0, mark, EVERY_ESCAPE.1).await;
        f.tree(EVERY_ESCAPE.0, mark, 2 * EVERY_ESCAPE.1).await;
        report("serving");
        std::future::pending::<()>().await;
        drop(lock);
    });
}

/// The lease of the master that is stopped.
const SHORT_LEASE: Duration = Duration::from_secs(2);

fn stopped_masters_runs_end_after_its_lease() {
    let mark = mark();
    let mut master = RoleProcess::start("guardian::stopped_master", &[&mark]);
    assert_eq!(master.next_report(), "serving");
    let pid = Pid::from_raw(i32::try_from(master.child.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let stopped_at = Instant::now();
    block_on(until("the runs to end", || sleeping(&mark).is_empty()));
    let took = stopped_at.elapsed();
    // The last beat is up to a sixth of the lease older than the stop.
    assert!(took >= SHORT_LEASE / 2, "{took:?}");
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(master.next_report(), "interrupted, serving again");
    master.kill();
}

/// Has a run while it is stopped.
fn stopped_master(arguments: &[String]) {
    block_on(async {
        let mut f = Fixture::with_silence_limit("x:y", SHORT_LEASE).await;
        let run = f.handle.run_began();
        let (child, _, _) = f.tree(EVERY_ESCAPE.0, &arguments[0], EVERY_ESCAPE.1).await;
        report("serving");
        assert_eq!(f.next(child).await, ChildEvent::Interrupted(Exit::Signal(9)));
        let next = f.sh("exit 4");
        f.started(next).await;
        assert_eq!(f.ended(next).await, Exit::Code(4));
        assert_eq!(f.guardian.deaths(), 0);
        report("interrupted, serving again");
        drop(run);
        std::future::pending::<()>().await;
    });
}

fn pid_1_master_reaps_all_orphans() {
    let own_namespace = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let allowed = Command::new("unshare").args(own_namespace).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("this user may not make containers; nothing is tested");
        return;
    }
    let role = role::command("guardian::pid_1_master", &[""; 0]);
    let mut container = Command::new("unshare");
    container.args(own_namespace).arg(std::env::current_exe().unwrap()).args(role.get_args());
    let mut container = RoleProcess::run({
        container.stdout(Stdio::piped());
        container
    });
    assert_eq!(container.next_line().as_deref(), Some("all reaped"));
    assert!(container.child.wait().unwrap().success());
}

/// Is process 1 of a pid namespace and adopts the orphans of others.
fn pid_1_master(_: &[String]) {
    block_on(async {
        assert_eq!(std::process::id(), 1);
        let mut f = Fixture::new().await;
        let guardian = f.pid_of_guardian().await;
        let mark = mark();
        // Strangers' orphans: nobody here has started them through the guardian.
        let script = format!("for i in 1 2 3 4 5 6 7 8 9 10; do (sleep {mark} & ) ; (exit 3 &); done");
        drop(Command::new("sh").args(["-c", &script]).spawn().unwrap());
        until("ten orphans are adopted", || {
            let adopted = sleeping(&mark).into_iter().filter(|pid| parent_of(*pid) == 1);
            adopted.count() == 10
        })
        .await;
        let children = || {
            let lists = fs::read_dir("/proc/self/task").unwrap().map(|t| t.unwrap().path().join("children"));
            let lists: Vec<String> = lists.filter_map(|list| fs::read_to_string(list).ok()).collect();
            lists.concat().split_ascii_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<i32>>()
        };
        until("those that have ended are reaped", || children().len() == 11).await;
        for pid in sleeping(&mark) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        until("all are reaped", || children() == [guardian]).await;
        // And it serves all the while.
        let child = f.sh("exit 4");
        f.started(child).await;
        assert_eq!(f.ended(child).await, Exit::Code(4));
        assert_eq!(f.guardian.deaths(), 0);
        f.guardian.shut_down().await;
        assert_eq!(children(), Vec::<i32>::new());
        report("all reaped");
    });
}
