//! The sweep at a master's start: kills processes that an earlier incarnation under the same lock left behind.
//!
//! A guardian leaves nothing behind, with one exception: when master and guardian are killed at the same instant, a
//! detached grandchild survives.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::getpid;

use super::procfs::{self, Cookie};
use crate::fd;

/// How long the sweep waits for killed processes to disappear.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Kills every process that has a cookie of this lock and returns their number. Call it while holding the lock and before
/// starting children under it, so that every such cookie is an old one.
///
/// Scans all processes of the machine; returns when none is left, or one second after the first round of
/// kills.
#[must_use]
pub fn sweep(lock_id: &str) -> usize {
    let prefix = format!("{lock_id}:");
    // A master that was started from inside a job may have inherited the cookie of that job.
    let excluded = self_and_ancestors();
    let mut killed = BTreeSet::new();
    // Set after the first round of kills: on a loaded machine the first scan alone may take longer than the timeout.
    let mut deadline = None;
    loop {
        let holders: Vec<i32> = procfs::all_pids()
            .into_iter()
            .filter(|pid| !excluded.contains(pid) && carries(*pid, &prefix))
            .collect();
        if holders.is_empty() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return killed.len();
        }
        for pid in holders {
            // Check the cookie again once the pidfd is open, so that a reused pid is never killed.
            if let Ok(process) = fd::pidfd(pid)
                && carries(pid, &prefix)
                && fd::pidfd_signal(&process, Signal::SIGKILL as i32).is_ok()
            {
                killed.insert(pid);
            }
        }
        deadline.get_or_insert_with(|| Instant::now() + KILL_TIMEOUT);
        thread::sleep(POLL_INTERVAL);
    }
}

fn carries(pid: i32, prefix: &str) -> bool {
    matches!(procfs::cookie(pid), Cookie::Present(cookie) if cookie.starts_with(prefix))
}

/// Pids of this process and all its ancestors.
fn self_and_ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut pid = getpid().as_raw();
    while pid > 0 && found.insert(pid) {
        pid = procfs::stat(pid).map_or(0, |s| s.parent);
    }
    found
}
