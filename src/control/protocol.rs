//! The messages between a command and a master: one JSON object per line each way.
//!
//! The answer to a request is any number of `progress` lines and one line with `ok` or `error`. Commands and masters of
//! different versions talk to each other, so field and variant names are fixed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::channel::{ChannelDetails, ChannelStatus, DoneRun, DoneRunsPage, HeldCancel, QuietReply};
use crate::job::{JobId, JobOutput};
use crate::pool::{MinWorkers, OutputPage, RolloutSummary, RunStatus, RunningJob, ScaleOrder};
use crate::snapshot::{HandlerStatus, Point, Recent, ScaledAt, Step, Trends};
use crate::store::StoreIdentity;

/// The start of the error text for an unknown request. A command that gets it knows that the master is older.
pub const NOT_A_REQUEST: &str = "not a request";

/// A request of a command to the master of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlRequest {
    /// The status of this channel.
    Status,
    /// The status of this channel and of one of its jobs, for `queue:why`.
    Look {
        /// The job.
        #[serde(default)]
        id: Option<JobId>,
    },
    /// The master's metrics, in the text format of Prometheus.
    Metrics,
    /// The samples of this channel.
    History {
        /// The time between two points.
        step: Step,
        /// Seconds to look back.
        seconds: u64,
    },
    /// Read the configuration again and replace the workers. Answered when the old workers have ended.
    Reload,
    /// Stop this channel; the master exits with its last channel. Answered when the channel has ended.
    Stop {
        /// Kill running jobs instead of waiting for them.
        #[serde(default)]
        force: bool,
    },
    /// Cancel this job, and kill its worker if the job does not end. Answered when the end of the job is settled.
    Cancel {
        /// The job.
        id: JobId,
    },
    /// End this job by a kill of its worker with all processes below, without asking the job first. Other jobs of the worker run again.
    /// Answered as [`ControlRequest::Cancel`].
    Kill {
        /// The job.
        id: JobId,
    },
    /// End a worker of this channel: after the jobs it has, or at once; then its jobs run again.
    EndWorker {
        /// The process id of the worker.
        pid: i32,
        /// Kill it at once.
        #[serde(default)]
        kill: bool,
    },
    /// Take no more jobs of this channel; running jobs continue.
    Quiet,
    /// Take jobs of this channel again.
    Resume,
    /// Set the manual minimum worker count of this channel.
    Scale {
        /// The new minimum, absolute or relative.
        #[serde(flatten)]
        order: ScaleOrder,
    },
    /// The running jobs of this channel, longest first.
    Runs,
    /// The output of a job, as far as this master knows it.
    Output {
        /// The job.
        id: JobId,
        /// Send the lines of a running job as they come, and answer when its run has ended.
        #[serde(default)]
        follow: bool,
    },
    /// The last done runs of this channel, newest first.
    Done {
        /// The position that the previous page ended with.
        #[serde(default)]
        before: Option<u64>,
        /// Most runs of the answer.
        limit: u16,
    },
}

impl ControlRequest {
    /// Parses a line.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        let request: Self = serde_json::from_slice(line).map_err(wrong)?;
        // `deny_unknown_fields` has no effect on unit variants of a tagged enum; an unknown key must not be ignored, because
        // the command may mean something else than the sender intended.
        let given: Map<String, Value> = serde_json::from_slice(line).map_err(wrong)?;
        let known = serde_json::to_value(request).map_err(wrong)?;
        match given.keys().find(|key| known.get(key).is_none()) {
            Some(key) => Err(format!("unknown field `{key}`")),
            None => Ok(request),
        }
    }

    /// Whether the answer may take long, so that the server limits the number of such requests. A stop may also take long,
    /// but is never refused.
    pub fn is_slow(self) -> bool {
        matches!(
            self,
            Self::Reload | Self::Cancel { .. } | Self::Kill { .. } | Self::Output { follow: true, .. }
        )
    }

    /// Whether lines may come before the answer.
    pub fn has_interim_lines(self) -> bool {
        self.is_slow() || matches!(self, Self::Stop { .. })
    }

    /// The time for the connection, for the whole of an answer, and for each line before it.
    pub fn reply_timeout(self) -> Duration {
        match self {
            Self::Stop { .. }
            | Self::Reload
            | Self::Cancel { .. }
            | Self::Kill { .. }
            | Self::Output { follow: true, .. } => Duration::from_secs(30),
            // The master answers these at once.
            Self::Status
            | Self::Look { .. }
            | Self::Metrics
            | Self::History { .. }
            | Self::EndWorker { .. }
            | Self::Quiet
            | Self::Resume
            | Self::Scale { .. }
            | Self::Runs
            | Self::Output { follow: false, .. }
            | Self::Done { .. } => Duration::from_secs(5),
        }
    }
}

/// A line of an answer, with the store that the master serves: a client compares it with the one it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    #[serde(flatten)]
    pub line: ResponseLine,
    /// The store; in final lines.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "StoreIdentity::lenient")]
    pub store: Option<StoreIdentity>,
    /// Differences between the store and run directory that the master holds and the present meaning of its paths; in the
    /// answers to `status` and `look`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

impl From<ResponseLine> for Reply {
    fn from(line: ResponseLine) -> Self {
        Self { line, store: None, differences: Vec::new() }
    }
}

/// The content of a line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseLine {
    /// Not yet done: the current status.
    Progress(ChannelStatus),
    /// Lines of a followed job; empty ones show that the run has not ended.
    Lines(OutputPage),
    /// Done.
    Ok(ControlResponse),
    /// Refused or failed: the reason.
    Error(String),
}

/// The answer to a request, by kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlResponse {
    /// To [`ControlRequest::Status`].
    Status {
        /// The master's process.
        pid: i32,
        /// Seconds since the master started.
        uptime_seconds: u64,
        /// The channels the master serves.
        channels: Vec<String>,
        /// The status of this channel.
        report: Box<ChannelStatus>,
        /// The last minute of this channel; absent in answers of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recent: Option<Box<Recent>>,
        /// The values that need a memory; absent from a master of an earlier version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trends: Option<Box<Trends>>,
        /// The results of the handlers of snapshots, by name; absent without any.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        snapshot_handlers: BTreeMap<String, HandlerStatus>,
    },
    /// To [`ControlRequest::Metrics`].
    Metrics(String),
    /// To [`ControlRequest::History`].
    History {
        /// The points, the oldest first. A time without a sample has no point.
        points: Vec<Point>,
        /// Changes of the number of workers, the oldest first.
        scaled: Vec<ScaledAt>,
    },
    /// To [`ControlRequest::Reload`].
    Reloaded {
        /// The replaced workers.
        #[serde(flatten)]
        renewed: RolloutSummary,
        /// Changed keys that need a restart of the master.
        restart: Vec<String>,
        /// Whether the program file on disk differs from the one the master runs.
        program_replaced: bool,
        /// Why the log file could not be opened again; absent when it could.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_error: Option<String>,
    },
    /// To [`ControlRequest::Reload`] when it failed: the previous configuration and workers stay.
    NotReloaded {
        /// The reason.
        why: String,
        /// Whether the configuration is invalid.
        invalid: bool,
    },
    /// To [`ControlRequest::Stop`].
    Stopped {
        /// Jobs returned to waiting, attempt not counted.
        handed_back: usize,
        /// Returned jobs that ran; absent in answers of earlier versions.
        #[serde(default)]
        interrupted: Option<usize>,
        /// Whether the store has the end of every job.
        settled: bool,
    },
    /// To [`ControlRequest::Look`].
    Look {
        /// The master's process.
        pid: i32,
        /// The status of the channel and of the job.
        view: Box<ChannelDetails>,
    },
    /// To [`ControlRequest::Cancel`] and [`ControlRequest::Kill`].
    Cancel(HeldCancel),
    /// To [`ControlRequest::EndWorker`].
    WorkerEnds {
        /// Whether there is such a worker.
        found: bool,
    },
    /// To [`ControlRequest::Quiet`].
    Quiet(QuietReply),
    /// To [`ControlRequest::Resume`].
    Resumed {
        /// Whether the channel was quiet before.
        was_quiet: bool,
    },
    /// To [`ControlRequest::Scale`].
    Scaled(MinWorkers),
    /// To [`ControlRequest::Runs`].
    Runs {
        /// The master's process.
        pid: i32,
        /// The jobs.
        runs: Vec<RunningJob>,
    },
    /// To [`ControlRequest::Output`].
    Output(Box<KnownOutput>),
    /// To [`ControlRequest::Done`].
    Done(DoneRunsPage),
}

/// The output of a job, as far as a master knows it; empty when it has no run of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownOutput {
    /// The run of a running job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// The run of a job that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<DoneRun>,
    /// The last lines; absent when nothing was printed, and in the answer to a request that followed the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<JobOutput>,
    /// The word of the outcome that a followed run had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}
