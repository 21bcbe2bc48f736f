//! Takes pictures, at most one a second.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::channel::{ChannelPicture, FiringAlert, Picture};
use super::state::ChannelState;
use crate::alerts::{AlertBook, Phase};
use crate::config::{Channel, Config, Driver};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::source::{ChannelLook, Source, Stores};
use crate::job::Timestamp;
use crate::snapshot::{Point, Recent, ScaledAt, Step, Trends};
use crate::store::{AlertRecords, JobCounts, OwnerView};

/// Age up to which a picture is shown to further visitors.
const FRESH: Duration = Duration::from_millis(950);
/// Longest time for the answers of actors; a channel without one is shown as stuck.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two questions to a store about other masters, and about a channel that this master does not serve.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time for the answer of a store.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// The time that the line of waiting jobs covers.
const HOUR: Duration = Duration::from_secs(3600);

/// Takes pictures of the channels of a configuration.
pub(in crate::engine::dashboard) struct Camera {
    config: Arc<Config>,
    source: Arc<dyn Source>,
    stores: Stores,
    last: tokio::sync::Mutex<Last>,
}

#[derive(Default)]
struct Last {
    picture: Option<(Instant, Arc<Picture>)>,
    /// The last answers of the stores, by channel.
    told: Option<(Instant, Vec<Told>)>,
    number: u64,
}

/// The answer of a store about its channel.
#[derive(Clone, Default)]
struct Told {
    /// Asked for channels that this master does not serve only.
    counts: Option<JobCounts>,
    masters: Option<Vec<OwnerView>>,
    alerts: Vec<FiringAlert>,
    error: Option<String>,
}

impl Camera {
    pub(in crate::engine::dashboard) fn new(
        config: Arc<Config>,
        stores: Stores,
        source: Arc<dyn Source>,
    ) -> Self {
        Self { config, source, stores, last: tokio::sync::Mutex::default() }
    }

    /// The picture of now: a new one unless the last is from this second.
    pub(in crate::engine::dashboard) async fn picture(&self) -> Arc<Picture> {
        let mut last = self.last.lock().await;
        match &last.picture {
            Some((at, picture)) if at.elapsed() < FRESH => Arc::clone(picture),
            _ => {
                let picture = Arc::new(self.take(&mut last).await);
                last.picture = Some((Instant::now(), Arc::clone(&picture)));
                picture
            }
        }
    }

    /// The samples of a channel in the last `period`.
    pub(in crate::engine::dashboard) fn history(
        &self,
        channel: &str,
        step: Step,
        period: Duration,
    ) -> (Vec<Point>, Vec<ScaledAt>) {
        self.source.history(channel, step, period)
    }

    /// The answer of a served channel to a request; `None` for a channel that this master does not serve.
    pub(in crate::engine::dashboard) async fn ask(
        &self,
        channel: &str,
        request: ControlRequest,
    ) -> Option<Result<ControlResponse, String>> {
        self.source.ask(channel, request).await
    }

    fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.config.channels.values().filter(|channel| channel.driver != Driver::Sync)
    }

    async fn take(&self, last: &mut Last) -> Picture {
        let served = self.source.served();
        let mut looks = JoinSet::new();
        for name in served.iter().cloned() {
            let source = Arc::clone(&self.source);
            looks.spawn(async move {
                let look = timeout(LOOK_TIMEOUT, source.look(&name)).await;
                (name, look.ok().flatten())
            });
        }
        if last.told.as_ref().is_none_or(|(at, _)| at.elapsed() >= ASK_INTERVAL) {
            let told = self.ask_stores(&served).await;
            last.told = Some((Instant::now(), told));
        }
        let looks = looks.join_all().await;
        let (asked_at, told) = last.told.as_ref().expect("set above");
        let asked_ago = asked_at.elapsed();
        last.number += 1;
        let channels = self.channels().zip(told).map(|(channel, told)| {
            let is_served = served.contains(&channel.name);
            let look = looks.iter().find(|(name, _)| *name == channel.name);
            let look = look.and_then(|(_, look)| look.clone());
            let waiting_hour = if is_served { self.waiting_hour(&channel.name) } else { Vec::new() };
            picture_of(channel, is_served.then_some(look), told, asked_ago, waiting_hour)
        });
        Picture {
            number: last.number,
            at: SystemTime::now().into(),
            own: self.source.identity(),
            channels: channels.collect(),
        }
    }

    fn waiting_hour(&self, channel: &str) -> Vec<(Timestamp, Option<u64>)> {
        let (points, _) = self.source.history(channel, Step::Minute, HOUR);
        points.iter().map(|point| (point.at, point.store.map(|store| store.waiting))).collect()
    }

    /// Asks all stores at once.
    async fn ask_stores(&self, served: &[String]) -> Vec<Told> {
        let mut asked = JoinSet::new();
        for (index, channel) in self.channels().enumerate() {
            let store = self.stores.get(&channel.name).cloned();
            let with_counts = !served.contains(&channel.name);
            let with_alerts = !channel.rules.is_empty();
            asked.spawn(async move {
                let ask = async {
                    let store = store.ok_or("the channel has no store")?;
                    let counts = match with_counts {
                        true => Some(store.status().await.map_err(|error| error.to_string())?),
                        false => None,
                    };
                    let masters = store.masters().await.map_err(|error| error.to_string())?;
                    let alerts = match with_alerts {
                        true => firing(&store.alerts().await.map_err(|error| error.to_string())?),
                        false => Vec::new(),
                    };
                    Ok(Told { counts, masters: Some(masters), alerts, error: None })
                };
                let told = timeout(STORE_TIMEOUT, ask).await;
                let told = told.unwrap_or_else(|_| Err("the store does not answer".to_owned()));
                (index, told.unwrap_or_else(|error| Told { error: Some(error), ..Told::default() }))
            });
        }
        let mut told = asked.join_all().await;
        told.sort_by_key(|(index, _)| *index);
        told.into_iter().map(|(_, told)| told).collect()
    }
}

/// The alerts in the records of a channel that fire, the more severe ones first.
fn firing(records: &AlertRecords) -> Vec<FiringAlert> {
    let book = AlertBook::read(records.state.as_deref());
    let alerts = book.iter().flat_map(AlertBook::alerts).filter_map(|(_, record)| match record.phase {
        Phase::Firing { since, .. } => {
            Some(FiringAlert { rule: record.rule.clone(), severity: record.severity, since })
        }
        Phase::Pending { .. } | Phase::Ended(_) => None,
    });
    let mut alerts: Vec<_> = alerts.collect();
    alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.since));
    alerts
}

/// The picture of a channel; `look` is `None` for one that this master does not serve, and holds `None` for one that does not answer.
fn picture_of(
    channel: &Channel,
    look: Option<Option<ChannelLook>>,
    told: &Told,
    asked_ago: Duration,
    waiting_hour: Vec<(Timestamp, Option<u64>)>,
) -> ChannelPicture {
    let is_served = look.is_some();
    let look = look.flatten();
    let counts = match &look {
        Some(look) => look.counts,
        None => told.counts.map(|counts| (counts, asked_ago)),
    };
    let of_store = counts.as_ref().map(|(counts, _)| counts);
    let status = look.as_ref().and_then(|look| look.status.clone());
    let alive = told.masters.iter().flatten().filter(|master| master.lease_left.is_some()).count();
    let state = match is_served {
        true => ChannelState::of_served(status.as_ref(), of_store),
        false => ChannelState::of_others(of_store, alive),
    };
    let store_error = match &status {
        Some(status) => status.store_error.clone(),
        None => told.error.clone(),
    };
    ChannelPicture {
        name: channel.name.clone(),
        mode: channel.worker.mode,
        store: channel.driver.to_string(),
        state,
        max_workers: channel.worker.plan.max,
        is_served,
        store_error,
        recent: look.as_ref().map_or_else(Recent::default, |look| look.recent),
        trends: look.as_ref().map_or_else(Trends::default, |look| look.trends),
        status,
        counts,
        masters: told.masters.clone(),
        alerts: told.alerts.clone(),
        waiting_hour,
    }
}
