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
const MOST_IN_A_WALK: usize = 10_000;

/// Whether a process could be signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It was, or it has just ended.
    Signalled,
    /// The system forbids it: the process has changed to another user.
    Forbidden,
}

/// SIGKILL to an unreaped child of this process, and to its process group if it leads one.
pub(super) fn kill_child(pid: i32, leads_group: bool) -> Reach {
    if leads_group {
        signal_group(pid, Signal::SIGKILL);
    }
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Err(Errno::EPERM) => Reach::Forbidden,
        _ => Reach::Signalled,
    }
}

/// A signal to the process group that an unreaped child of this process leads or led.
pub(super) fn signal_group(leader: i32, signal: Signal) {
    // No such group is the ordinary answer when the leader has moved on; there is nothing to do about others.
    let _ = kill(Pid::from_raw(-leader), signal);
}

/// SIGKILL to everything whose parent chain ends in `root`, an unreaped child of this process; not to `root`.
///
/// For trees whose root does not die although it was killed, so that its children do not come to us.
pub(super) fn kill_below(root: i32) {
    let me = nix::unistd::getpid().as_raw();
    let mut seen = HashSet::from([root, me]);
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for pid in procfs::children_of(parent) {
            if seen.len() > MOST_IN_A_WALK || !seen.insert(pid) {
                continue;
            }
            // A chain is followed before its link is cut: a dead parent has no children to list.
            parents.push(pid);
            let Ok(process) = fd::pidfd(pid) else { continue };
            // Its parent may have died since the list was read; then it is ours. Any other parent means that
            // the number belongs to somebody else by now.
            if procfs::stat(pid).is_some_and(|s| s.parent == parent || s.parent == me) {
                let _ = fd::pidfd_signal(&process, Signal::SIGKILL as i32);
            }
        }
    }
}
