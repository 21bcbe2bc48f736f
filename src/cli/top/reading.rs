//! Readings: the values that `queue:top` shows, in the form of `/api/v1` of the dashboard.

use serde::Deserialize;

use crate::channel::{ChannelStatus, DoneRun};
use crate::config::alerts::Severity;
use crate::job::{JobId, Timestamp};
use crate::pool::RunningJob;
use crate::snapshot::{Point, Recent, ScaledAt};

/// The channels at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) at: Timestamp,
    /// The local time of day.
    pub(super) clock: String,
    /// The machine, or the address of the dashboard.
    pub(super) source: String,
    pub(super) channels: Vec<ChannelReading>,
    /// More about the chosen channel.
    pub(super) chosen: Option<Chosen>,
    /// Why there are no newer values.
    pub(super) error: Option<String>,
}

impl Reading {
    /// The channel that is chosen first: one with trouble, else the first one.
    pub(super) fn first_choice(&self) -> &str {
        let troubled = self.channels.iter().find(|channel| channel.has_trouble());
        troubled.or(self.channels.first()).map_or("", |channel| channel.name.as_str())
    }

    pub(super) fn channel(&self, name: &str) -> Option<&ChannelReading> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}

/// The chosen channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) channel: ChannelReading,
    pub(super) points: Vec<Point>,
    pub(super) scaled: Vec<ScaledAt>,
    /// The jobs that run in the master of this machine, longest first.
    pub(super) runs: Vec<RunningJob>,
    /// The sentence of `queue:why`.
    pub(super) why: String,
    pub(super) jobs: JobList,
    pub(super) text: Option<OpenText>,
}

/// The list of jobs in the chosen pane.
#[derive(Clone, Debug, Default)]
pub(super) struct JobList {
    /// The pane that the jobs are for.
    pub(super) pane: Pane,
    pub(super) jobs: Vec<JobRow>,
    pub(super) done: Vec<DoneRun>,
    /// How far a search has come, or why there are no jobs.
    pub(super) note: String,
}

/// A job at rest.
#[derive(Clone, Debug)]
pub(super) struct JobRow {
    pub(super) id: JobId,
    pub(super) job: String,
    pub(super) priority: &'static str,
    pub(super) attempts: u32,
    /// The time of the push, or that at which a delayed job is due, or a failed one failed.
    pub(super) at: Timestamp,
    /// Why a failed job failed.
    pub(super) reason: &'static str,
    pub(super) error: String,
}

/// A text about a job: its details, its output, its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenText {
    pub(super) wanted: WantedText,
    /// Lines of sanitised text.
    pub(super) lines: Vec<String>,
}

/// A text that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantedText {
    pub(super) kind: TextKind,
    pub(super) job: JobId,
    /// The worker that runs the job.
    pub(super) pid: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Details,
    Output,
    Processes,
    Why,
}

/// The values that the collector is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) channel: String,
    pub(super) pane: Pane,
    /// A part of ids, names, payloads and errors; empty for all jobs.
    pub(super) search: String,
    pub(super) text: Option<WantedText>,
    /// Milliseconds between two readings; 0 for none until something else is wanted.
    pub(super) period_ms: u64,
}

/// The lists about the chosen channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Workers,
    Running,
    Failed,
    Waiting,
    Delayed,
    Scaling,
    Alerts,
    Done,
}

impl Pane {
    pub(super) const ALL: [Self; 8] = [
        Self::Workers,
        Self::Running,
        Self::Failed,
        Self::Waiting,
        Self::Delayed,
        Self::Scaling,
        Self::Alerts,
        Self::Done,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Workers => "Workers",
            Self::Running => "Running",
            Self::Failed => "Failed",
            Self::Waiting => "Waiting",
            Self::Delayed => "Delayed",
            Self::Scaling => "Scaling",
            Self::Alerts => "Alerts",
            Self::Done => "Done",
        }
    }

    /// Whether the rows of the pane come from the store, which also searches in them.
    pub(super) fn is_stored(self) -> bool {
        matches!(self, Self::Failed | Self::Waiting | Self::Delayed | Self::Done)
    }
}

/// The answer to `/api/v1/channels`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChannelsAnswer {
    pub(super) as_of: Timestamp,
    pub(super) channels: Vec<ChannelReading>,
}

/// The answer to `/api/v1/channels/{name}/series`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SeriesAnswer {
    pub(super) points: Vec<Point>,
    pub(super) scaled: Vec<ScaledAt>,
}

/// A channel in `/api/v1/channels`, and in `/api/v1/channels/{name}` with its status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChannelReading {
    pub(super) name: String,
    pub(super) state: StateWord,
    pub(super) counts: Option<Counts>,
    pub(super) front_waits_seconds: Option<f64>,
    pub(super) workers: Option<Workers>,
    pub(super) recent: Recent,
    pub(super) alerts: Vec<FiringAlert>,
    pub(super) waiting_hour: Vec<Option<u64>>,
    pub(super) status: Option<ChannelStatus>,
    pub(super) store_error: Option<String>,
}

impl ChannelReading {
    /// Whether the channel needs a look. A channel without a master and without jobs is none to worry about.
    pub(super) fn has_trouble(&self) -> bool {
        let waits = self.counts.is_none_or(|counts| counts.waiting > 0 || counts.reserved > 0);
        let is_troubled = self.state.is_trouble() && (self.state != StateWord::NoMaster || waits);
        is_troubled || !self.alerts.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) delayed: u64,
    pub(super) reserved: u64,
    pub(super) failed: u64,
    pub(super) done: u64,
    pub(super) age_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Workers {
    pub(super) busy: usize,
    pub(super) serving: usize,
    pub(super) max: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct FiringAlert {
    pub(super) rule: String,
    pub(super) severity: Severity,
    pub(super) since: Timestamp,
}

/// The state of a channel, as the dashboard names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateWord {
    StoreDown,
    NoMaster,
    Stuck,
    Stopping,
    Degraded,
    Paused,
    Quiet,
    Works,
    Idle,
    /// A state of a newer version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl StateWord {
    /// The sign and the word, so that the colour of a state is never its only sign.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::StoreDown => "✕ store down",
            Self::NoMaster => "○ no master",
            Self::Stuck => "✕ stuck",
            Self::Stopping => "⏻ stopping",
            Self::Degraded => "⚠ degraded",
            Self::Paused => "‖ paused",
            Self::Quiet => "‖ quiet",
            Self::Works => "✓ works",
            Self::Idle => "✓ idle",
            Self::Unknown => "? unknown",
        }
    }

    pub(super) fn is_trouble(self) -> bool {
        !matches!(self, Self::Works | Self::Idle | Self::Unknown)
    }
}
