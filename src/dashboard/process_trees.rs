//! The processes of workers, read at most once a second for all visitors, and the receipt of a kill.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aint_queue_core::mutex::lock;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::guardian::process_list::{ProcessRow, is_alive, tree};

/// Most processes of a tree.
pub(super) const MAX_PROCESSES: usize = 500;
/// Age up to which a tree is shown to further visitors.
const FRESH: Duration = Duration::from_millis(950);
/// Most trees that are kept.
const MAX_TREES: usize = 64;
/// Time for killed processes to disappear, and the time between two looks.
const END_TIMEOUT: Duration = Duration::from_secs(2);
const END_INTERVAL: Duration = Duration::from_millis(50);

/// The last trees, by the root.
#[derive(Debug, Default)]
pub(super) struct ProcessTrees(Mutex<HashMap<i32, KnownTree>>);

/// A tree and the time at which it was read.
type KnownTree = (Instant, Arc<Vec<ProcessRow>>);

/// The receipt of a kill: processes that have ended, and those that have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) ended: usize,
    pub(super) left: usize,
}

impl ProcessTrees {
    /// The process `root` and those below it, of this second.
    pub(super) async fn tree(&self, root: i32) -> Arc<Vec<ProcessRow>> {
        let now = Instant::now();
        if let Some((at, rows)) = lock(&self.0).get(&root)
            && now.duration_since(*at) < FRESH
        {
            return Arc::clone(rows);
        }
        let rows = Arc::new(read(root).await);
        let mut trees = lock(&self.0);
        if trees.len() >= MAX_TREES {
            trees.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
        }
        trees.insert(root, (now, Arc::clone(&rows)));
        rows
    }
}

async fn read(root: i32) -> Vec<ProcessRow> {
    spawn_blocking(move || tree(root, MAX_PROCESSES)).await.unwrap_or_default()
}

/// The processes below a worker before its kill.
pub(super) async fn before_kill(root: Option<i32>) -> Vec<ProcessRow> {
    match root {
        Some(root) => read(root).await,
        None => Vec::new(),
    }
}

/// Waits for the end of processes that are being killed.
pub(super) async fn receipt(before: Vec<ProcessRow>) -> Receipt {
    let (begun, all) = (Instant::now(), before.len());
    let mut left = before;
    loop {
        left = spawn_blocking(move || left.into_iter().filter(is_alive).collect::<Vec<_>>())
            .await
            .unwrap_or_default();
        if left.is_empty() || begun.elapsed() >= END_TIMEOUT {
            return Receipt { ended: all - left.len(), left: left.len() };
        }
        sleep(END_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn receipt_counts_ended_processes_and_those_that_live() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        let trees = ProcessTrees::default();
        while read(root).await.len() < 2 {
            sleep(END_INTERVAL).await;
        }
        let rows = trees.tree(root).await;
        let child = rows[1].pid;
        let before = before_kill(Some(root)).await;
        let kill =
            |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        kill(root);
        shell.wait().unwrap();
        assert_eq!(receipt(before.clone()).await, Receipt { ended: 1, left: 1 });
        kill(child);
        assert_eq!(receipt(before).await, Receipt { ended: 2, left: 0 });
        assert_eq!(receipt(before_kill(None).await).await, Receipt { ended: 0, left: 0 });
    }
}
