//! The master behind the pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::activity::Activity;
use crate::channel::{ChannelStatus, MasterIdentity};
use crate::control::{ControlRequest, ControlResponse};
use crate::snapshot::{Point, Recent, ScaledAt, Step, Trends};
use crate::store::{JobCounts, Store};

/// The stores of all channels, with connections of their own: a slow question of a page delays no job.
pub type Stores = BTreeMap<String, Arc<dyn Store>>;

/// The state and the last values of a served channel.
#[derive(Clone, Debug)]
pub struct ChannelLook {
    /// The state of the channel; `None` when its actor does not answer.
    pub status: Option<ChannelStatus>,
    /// The last minute.
    pub recent: Recent,
    /// The values that need a memory.
    pub trends: Trends,
    /// The last counts of the store and their age; `None` before the first ones.
    pub counts: Option<(JobCounts, Duration)>,
    /// Whether the channel has ended a moment ago.
    pub has_ended: bool,
}

/// The resources of the process of a master.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnResources {
    /// Resident bytes.
    pub memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// The limit on open descriptors.
    pub max_descriptors: Option<u64>,
}

/// The channels that a master serves, from its memory.
#[async_trait]
pub trait Source: Send + Sync {
    /// The names of the channels, sorted.
    fn served(&self) -> Vec<String>;

    /// A served channel; `None` when it has ended. Counts as a look: while looks come, samples are taken each second.
    async fn look(&self, channel: &str) -> Option<ChannelLook>;

    /// The samples of a served channel in the last `period`, the oldest first, and the changes of the number of workers.
    async fn history(&self, channel: &str, step: Step, period: Duration) -> (Vec<Point>, Vec<ScaledAt>);

    /// The answer of a served channel to a request of an operator; `None` for a channel that the master does not serve.
    async fn ask(&self, channel: &str, request: ControlRequest) -> Option<Result<ControlResponse, String>>;

    /// The process of the master.
    fn identity(&self) -> MasterIdentity;

    /// The resources that the process uses now. Blocks on `/proc`.
    fn resources(&self) -> OwnResources;

    /// The last actions and events of the master.
    fn activity(&self) -> &Activity;

    /// The book of the alerts of this host in a channel, as its file has it; `None` without one.
    async fn host_alerts(&self, channel: &str) -> Option<String>;

    /// Sends the messages of a test to a receiver of alerts, with the reason of a failure; `None` for one that is not declared.
    async fn test_receiver(&self, receiver: &str) -> Option<Result<(), String>>;
}
