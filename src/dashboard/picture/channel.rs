//! The values of a channel at one time.

use std::sync::Arc;
use std::time::Duration;

use super::state::ChannelState;
use crate::alerts::ChannelAlerts;
use crate::channel::{ChannelStatus, MasterIdentity, MasterSummary};
use crate::config::Mode;
use crate::config::alerts::Severity;
use crate::job::Timestamp;
use crate::snapshot::{Recent, Trends};
use crate::store::{JobCounts, OwnerView};

/// Age up to which counts are those of now: two questions to the store, with time for its answer.
const FRESH_COUNTS: Duration = Duration::from_secs(8);

/// All channels at one time.
#[derive(Clone, Debug)]
pub(in crate::engine::dashboard) struct Picture {
    /// The number of the picture, from 1.
    pub(in crate::engine::dashboard) number: u64,
    /// The time of the picture, by the clock of this machine.
    pub(in crate::engine::dashboard) at: Timestamp,
    /// The process of the master.
    pub(in crate::engine::dashboard) own: MasterIdentity,
    /// The declared channels, by name.
    pub(in crate::engine::dashboard) channels: Vec<ChannelPicture>,
}

impl Picture {
    pub(in crate::engine::dashboard) fn channel(&self, name: &str) -> Option<&ChannelPicture> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// Whether a summary is that of the master behind the page.
    pub(in crate::engine::dashboard) fn is_own(&self, summary: &MasterSummary) -> bool {
        !self.own.boot.is_empty()
            && summary.master.boot == self.own.boot
            && summary.master.pid == self.own.pid
    }

    /// The number of alerts that fire and are not silenced.
    pub(in crate::engine::dashboard) fn firing(&self) -> usize {
        self.channels.iter().map(|channel| channel.alerts.len()).sum()
    }

    /// The channels with trouble first, then by name.
    pub(in crate::engine::dashboard) fn by_trouble(&self) -> Vec<&ChannelPicture> {
        let mut channels: Vec<_> = self.channels.iter().collect();
        channels.sort_by_key(|channel| (channel.alerts.is_empty(), channel.state.min(ChannelState::Works)));
        channels
    }
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) struct FiringAlert {
    pub(in crate::engine::dashboard) rule: String,
    pub(in crate::engine::dashboard) severity: Severity,
    pub(in crate::engine::dashboard) since: Timestamp,
}

/// A channel at one time.
#[derive(Clone, Debug)]
pub(in crate::engine::dashboard) struct ChannelPicture {
    pub(in crate::engine::dashboard) name: String,
    /// The mode of its workers.
    pub(in crate::engine::dashboard) mode: Mode,
    /// The store, without secrets.
    pub(in crate::engine::dashboard) store: String,
    pub(in crate::engine::dashboard) state: ChannelState,
    /// Most workers, or jobs at once, of the configuration.
    pub(in crate::engine::dashboard) max_workers: usize,
    /// Whether the master behind this page serves the channel.
    pub(in crate::engine::dashboard) is_served: bool,
    /// The state of the served channel.
    pub(in crate::engine::dashboard) status: Option<ChannelStatus>,
    /// The last minute of the served channel.
    pub(in crate::engine::dashboard) recent: Recent,
    pub(in crate::engine::dashboard) trends: Trends,
    /// The last counts of the store and their age.
    pub(in crate::engine::dashboard) counts: Option<(JobCounts, Duration)>,
    /// Why the store cannot be used.
    pub(in crate::engine::dashboard) store_error: Option<String>,
    /// The masters on all machines, as the store knows them; `None` when it did not answer.
    pub(in crate::engine::dashboard) masters: Option<Vec<OwnerView>>,
    /// The alerts that fire and are not silenced, the more severe ones first.
    pub(in crate::engine::dashboard) alerts: Vec<FiringAlert>,
    /// All that is known of its alerts; `None` for a channel without rules, and before the first answer of its store.
    pub(in crate::engine::dashboard) alert_records: Option<Arc<ChannelAlerts>>,
    /// Waiting jobs of the last hour, one value a minute; `None` where no sample was taken.
    pub(in crate::engine::dashboard) waiting_hour: Vec<(Timestamp, Option<u64>)>,
}

impl ChannelPicture {
    /// For how long the front job has waited, by the clock of the store.
    pub(in crate::engine::dashboard) fn front_waits(&self) -> Option<Duration> {
        let (counts, age) = self.counts.as_ref()?;
        counts.front_ready_at.map(|ready| counts.now.since(ready) + *age)
    }

    /// The age of the counts when that is worth saying: the store has not answered lately.
    pub(in crate::engine::dashboard) fn stale_for(&self) -> Option<Duration> {
        self.counts.as_ref().map(|(_, age)| *age).filter(|age| *age > FRESH_COUNTS)
    }

    /// Workers that run jobs, and those that take jobs: of this master.
    pub(in crate::engine::dashboard) fn workers(&self) -> Option<(usize, usize)> {
        self.status.as_ref().map(|status| (status.workers.busy, status.serving_workers()))
    }
}
