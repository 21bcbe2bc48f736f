//! The masters of this machine as the source of pages and of `queue:top`: each channel is asked over the control socket of its
//! master, and its counts are read from the store.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::control::{self, MasterState};
use crate::activity::Activity;
use crate::channel::MasterIdentity;
use crate::config::{Channel, Config, Driver};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::{ChannelLook, OwnResources, Source, Stores};
use crate::job::Timestamp;
use crate::master;
use crate::snapshot::{Point, Recent, ScaledAt, Step, Trends};
use crate::store::JobCounts;

/// Longest time for the counts of a store; the last ones are shown with their age then.
const COUNTS_TIMEOUT: Duration = Duration::from_millis(300);

/// Asks the masters of this machine, each on a thread of its own, so that one which does not answer delays no other.
pub(super) struct LocalMasters {
    channels: BTreeMap<String, Channel>,
    stores: Stores,
    /// The last counts of each store, and their time.
    counts: Mutex<BTreeMap<String, (JobCounts, Instant)>>,
    /// Empty: the masters have the actions and events.
    activity: Activity,
}

impl LocalMasters {
    pub(super) fn new(config: &Config, stores: Stores) -> Self {
        let stored = config.channels.values().filter(|channel| channel.driver != Driver::Sync);
        let channels = stored.map(|channel| (channel.name.clone(), channel.clone())).collect();
        Self { channels, stores, counts: Mutex::default(), activity: Activity::default() }
    }

    /// The answer of the master of a channel.
    async fn query(&self, channel: &str, request: ControlRequest) -> Option<MasterState<ControlResponse>> {
        let channel = self.channels.get(channel)?.clone();
        spawn_blocking(move || control::query(&channel, request, |_| {}, Some)).await.ok()
    }

    async fn counts(&self, channel: &str) -> Option<(JobCounts, Duration)> {
        if let Some(store) = self.stores.get(channel)
            && let Ok(Ok(counts)) = timeout(COUNTS_TIMEOUT, store.status()).await
        {
            lock(&self.counts).insert(channel.to_owned(), (counts, Instant::now()));
        }
        lock(&self.counts).get(channel).map(|(counts, at)| (*counts, at.elapsed()))
    }
}

#[async_trait]
impl Source for LocalMasters {
    fn served(&self) -> Vec<String> {
        let is_served = |channel: &&Channel| master::presence(channel).running;
        self.channels.values().filter(is_served).map(|channel| channel.name.clone()).collect()
    }

    async fn look(&self, channel: &str) -> Option<ChannelLook> {
        let (state, counts) = tokio::join!(self.query(channel, ControlRequest::Status), self.counts(channel));
        let (status, recent, trends) = match state? {
            MasterState::Responding {
                answer: ControlResponse::Status { report, recent, trends, .. },
                ..
            } => (Some(report), recent, trends),
            MasterState::Responding { .. } | MasterState::NotResponding { .. } => (None, None, None),
            MasterState::NotRunning | MasterState::Hidden(_) | MasterState::Elsewhere(_) => return None,
        };
        let recent = recent.map_or_else(Recent::default, |recent| *recent);
        let trends = trends.map_or_else(Trends::default, |trends| *trends);
        Some(ChannelLook { status: status.map(|status| *status), recent, trends, counts, has_ended: false })
    }

    async fn history(&self, channel: &str, step: Step, period: Duration) -> (Vec<Point>, Vec<ScaledAt>) {
        let request = ControlRequest::History { step, seconds: period.as_secs() };
        match self.query(channel, request).await {
            Some(MasterState::Responding { answer: ControlResponse::History { points, scaled }, .. }) => {
                (points, scaled)
            }
            _ => Default::default(),
        }
    }

    async fn ask(&self, channel: &str, request: ControlRequest) -> Option<Result<ControlResponse, String>> {
        match self.query(channel, request).await? {
            MasterState::Responding { answer, .. } => Some(Ok(answer)),
            state => state.error().map(Err),
        }
    }

    /// None: those of this command say nothing about its masters.
    fn resources(&self) -> OwnResources {
        OwnResources::default()
    }

    fn activity(&self) -> &Activity {
        &self.activity
    }

    async fn host_alerts(&self, channel: &str) -> Option<String> {
        let file = master::host_alerts_file(self.channels.get(channel)?);
        spawn_blocking(move || std::fs::read_to_string(file).ok()).await.ok().flatten()
    }

    async fn test_receiver(&self, _: &str) -> Option<Result<(), String>> {
        None
    }

    /// The machine: several masters may serve its channels, so no start of one is named.
    fn identity(&self) -> MasterIdentity {
        MasterIdentity { started_at: Timestamp(0), ..master::own_identity() }
    }
}
