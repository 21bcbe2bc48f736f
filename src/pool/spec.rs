//! The specification of a pool: its program, its plan and its time limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::{Plan, Recycling, Scaling};

/// The program a pool starts, how many of it, and its time limits.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// The channel's name, for logs and for the workers.
    pub channel: Arc<str>,
    /// The program that runs the jobs.
    pub program: Program,
    /// Number and size of the workers.
    pub plan: Plan,
    /// Rules for changing the number of workers.
    pub scaling: Scaling,
    /// Rules for replacing workers.
    pub recycling: Recycling,
    /// Environment variables set for workers.
    pub env: Vec<(String, String)>,
    /// Working directory of workers; the master's when absent.
    pub cwd: Option<PathBuf>,
    /// The files of the program, as far as its command line names them.
    pub files: Vec<PathBuf>,
    /// Bytes of output of one worker that are logged per second; 0 = no limit.
    pub log_rate: u64,
    /// Longest time from start to hello.
    pub boot_timeout: Duration,
    /// Time between asking a timed-out run to end and killing its worker.
    pub timeout_grace: Duration,
    /// Time between asking a worker to stop and killing it.
    pub stop_grace: Duration,
    /// Time the other runs of a worker with a stuck run may take to finish.
    pub stop_wait: Duration,
}

/// The program behind a channel's jobs.
#[derive(Clone, Debug)]
pub enum Program {
    /// Long-lived, speaks the worker protocol.
    Wire(Vec<String>),
    /// Started once per job.
    Exec(Vec<String>),
}

impl PoolSpec {
    /// Whether the program is started once per job.
    pub(super) fn is_exec(&self) -> bool {
        matches!(self.program, Program::Exec(_))
    }

    /// Whether the plan itself keeps every run alone in its worker.
    pub(super) fn runs_are_alone(&self) -> bool {
        self.plan.slots == 1 || self.is_exec()
    }

    /// Most workers beside the serving ones: booting, spare, draining, stopping.
    pub(super) fn surge(&self) -> usize {
        (self.plan.max / 4).max(1)
    }

    /// Whether workers follow a program that changes on disk: each runs a single job, so each job runs the file as it
    /// is when the job begins. Long-lived workers change with a reload.
    pub(super) fn follows_files(&self) -> bool {
        self.plan.jobs_per_life == 1 && !self.is_exec()
    }
}
