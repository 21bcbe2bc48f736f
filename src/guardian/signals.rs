//! Signals that cannot hit strangers.
//!
//! A pid is signalled directly only while it is this process's own unreaped child, because its number cannot
//! be given away before it is reaped. Anything deeper goes through a pidfd whose process was verified after
//! the pidfd was opened.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::procfs;
use crate::fd;

/// No tree is walked deeper into than this in one go; what is left is found by the next walk.
const MAX_WALKED_PROCESSES: usize = 10_000;

/// Whether a process could be signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalResult {
    /// It was, or it has just ended.
    Sent,
    /// The system forbids it: the process has changed to another user.
    NotPermitted,
}

/// SIGKILL to an unreaped child of this process, and to its process group if it leads one.
pub(super) fn kill_child(pid: i32, leads_group: bool) -> SignalResult {
    if leads_group {
        signal_group(pid, Signal::SIGKILL);
    }
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Err(Errno::EPERM) => SignalResult::NotPermitted,
        _ => SignalResult::Sent,
    }
}

/// A signal to the process group that an unreaped child of this process leads or led.
pub(super) fn signal_group(leader: i32, signal: Signal) {
    // No such group is the ordinary answer when the leader has moved on; there is nothing to do about others.
    let _ = kill(Pid::from_raw(-leader), signal);
}

/// SIGKILL to an unreaped child of this process and to everything whose parent chain ends in it.
///
/// What is forked meanwhile is not lost: a killed process forks no more, and the children of a dead one become
/// this process's own, to be found by the next look.
pub(super) fn kill_tree(root: i32, leads_group: bool) -> SignalResult {
    // All links are followed before the first is cut.
    let descendants = descendants_of(root);
    let signalled = kill_child(root, leads_group);
    let me = nix::unistd::getpid().as_raw();
    for (pid, parent) in descendants {
        let Ok(process) = fd::pidfd(pid) else { continue };
        // Its parent may have died since the list was read; then it is ours. Any other parent means that the
        // number belongs to somebody else by now.
        if procfs::stat(pid).is_some_and(|s| s.parent == parent || s.parent == me) {
            let _ = fd::pidfd_signal(&process, Signal::SIGKILL as i32);
        }
    }
    signalled
}

/// Every process whose parent chain ends in `root`, with its parent, from the top down.
fn descendants_of(root: i32) -> Vec<(i32, i32)> {
    let mut seen = HashSet::from([root]);
    let mut found: Vec<(i32, i32)> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        found.extend(
            procfs::children_of(parent).into_iter().filter(|pid| seen.insert(*pid)).map(|pid| (pid, parent)),
        );
        if next == found.len() || found.len() > MAX_WALKED_PROCESSES {
            return found;
        }
        parent = found[next].0;
        next += 1;
    }
}
