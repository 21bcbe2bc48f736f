//! Death of the guardian or the master: no child survives either.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aint_queue::engine::guardian::{ChildEvent, Exit, Guardian, sweep};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::Mutex;

use crate::fixture::*;

/// Children of a dead guardian are re-parented to this process, so the tests in which a guardian dies or this process
/// inherits orphans must not overlap.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn killed_guardians_trees_die_and_successor_serves() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let mut f = Fixture::new().await;
    for round in 1..=3 {
        let mark = mark();
        let (first, _, guardian) = f.tree(EVERY_ESCAPE.0, &mark, EVERY_ESCAPE.1).await;
        let second = f.spawn(argv(&["sleep", &mark]));
        f.started(second).await;
        kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
        assert_eq!(f.next(first).await, ChildEvent::Abandoned);
        assert_eq!(f.next(second).await, ChildEvent::Abandoned);
        assert_none_left(&mark, "the dead guardian");
        assert_eq!(f.guardian.deaths(), round);
        assert_ne!(f.pid_of_guardian().await, guardian);
        assert_eq!(stat(guardian), None, "it was reaped");
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn requests_to_dead_guardian_get_responses() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    // Whether the requests reach the dead guardian, its successor or neither, each child gets a final event.
    let children: Vec<_> = (0..20).map(|_| f.sh("exit 0")).collect();
    for child in children {
        match f.next(child).await {
            ChildEvent::Spawned { .. } => drop(f.next(child).await),
            ChildEvent::Abandoned | ChildEvent::SpawnFailed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn guardian_ignores_all_signals_but_kill_and_stop() {
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        kill(Pid::from_raw(guardian), signal).unwrap();
    }
    assert_eq!(f.pid_of_guardian().await, guardian);
    assert_eq!(f.guardian.deaths(), 0);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn stopped_guardian_is_continued() {
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    kill(Pid::from_raw(guardian), Signal::SIGSTOP).unwrap();
    assert_eq!(f.pid_of_guardian().await, guardian);
    kill(Pid::from_raw(guardian), Signal::SIGSTOP).unwrap();
    f.guardian.shut_down().await;
    assert_eq!(stat(guardian), None);
}

/// The signals that a job sends to stop its guardian again and again.
const STOP_LOOP: &str = "while :; do kill -STOP $PPID; sleep 0.02; done";

#[tokio::test]
async fn guardian_that_is_stopped_again_and_again_is_replaced() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let mut f = Fixture::new().await;
    let run = f.handle.run_began();
    let mark = mark();
    let (victim, _, guardian) = f.tree("sleep MARK; true", &mark, 1).await;
    let stopper = f.sh(STOP_LOOP);
    f.started(stopper).await;
    let begun = Instant::now();
    assert_eq!(f.next(victim).await, ChildEvent::Abandoned);
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(f.next(stopper).await, ChildEvent::Abandoned);
    assert_none_left(&mark, "the stopped guardian");
    drop(run);
    assert_ne!(f.pid_of_guardian().await, guardian);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn guardian_stopped_once_during_a_run_is_continued() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let mut f = Fixture::new().await;
    let run = f.handle.run_began();
    let child = f.sh("kill -STOP $PPID; exit 3");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(3));
    assert_eq!(f.guardian.deaths(), 0);
    drop(run);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn idle_master_is_not_silent() {
    let mut f = Fixture::with_silence_limit("x:y", Duration::from_secs(1)).await;
    let run = f.handle.run_began();
    let child = f.sh("sleep 4; exit 3");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(3));
    drop(run);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn guardian_and_successor_hold_the_locks() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let mut f = Fixture::new().await;
    let directory = tempfile::tempdir().unwrap();
    let (kept, given_back) = (directory.path().join("kept"), directory.path().join("given back"));
    for path in [&kept, &given_back] {
        f.handle.hold(path.to_str().unwrap(), locked(path).into());
    }
    let guardian = f.pid_of_guardian().await;
    assert!(is_locked(&kept) && is_locked(&given_back));
    f.handle.release(given_back.to_str().unwrap());
    let holds = |pid: i32, path: &Path| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        links.filter_map(|e| fs::read_link(e.unwrap().path()).ok()).any(|target| target == path)
    };
    until("the guardian closes it", || !holds(guardian, &given_back)).await;
    assert!(holds(guardian, &kept));

    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    until("it is replaced", || f.handle.deaths() == 1).await;
    let successor = f.pid_of_guardian().await;
    assert!(holds(successor, &kept));
    assert!(!holds(successor, &given_back));
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn sweep_kills_only_older_cookies_of_this_lock() {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let (ours, others) = (mark(), mark());
    let lock_id = format!("lock-{}", mark());
    let mut old = Fixture::with_cookie(&format!("{lock_id}:old")).await;
    let mut other = Fixture::with_cookie(&format!("{lock_id}1:old")).await;
    let (_, _, guardian) = old.tree("setsid sleep MARK & sleep MARK; true", &ours, 2).await;
    other.tree("sleep MARK; true", &others, 1).await;
    // Stop the guardian, so that only the sweep can kill the processes.
    kill(Pid::from_raw(guardian), Signal::SIGSTOP).unwrap();
    let swept = tokio::task::spawn_blocking({
        let lock_id = lock_id.clone();
        move || sweep(&lock_id)
    });
    assert_eq!(swept.await.unwrap(), 3);
    assert_none_left(&ours, "the sweep");
    assert_eq!(sleeping(&others).len(), 1);
    kill(Pid::from_raw(guardian), Signal::SIGCONT).unwrap();
    old.guardian.shut_down().await;
    other.guardian.shut_down().await;
}

#[tokio::test]
async fn dropped_guardian_exits() {
    let mark = mark();
    let mut f = Fixture::new().await;
    f.tree("setsid sleep MARK & sleep MARK; true", &mark, 2).await;
    drop::<Guardian>(f.guardian);
    until("everything is gone", || alive(&mark).is_empty()).await;
}
