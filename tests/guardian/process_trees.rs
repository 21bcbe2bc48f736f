//! Process trees: every descendant of a worker dies with it, however it detached itself.

use std::io::Read;
use std::time::{Duration, Instant};

use aint_queue::engine::guardian::{ChildSpec, Exit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::*;

/// Ways to leave processes behind: a name, a script that never exits, and the number of `sleep MARK` processes it runs.
const ESCAPES: &[(&str, &str, usize)] = &[
    ("a plain child", "sleep MARK & wait", 1),
    ("a child in a session of its own", "setsid sleep MARK & wait", 1),
    ("a child that outlived its parent", "(sleep MARK &); sleep MARK; true", 2),
    ("a daemon, forked twice", "(setsid sh -c 'sleep MARK & wait' &); sleep MARK; true", 2),
    ("one deaf to TERM, HUP and INT", "trap '' TERM HUP INT; setsid sleep MARK & wait", 1),
    ("one with a wiped environment", "env -i setsid sleep MARK & wait", 1),
    ("a daemon with a wiped environment", "(setsid env -i sh -c 'sleep MARK &' &); sleep MARK; true", 2),
    (
        "sessions within sessions",
        "setsid sh -c 'setsid sh -c \"env -i setsid sleep MARK; true\"; true' & wait",
        1,
    ),
    ("a stopped grandchild", "setsid sh -c 'sleep MARK & kill -STOP $$; wait' & sleep MARK; true", 2),
    (
        "one whose first thread has ended",
        "exec python3 -c '
import ctypes, os, threading, time
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=os.system, args=(\"sleep MARK; true\",)).start()
    ctypes.CDLL(None).pthread_exit(None)
time.sleep(3600)'",
        1,
    ),
];

#[tokio::test]
async fn killing_a_worker_kills_its_tree() {
    let mut f = Fixture::new().await;
    for &(name, script, size) in ESCAPES {
        let mark = mark();
        let (child, ..) = f.tree(script, &mark, size).await;
        f.handle.kill(child);
        assert_eq!(f.ended(child).await, Exit::Signal(9), "{name}");
        assert_none_left(&mark, name);
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn external_kill_of_worker_kills_its_tree() {
    let mut f = Fixture::new().await;
    for &(name, script, size) in ESCAPES {
        let mark = mark();
        let (child, pid, _) = f.tree(script, &mark, size).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert_eq!(f.ended(child).await, Exit::Signal(9), "{name}");
        assert_none_left(&mark, name);
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn guardian_exit_kills_every_tree() {
    for &(name, script, size) in ESCAPES {
        let mut f = Fixture::new().await;
        let mark = mark();
        f.tree(script, &mark, size).await;
        f.guardian.shut_down().await;
        assert_none_left(&mark, name);
    }
}

#[tokio::test]
async fn worker_exit_kills_its_leftover_processes() {
    let mut f = Fixture::new().await;
    let left_behind = [
        "sleep MARK &",
        "setsid sleep MARK &",
        "env -i setsid sleep MARK &",
        "(setsid sh -c 'trap \"\" TERM; sleep MARK & sleep MARK' &)",
        "setsid sh -c 'while :; do sleep MARK & sleep 0.001; done' & sleep 0.02",
    ];
    for script in left_behind {
        let mark = mark();
        let child = f.sh(&format!("{}\nexit 7", script.replace("MARK", &mark)));
        f.started(child).await;
        assert_eq!(f.ended(child).await, Exit::Code(7), "{script}");
        assert_none_left(&mark, script);
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn child_holding_stdout_does_not_delay_exit() {
    let mut f = Fixture::new().await;
    let mark = mark();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = format!("setsid sleep {mark} & echo done");
    let child = f.spawn(ChildSpec { stdout: writer.into(), ..sh(&script) });
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(0));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "done\n", "nobody holds the pipe any more");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn fork_storm_is_killed() {
    let mut f = Fixture::new().await;
    let mark = mark();
    // Every process starts more in new sessions, about a thousand in total unless stopped.
    let storm = "
import os, time
for _ in range(10):
    if os.fork() == 0:
        os.setsid()
    time.sleep(0.005)
time.sleep(3600)";
    let child = f.spawn(argv(&["python3", "-c", storm, &mark]));
    f.started(child).await;
    until("a storm", || alive(&mark).len() > 40).await;
    f.handle.kill(child);
    assert_eq!(f.ended(child).await, Exit::Signal(9));
    assert_none_left(&mark, "it");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn stopped_worker_is_killed() {
    let mut f = Fixture::new().await;
    let mark = mark();
    let (child, pid, _) = f.tree("sleep MARK & wait", &mark, 1).await;
    kill(Pid::from_raw(-pid), Signal::SIGSTOP).unwrap();
    f.handle.kill(child);
    assert_eq!(f.ended(child).await, Exit::Signal(9));
    assert_none_left(&mark, "it");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn sigterm_reaches_whole_process_group() {
    let mut f = Fixture::new().await;
    let mark = mark();
    let script = "trap 'wait; exit 9' TERM; sh -c 'trap \"exit 0\" TERM; sleep MARK & wait' & wait";
    let (child, ..) = f.tree(script, &mark, 1).await;
    f.handle.terminate(child);
    assert_eq!(f.ended(child).await, Exit::Code(9));
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn two_hundred_children_killed_at_once_are_all_reaped() {
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    let mark = mark();
    let children: Vec<_> = (0..200).map(|_| f.spawn(argv(&["sleep", &mark]))).collect();
    let mut pids = Vec::new();
    for child in &children {
        pids.push(f.started(*child).await);
    }
    for pid in pids {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    for child in children {
        assert_eq!(f.ended(child).await, Exit::Signal(9));
    }
    let list = std::fs::read_to_string(format!("/proc/{guardian}/task/{guardian}/children")).unwrap();
    assert_eq!(list, "", "no zombie is left");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn worker_exit_spares_trees_of_other_workers() {
    let mut f = Fixture::new().await;
    let (kept, wiped) = (mark(), mark());
    // Its strays have its cookie, or are older than the worker that ends.
    let script = format!("(setsid sleep MARK &); (env -i setsid sleep {wiped} &); sleep MARK; true");
    let (owner, pid, guardian) = f.tree(&script, &kept, 2).await;
    let adopted = |mark: &str| {
        let strays = alive(mark).into_iter().filter(|p| *p != pid && parent_of(*p) == guardian);
        strays.count()
    };
    until("the strays are adopted", || adopted(&kept) == 1 && adopted(&wiped) == 1).await;
    // The start time of a process has a resolution of 10 ms.
    tokio::time::sleep(Duration::from_millis(30)).await;
    for _ in 0..5 {
        let other = f.sh("exit 0");
        f.started(other).await;
        f.ended(other).await;
    }
    assert_eq!((adopted(&kept), adopted(&wiped)), (1, 1));
    f.handle.kill(owner);
    f.ended(owner).await;
    assert_none_left(&kept, "the owner");
    assert_none_left(&wiped, "the owner");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn tree_kill_takes_milliseconds() {
    let mut f = Fixture::new().await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let mark = mark();
        let (child, ..) = f.tree("setsid sleep MARK & sleep MARK; true", &mark, 2).await;
        let begun = Instant::now();
        f.handle.kill(child);
        f.ended(child).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
    f.guardian.shut_down().await;
}
