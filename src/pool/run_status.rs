//! A closer look, for whoever asks why something waits: at one run, and at what there is room for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::worker::WorkerState;
use super::{Pool, Program};
use crate::wire::RunId;

/// More names of handlers are not passed on.
const MAX_LISTED_HANDLERS: usize = 1000;

/// A run, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Its worker's process id, once it has one.
    pub pid: Option<i32>,
    /// Its worker is being started for it; it has not begun.
    pub booting: bool,
    /// Milliseconds since it was handed to its worker.
    pub ms: u64,
    /// How many it may take, in all.
    pub limit_ms: Option<u64>,
    /// How far it says it is, in whole percent.
    pub progress: Option<u8>,
    /// Why it was asked to end.
    pub ending: Option<CancelReason>,
    /// It was asked to end and does not: its worker is killed when its siblings have ended.
    pub stuck: bool,
}

/// Why a run was asked to end before it had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Its time limit has passed.
    TimedOut,
    /// Somebody cancelled its job.
    Cancelled,
}

impl Pool {
    /// How a run stands; `None` when it is not aboard any more.
    #[must_use]
    pub fn run_status(&self, run: RunId, now: tokio::time::Instant) -> Option<RunStatus> {
        let entry = self.runs.get(&run)?;
        let worker = self.workers.get(&entry.child);
        let wire = matches!(self.spec.program, Program::Wire(_));
        Some(RunStatus {
            pid: worker.and_then(|worker| worker.pid),
            booting: wire && worker.is_some_and(|worker| worker.state == WorkerState::Booting),
            ms: millis(now.into_std().duration_since(entry.began)),
            limit_ms: entry.limit.map(millis),
            progress: entry.progress.map(super::status::whole),
            ending: match (entry.cancelled, entry.overdue) {
                (true, _) => Some(CancelReason::Cancelled),
                (false, true) => Some(CancelReason::TimedOut),
                (false, false) => None,
            },
            stuck: self.stuck_runs.contains(&run),
        })
    }

    /// The names of the jobs that the workers said they have handlers for, in order; `None` when they have not said, or
    /// named so many that nobody wants to read them.
    #[must_use]
    pub fn handlers(&self) -> Option<Vec<String>> {
        if self.jobs.is_empty() || self.jobs.len() > MAX_LISTED_HANDLERS {
            return None;
        }
        let mut names: Vec<_> = self.jobs.keys().cloned().collect();
        names.sort_unstable();
        Some(names)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
