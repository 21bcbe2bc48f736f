//! The messages between a command and a master: one JSON object per line each way.
//!
//! The answer to a request is any number of `progress` lines and one line with `ok` or `error`. Commands and masters of
//! different versions talk to each other, so field and variant names are fixed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::channel::{ChannelDetails, ChannelStatus, HeldCancel, QuietReply};
use crate::job::JobId;
use crate::pool::{MinWorkers, RolloutSummary, ScaleOrder};
use crate::store::StoreIdentity;

/// The start of the error text for an unknown request. A command that gets it knows that the master is older.
pub(super) const NOT_A_REQUEST: &str = "not a request";

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
}

impl ControlRequest {
    /// Parses a line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
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
    pub(super) fn is_slow(self) -> bool {
        matches!(self, Self::Reload | Self::Cancel { .. })
    }

    /// The time for each line of an answer. A slow request sends progress lines in between.
    pub(super) fn reply_timeout(self) -> Duration {
        match self {
            Self::Stop { .. } | Self::Reload | Self::Cancel { .. } => Duration::from_secs(30),
            // The master answers these at once.
            Self::Status
            | Self::Look { .. }
            | Self::Metrics
            | Self::Quiet
            | Self::Resume
            | Self::Scale { .. } => Duration::from_secs(5),
        }
    }
}

/// A line of an answer, with the store that the master serves: a client compares it with the one it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine::master) struct Reply {
    #[serde(flatten)]
    pub(in crate::engine::master) line: ResponseLine,
    /// The store; in final lines.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "StoreIdentity::lenient")]
    pub(in crate::engine::master) store: Option<StoreIdentity>,
    /// Differences between the store and run directory that the master holds and the present meaning of its paths; in the
    /// answers to `status` and `look`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::engine::master) differences: Vec<String>,
}

impl From<ResponseLine> for Reply {
    fn from(line: ResponseLine) -> Self {
        Self { line, store: None, differences: Vec::new() }
    }
}

/// The content of a line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::engine::master) enum ResponseLine {
    /// Not yet done: the current status.
    Progress(ChannelStatus),
    /// Done.
    Ok(ControlResponse),
    /// Refused or failed: the reason.
    Error(String),
}

/// The answer to a request, by kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        report: ChannelStatus,
    },
    /// To [`ControlRequest::Metrics`].
    Metrics(String),
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
    /// To [`ControlRequest::Cancel`].
    Cancel(HeldCancel),
    /// To [`ControlRequest::Quiet`].
    Quiet(QuietReply),
    /// To [`ControlRequest::Resume`].
    Resumed {
        /// Whether the channel was quiet before.
        was_quiet: bool,
    },
    /// To [`ControlRequest::Scale`].
    Scaled(MinWorkers),
}
