//! The master's own children: guardians, the orphans of a dead guardian, and, when the master is process 1 of a
//! container, the orphans of every process in it.
//!
//! The master starts guardians only, and every process of a guardian is outside the master's session. So a child in
//! another session that is not a guardian is the orphan of one.

use std::collections::BTreeSet;
use std::io;
use std::process::Child;
use std::sync::{Mutex, MutexGuard};

use aint_queue_core::mutex;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::procfs;
use super::signals::{SignalResult, kill_child};
use crate::fd;

/// Pids of this process's guardians. Each is reaped only by the client task that is connected to it.
static GUARDIANS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn guardians() -> MutexGuard<'static, BTreeSet<i32>> {
    mutex::lock(&GUARDIANS)
}

/// Starts a guardian. The lock is held until its pid is recorded, so that it is never mistaken for an orphan.
pub(super) fn start_guardian(command: impl FnOnce() -> io::Result<Child>) -> io::Result<i32> {
    let mut guardians = guardians();
    let pid = i32::try_from(command()?.id()).expect("the kernel's process ids are positive and fit");
    guardians.insert(pid);
    Ok(pid)
}

/// Reaps a guardian if it has ended, and returns whether it has.
pub(super) fn reap_guardian(pid: i32) -> bool {
    let mut guardians = guardians();
    // Any status but StillAlive, and any error, means that no such child is left.
    let ended = !matches!(try_wait(pid), Ok(WaitStatus::StillAlive));
    if ended {
        guardians.remove(&pid);
    }
    ended
}

/// Reaps the ended orphans among the master's children.
pub(super) fn reap_orphans() {
    let is_init = getpid().as_raw() == 1;
    // As process 1 avoid the scan below: with a thousand live orphans it would read all of them for each one that ends.
    if is_init && reap_all_ended() {
        return;
    }
    for (pid, in_own_session) in other_children(procfs::children_of(getpid().as_raw())) {
        if is_init || !in_own_session {
            let _ = try_wait(pid);
        }
    }
}

/// Reaps every ended child without scanning the live ones. False when a dead guardian is next: only its client task may
/// reap it, and the kernel does not show the ended children behind it.
fn reap_all_ended() -> bool {
    let guardians = guardians();
    while let Some(dead) = fd::peek_ended_child() {
        if guardians.contains(&dead.pid) {
            return false;
        }
        let _ = try_wait(dead.pid);
    }
    true
}

/// Kills the orphans of dead guardians, reaps those that have ended, and returns the pids found. Call it until it returns
/// none: children of a killed process are re-parented to the master only when that process is reaped.
pub(super) fn kill_orphans() -> Vec<i32> {
    let mut left = Vec::new();
    // The kernel lists children per thread and moves them when a thread ends, so a list read at that moment may lack one.
    // Here a missing child would stay alive, so every process of the machine is checked instead.
    let me = getpid().as_raw();
    let own = procfs::all_pids().into_iter().filter(|pid| procfs::stat(*pid).is_some_and(|s| s.parent == me));
    for (pid, in_own_session) in other_children(own.collect()) {
        if in_own_session {
            continue;
        }
        let leads_group = procfs::stat(pid).is_some_and(|s| s.group == pid);
        let signalled = kill_child(pid, leads_group);
        let _ = try_wait(pid);
        // A process that has just ended counts too: its children are re-parented only now.
        if signalled == SignalResult::Sent {
            left.push(pid);
        }
    }
    left
}

/// The children that are not guardians, each with whether it is in this process's session.
fn other_children(children: Vec<i32>) -> Vec<(i32, bool)> {
    let guardians = guardians();
    let own = procfs::stat(getpid().as_raw()).map(|s| s.session);
    let others = children.into_iter().filter(|pid| !guardians.contains(pid));
    others.filter_map(|pid| Some((pid, Some(procfs::stat(pid)?.session) == own))).collect()
}

fn try_wait(pid: i32) -> Result<WaitStatus, Errno> {
    waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG))
}
