//! The data that `queue:status` shows.

use crate::channel;
use crate::master::Presence;
use crate::store;

/// Data about one channel to show.
pub(super) struct StatusView {
    pub(super) channel: String,
    pub(super) master: MasterStatus,
    pub(super) counts: store::JobCounts,
    pub(super) driver: String,
    pub(super) durability: String,
    /// Whether to list the workers.
    pub(super) each: bool,
}

/// A channel's master on this machine.
pub(super) struct MasterStatus {
    pub(super) presence: Presence,
    /// Status reported by the master, if it runs and responds.
    pub(super) running: Option<channel::ChannelStatus>,
    /// Why a running master did not report its status.
    pub(super) error: Option<String>,
}
