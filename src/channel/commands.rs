//! The messages between a channel and the rest of the master: commands, and the replies to them.
//!
//! The status types, which are also replies, are in `status`.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::done_runs::{DoneRun, DoneRunsPage};
use super::settings::ChannelSettings;
use super::status::{ChannelDetails, ChannelStatus, Heartbeat};
use crate::job::{FailReason, JobId, JobOutput};
use crate::pool::{
    GenerationSpec, MinWorkers, RolloutError, RolloutSummary, RunOutput, RunStatus, RunningJob, ScaleOrder,
};

/// A command to a channel. The sender may stop waiting for the reply at any time.
#[derive(Debug)]
pub enum Command {
    /// Finish the running jobs and end. A later one with `force` skips the wait of an earlier one.
    Stop {
        /// Kill the running jobs instead of waiting for them.
        force: bool,
    },
    /// Replace the workers by a new generation, and then the settings.
    Reload(Box<ReloadSpec>, ReloadReply),
    /// Report the state of the channel.
    Status(oneshot::Sender<ChannelStatus>),
    /// Set the manual minimum worker count; the reply has the new minimum, or why it cannot be set.
    Scale(ScaleOrder, oneshot::Sender<Result<MinWorkers, String>>),
    /// Take no more jobs; running jobs end normally.
    Quiet(oneshot::Sender<QuietReply>),
    /// Take jobs again; the reply says whether the channel was quiet.
    Resume(oneshot::Sender<bool>),
    /// End a held job. The reply comes when the store has recorded where the job went.
    Cancel(JobId, oneshot::Sender<HeldCancel>),
    /// End a held job by a kill of its worker, without asking first; otherwise as [`Command::Cancel`].
    Kill(JobId, oneshot::Sender<HeldCancel>),
    /// End the worker with this process id: at once, or after the jobs it has. The reply says whether there is such a worker.
    EndWorker {
        /// The process id.
        pid: i32,
        /// Kill it at once; its jobs run again, and the attempt does not count.
        kill: bool,
        /// Receives the reply.
        reply: oneshot::Sender<bool>,
    },
    /// Report the state of the channel and of one of its jobs.
    Details(Option<JobId>, oneshot::Sender<ChannelDetails>),
    /// Report the running jobs.
    Runs(oneshot::Sender<Vec<RunningJob>>),
    /// Find what a job prints or has printed.
    Output(JobId, oneshot::Sender<OutputSource>),
    /// Report the last done runs: before a position, at most so many.
    DoneRuns(Option<u64>, usize, oneshot::Sender<DoneRunsPage>),
    /// Take no jobs until the running ones have ended, at most until this time, or take them again: the master waits before a
    /// re-exec. Apart from `queue:quiet`, which may come and go meanwhile.
    HoldBack(Option<Instant>),
    /// Show that the actor is responsive.
    Heartbeat(oneshot::Sender<Heartbeat>),
}

/// The next generation of workers, and the settings that take effect with it.
#[derive(Debug)]
pub struct ReloadSpec {
    /// The new workers.
    pub pool: GenerationSpec,
    /// The new settings.
    pub settings: ChannelSettings,
}

/// Reply to [`Command::Output`]: the output of a job, as far as this master knows it.
#[derive(Debug)]
pub enum OutputSource {
    /// The job runs: its run, and its output so far.
    Running(RunStatus, RunOutput),
    /// The job is done.
    Done(DoneRun, Option<JobOutput>),
    /// The master has no run of the job.
    Unknown,
}

/// Receives the result of a reload.
pub type ReloadReply = oneshot::Sender<Result<RolloutSummary, RolloutError>>;

/// Reply to [`Command::Quiet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietReply {
    /// Whether the channel was quiet before.
    pub was_quiet: bool,
    /// Jobs that are running in workers.
    pub running: usize,
    /// Jobs that had not started and are waiting again.
    pub handed_back: usize,
}

/// Reply to [`Command::Cancel`], as the store has recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldCancel {
    /// The job was ended and is failed.
    Cancelled {
        /// How the job was ended.
        how: CancelMethod,
        /// Milliseconds from the command to the end of the job.
        ms: u64,
        /// Why the job is failed: another reason than the cancel if that hit the failed callback of the job.
        reason: FailReason,
    },
    /// The job was done first.
    Done,
    /// The job failed for good first.
    Failed(FailReason),
    /// The run had ended before, and the job is waiting for another.
    Waiting,
    /// The run had ended before, and the job is delayed until another.
    Delayed,
    /// This master lost the job meanwhile: the job was cleared, or the lease was lost.
    Gone,
    /// This master does not hold the job.
    NotHeld,
}

/// How a held job was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelMethod {
    /// The job had not started.
    NotBegun,
    /// The job ended when it was asked to.
    Asked,
    /// The worker of the job was killed.
    Killed,
}
