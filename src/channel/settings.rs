//! The settings of a channel that a reload may change.

use std::time::Duration;

use crate::config::{JobLog, Mode, PushDestinations};
use crate::retry::Policy;
use crate::store::{KeptLimits, PushLimit};

/// Settings that a channel's decisions follow.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// The mode of the workers, for display.
    pub mode: Mode,
    /// Attempts and backoff: the consequences of outcomes.
    pub policy: Policy,
    /// Time limit of jobs that do not set their own; `None` for no limit.
    pub max_execute: Option<Duration>,
    /// Longest wait for an announcement of work by an idle channel.
    pub sleep: Duration,
    /// The channels that jobs may push into.
    pub may_push: PushDestinations,
    /// The lines of the log about jobs that are done or released.
    pub job_log: JobLog,
    /// Whether the last lines of a failed run are stored with its job.
    pub keep_output: bool,
    /// How many done jobs stay in the store, and for how long; `None` keeps none.
    pub keep_done: Option<KeptLimits>,
    /// The limit on waiting jobs that pushes of jobs into their own channel respect.
    pub push_limit: PushLimit,
    /// Longest time that the front job of a lower priority waits behind jobs of higher ones; `None` for no limit.
    pub priority_max_wait: Option<Duration>,
    /// How long a stop waits for running jobs.
    pub stop_wait: Duration,
}
