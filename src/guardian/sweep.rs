//! The sweep at a master's start: what an earlier incarnation under the same lock left on this machine dies.
//!
//! Guardians leave nothing behind. This is for the one case they cannot help: master and guardian killed in
//! the same instant, with a grandchild that had detached itself.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::getpid;

use super::procfs::{self, Cookie};
use crate::fd;

/// How long the sweep waits for what it has killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Kills every process that carries a cookie of this lock, and says how many there were. Call it while holding
/// the lock and before starting anything under it: then every such cookie is an old one.
///
/// It looks at every process of the machine and returns when none is left, after a second at the latest.
#[must_use]
pub fn sweep(lock_id: &str) -> usize {
    let prefix = format!("{lock_id}:");
    // A master that was itself started from inside a job may carry its starter's cookie.
    let excluded = self_and_ancestors();
    let mut killed = BTreeSet::new();
    let begun = Instant::now();
    loop {
        let holders: Vec<i32> = procfs::all_pids()
            .into_iter()
            .filter(|pid| !excluded.contains(pid) && carries(*pid, &prefix))
            .collect();
        if holders.is_empty() || begun.elapsed() > KILL_TIMEOUT {
            return killed.len();
        }
        for pid in holders {
            // Looked at again after the pidfd is open, so that a reused number cannot be hit.
            if let Ok(process) = fd::pidfd(pid)
                && carries(pid, &prefix)
                && fd::pidfd_signal(&process, Signal::SIGKILL as i32).is_ok()
            {
                killed.insert(pid);
            }
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn carries(pid: i32, prefix: &str) -> bool {
    matches!(procfs::cookie(pid), Cookie::Present(cookie) if cookie.starts_with(prefix))
}

/// This process, its parent, and so on.
fn self_and_ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut pid = getpid().as_raw();
    while pid > 0 && found.insert(pid) {
        pid = procfs::stat(pid).map_or(0, |s| s.parent);
    }
    found
}
