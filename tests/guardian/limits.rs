//! The guardian at its limits: no free descriptors, no free processes, process 1 of a container.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use aint_queue::engine::guardian::{ChildEvent, Exit};

use crate::fixture::*;

/// Sets a resource limit of a running process with an option of `prlimit`: `--nofile`, `--nproc`, …
async fn limit(f: &mut Fixture, pid: i32, what: &str) {
    let child = f.spawn(argv(&["prlimit", "--pid", &pid.to_string(), what]));
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(0), "prlimit {what}");
}

#[tokio::test]
async fn guardian_out_of_descriptors_recovers() {
    let mut f = Fixture::new().await;
    let mut other = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    let open = || -> BTreeSet<i32> {
        let entries = fs::read_dir(format!("/proc/{guardian}/fd")).unwrap();
        entries.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    };
    let before = open();
    // One descriptor is free below the limit; the output of a child needs two.
    let second_free = (0..).filter(|n| !before.contains(n)).nth(1).unwrap();
    // A second guardian runs prlimit on the first, which cannot start programs at its limit.
    limit(&mut other, guardian, &format!("--nofile={second_free}:1024")).await;
    for _ in 0..20 {
        let child = f.sh("exit 0");
        let ChildEvent::SpawnFailed { error, errno } = f.next(child).await else { panic!("it started") };
        assert_eq!(errno, libc::EMFILE);
        assert_eq!(
            error,
            "could not run \"sh\": the guardian has no free descriptors; raise its open-files limit"
        );
    }
    assert_eq!(open(), before, "what came and could not be used is closed");
    limit(&mut other, guardian, "--nofile=1024:1024").await;
    let child = f.sh("exit 3");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(3));
    f.guardian.shut_down().await;
    other.guardian.shut_down().await;
}

#[test]
fn pid_1_master_reaps_all_orphans() {
    let own_namespace = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let allowed = Command::new("unshare").args(own_namespace).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("this user may not make containers; nothing is tested");
        return;
    }
    let mut container = Command::new("unshare")
        .args(own_namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "limits::role_pid_1_master"])
        .env("FIRST_PROCESS", "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said: Vec<String> =
        BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    container.wait().unwrap();
    assert!(said.iter().any(|line| line.contains("ALL REAPED")), "{said:#?}");
}

/// Entry point of a process that another test starts as process 1 of a pid namespace.
#[tokio::test]
#[ignore = "is a process for another test"]
async fn role_pid_1_master() {
    if std::env::var_os("FIRST_PROCESS").is_none() {
        return;
    }
    assert_eq!(std::process::id(), 1);
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    let mark = mark();
    // Orphans that the guardian has not started.
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
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("all are reaped", || children() == [guardian]).await;
    // The guardian still serves other children.
    let child = f.sh("exit 4");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(4));
    assert_eq!(f.guardian.deaths(), 0);
    f.guardian.shut_down().await;
    assert_eq!(children(), Vec::<i32>::new());
    println!("ALL REAPED");
}
