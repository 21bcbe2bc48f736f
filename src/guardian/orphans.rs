//! The children of the master itself: its guardian, what a dead guardian left behind, and, when the master is
//! the first process of a container, everybody's orphans.
//!
//! The master starts nothing but guardians, and everything a guardian starts is outside the master's session.
//! So a child in another session that is not a guardian was left by one.

use std::collections::BTreeSet;
use std::io;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::procfs;
use super::signals::{SignalResult, kill_child};
use crate::fd;

/// The guardians of this process, which nobody reaps but the task that talks to them.
static GUARDIANS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn guardians() -> MutexGuard<'static, BTreeSet<i32>> {
    // A set of numbers is never left half-changed.
    GUARDIANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a guardian. The lock is held meanwhile, so that it is never taken for something left behind.
pub(super) fn start_guardian(command: impl FnOnce() -> io::Result<Child>) -> io::Result<i32> {
    let mut guardians = guardians();
    let pid = i32::try_from(command()?.id()).expect("the kernel's process ids are positive and fit");
    guardians.insert(pid);
    Ok(pid)
}

/// Reaps a guardian if it has ended; says whether it has.
pub(super) fn reap_guardian(pid: i32) -> bool {
    let mut guardians = guardians();
    // A status that is not StillAlive, or any error, means that no such child is left.
    let ended = !matches!(try_wait(pid), Ok(WaitStatus::StillAlive));
    if ended {
        guardians.remove(&pid);
    }
    ended
}

/// Reaps the orphans that have ended and became ours.
pub(super) fn reap_orphans() {
    let is_init = getpid().as_raw() == 1;
    // Of a thousand orphans that live, the list would be read for each that ends.
    if is_init && reap_all_ended() {
        return;
    }
    for (pid, in_own_session) in other_children(procfs::children_of(getpid().as_raw())) {
        if is_init || !in_own_session {
            let _ = try_wait(pid);
        }
    }
}

/// Reaps whoever has ended, without a look at who has not. Says whether that worked: a dead guardian is for the
/// task that talks to it, and nobody behind it can be seen this way.
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

/// Kills what dead guardians left behind and reaps what has ended of it; says what there was. Repeat it until
/// there is nothing: what hung below a killed process comes to us only when that is reaped.
pub(super) fn kill_orphans() -> Vec<i32> {
    let mut left = Vec::new();
    // The kernel keeps children by the thread that has them, and moves them when a thread ends: a list put together
    // meanwhile may lack one. Here a missing one would be left alive, so every process is looked at.
    let me = getpid().as_raw();
    let own = procfs::all_pids().into_iter().filter(|pid| procfs::stat(*pid).is_some_and(|s| s.parent == me));
    for (pid, in_own_session) in other_children(own.collect()) {
        if in_own_session {
            continue;
        }
        let leads_group = procfs::stat(pid).is_some_and(|s| s.group == pid);
        let signalled = kill_child(pid, leads_group);
        let _ = try_wait(pid);
        // One that is gone already counts too: what hung below it is ours only now.
        if signalled == SignalResult::Sent {
            left.push(pid);
        }
    }
    left
}

/// Those of our children that are not guardians, and whether they are in this process's session.
fn other_children(children: Vec<i32>) -> Vec<(i32, bool)> {
    let guardians = guardians();
    let own = procfs::stat(getpid().as_raw()).map(|s| s.session);
    let others = children.into_iter().filter(|pid| !guardians.contains(pid));
    others.filter_map(|pid| Some((pid, Some(procfs::stat(pid)?.session) == own))).collect()
}

fn try_wait(pid: i32) -> Result<WaitStatus, Errno> {
    waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG))
}
