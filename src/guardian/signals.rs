//! Signals to children and process trees that can never hit an unrelated process.
//!
//! A pid is signalled directly only while it belongs to an unreaped child of this process, because the kernel does not
//! reuse the number before. Deeper descendants are signalled through a pidfd, whose process is verified after the pidfd
//! is open.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::procfs;
use crate::fd;

/// Most processes collected in one walk of a tree; the next walk finds the rest.
const MAX_WALKED_PROCESSES: usize = 10_000;

/// Result of an attempt to signal a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalResult {
    /// The signal was sent, or the process has just ended.
    Sent,
    /// The kernel refused: the process runs as another user.
    NotPermitted,
}

/// Sends SIGKILL to an unreaped child of this process, and to its process group if it leads one.
pub(super) fn kill_child(pid: i32, leads_group: bool) -> SignalResult {
    if leads_group {
        signal_group(pid, Signal::SIGKILL);
    }
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Err(Errno::EPERM) => SignalResult::NotPermitted,
        _ => SignalResult::Sent,
    }
}

/// Sends a signal to the process group that an unreaped child of this process leads or led.
pub(super) fn signal_group(leader: i32, signal: Signal) {
    // ESRCH is normal when the leader has left its group. Other errors have no remedy here.
    let _ = kill(Pid::from_raw(-leader), signal);
}

/// Sends SIGKILL to an unreaped child of this process and to all its descendants.
///
/// Processes forked during the walk are found later: a killed process forks no more, and the children of a dead process
/// are re-parented to this process, where the next scan finds them.
pub(super) fn kill_tree(root: i32, leads_group: bool) -> SignalResult {
    // Collect the whole tree before the first kill, which re-parents processes and so breaks the parent chains.
    let descendants = descendants_of(root);
    let signalled = kill_child(root, leads_group);
    let me = nix::unistd::getpid().as_raw();
    for (pid, parent) in descendants {
        let Ok(process) = fd::pidfd(pid) else { continue };
        // The parent may have died since the list was read, and the process is re-parented to this one. Any other parent
        // means that the pid was reused by an unrelated process.
        if procfs::stat(pid).is_some_and(|s| s.parent == parent || s.parent == me) {
            let _ = fd::pidfd_signal(&process, Signal::SIGKILL as i32);
        }
    }
    signalled
}

/// All descendants of `root`, each with its parent, parents first.
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
