//! The control socket: how commands talk to a running master.
//!
//! One Unix socket per channel in its run directory, mode 0600; only the master's own user and root are heard. One JSON
//! object per line each way. A request is answered by any number of `progress` lines and one line with `ok`.

mod client;
mod connection_limit;
mod handlers;
mod job_handlers;
mod server;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::channel::{ChannelDetails, ChannelStatus, HeldCancel, QuietReply};
use crate::job::JobId;
use crate::pool::{MinWorkers, RolloutSummary, ScaleOrder};

pub use client::{ControlError, send_request};
pub(super) use handlers::{ChannelHandlers, Peers};
pub(super) use server::{ControlListener, SocketFile, serve};

/// How the answer begins to what is no request. A master of any version says so; a command that only sends requests learns
/// from it that the master is older.
const NOT_A_REQUEST: &str = "not a request";

/// What a command asks of the master of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlRequest {
    /// What is going on in this channel.
    Status,
    /// What is going on in this channel and with this job, for whoever asks why something waits.
    Look {
        /// The job.
        #[serde(default)]
        id: Option<JobId>,
    },
    /// The master's metrics, in the text format of Prometheus.
    Metrics,
    /// Read the configuration again and let new workers take over. Answered when the old ones have gone.
    Reload,
    /// End this channel, and the master with its last one. Answered when it has ended.
    Stop {
        /// Kill what runs instead of waiting for it.
        #[serde(default)]
        force: bool,
    },
    /// End this job, killing where asking does not help. Answered when the store knows what became of it.
    Cancel {
        /// The job.
        id: JobId,
    },
    /// Take no more jobs of this channel, and let what runs go on.
    Quiet,
    /// Take jobs of this channel again.
    Resume,
    /// Set the fewest workers of this channel.
    Scale {
        /// To how many.
        #[serde(flatten)]
        order: ScaleOrder,
    },
}

impl ControlRequest {
    /// Reads a line.
    fn parse(line: &[u8]) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        let request: Self = serde_json::from_slice(line).map_err(wrong)?;
        // A command without keys of its own would take any, and so do something else than was meant.
        let given: Map<String, Value> = serde_json::from_slice(line).map_err(wrong)?;
        let known = serde_json::to_value(request).map_err(wrong)?;
        match given.keys().find(|key| known.get(key).is_none()) {
            Some(key) => Err(format!("unknown field `{key}`")),
            None => Ok(request),
        }
    }

    /// Whether the answer may be a long time in coming. A stop, which may be as well, is for everybody at once, and never
    /// refused.
    fn is_slow(self) -> bool {
        matches!(self, Self::Reload | Self::Cancel { .. })
    }

    /// How long each line of an answer may take. What takes longer says in between how it stands.
    fn reply_timeout(self) -> Duration {
        match self {
            Self::Stop { .. } | Self::Reload | Self::Cancel { .. } => Duration::from_secs(30),
            // Answered at once, or the master is in trouble.
            Self::Status
            | Self::Look { .. }
            | Self::Metrics
            | Self::Quiet
            | Self::Resume
            | Self::Scale { .. } => Duration::from_secs(5),
        }
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseLine {
    /// Not yet done; how it stands.
    Progress(ChannelStatus),
    /// Done.
    Ok(ControlResponse),
    /// Not possible; why.
    Error(String),
}

/// The content of a good answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlResponse {
    /// To [`ControlRequest::Status`].
    Status {
        /// The master's process.
        pid: i32,
        /// Seconds since it started.
        uptime_seconds: u64,
        /// The channels it serves.
        channels: Vec<String>,
        /// This channel.
        report: ChannelStatus,
    },
    /// To [`ControlRequest::Metrics`].
    Metrics(String),
    /// To [`ControlRequest::Reload`].
    Reloaded {
        /// The workers that went and came.
        #[serde(flatten)]
        renewed: RolloutSummary,
        /// The changed keys that take effect with the next start only.
        restart: Vec<String>,
        /// Whether the file of the master's program is another one than the master runs.
        program_replaced: bool,
    },
    /// To [`ControlRequest::Reload`]: everything goes on as before.
    NotReloaded {
        /// Why.
        why: String,
        /// Whether the configuration is the reason.
        invalid: bool,
    },
    /// To [`ControlRequest::Stop`].
    Stopped {
        /// Jobs handed back to waiting, uncounted.
        handed_back: usize,
        /// Whether the store heard everything.
        settled: bool,
    },
    /// To [`ControlRequest::Look`].
    Look {
        /// The master's process.
        pid: i32,
        /// What the channel knows.
        view: Box<ChannelDetails>,
    },
    /// To [`ControlRequest::Cancel`].
    Cancel(HeldCancel),
    /// To [`ControlRequest::Quiet`].
    Quiet(QuietReply),
    /// To [`ControlRequest::Resume`].
    Resumed {
        /// Whether it had been quiet.
        was_quiet: bool,
    },
    /// To [`ControlRequest::Scale`].
    Scaled(MinWorkers),
}
