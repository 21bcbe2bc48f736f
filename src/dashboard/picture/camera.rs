//! Takes pictures, at most one a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aint_queue_core::mutex::lock;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::channel::{ChannelPicture, FiringAlert, Picture};
use super::state::ChannelState;
use crate::alerts::{AlertBook, Phase};
use crate::config::{Channel, Config, Driver};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::source::{ChannelLook, Source, Stores};
use crate::job::{Timestamp, error_chain};
use crate::snapshot::{Point, Recent, ScaledAt, Step, Trends};
use crate::store::{AlertRecords, JobCounts, OwnerView, Store, StoreError};

/// Age up to which a picture is shown to further visitors.
const FRESH: Duration = Duration::from_millis(950);
/// Longest time for the answers of actors; a channel without one is shown as stuck.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two questions to a store about other masters, and about a channel that this master does not serve.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time for which a picture waits for the answers of stores.
const ANSWER_WAIT: Duration = Duration::from_millis(150);
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
    /// The last answers of the stores, by channel.
    answers: Arc<Mutex<BTreeMap<String, StoreAnswer>>>,
}

#[derive(Default)]
struct Last {
    picture: Option<(Instant, Arc<Picture>)>,
    number: u64,
    /// The questions under way, and when they were asked.
    asking: Option<(Instant, JoinSet<()>)>,
}

/// The last answers of a store about its channel. An answer stays when a later question fails.
#[derive(Clone, Default)]
struct StoreAnswer {
    /// The counts and the time of the answer; asked for channels that this master does not serve only.
    counts: Option<(JobCounts, Instant)>,
    masters: Option<Vec<OwnerView>>,
    alerts: Vec<FiringAlert>,
    /// Why the last question failed.
    error: Option<String>,
}

impl Camera {
    pub(in crate::engine::dashboard) fn new(
        config: Arc<Config>,
        stores: Stores,
        source: Arc<dyn Source>,
    ) -> Self {
        Self { config, source, stores, last: tokio::sync::Mutex::default(), answers: Arc::default() }
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
    pub(in crate::engine::dashboard) async fn history(
        &self,
        channel: &str,
        step: Step,
        period: Duration,
    ) -> (Vec<Point>, Vec<ScaledAt>) {
        let history = self.source.history(channel, step, period);
        timeout(STORE_TIMEOUT, history).await.unwrap_or_default()
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
                let looks = async { tokio::join!(source.look(&name), waiting_hour(&*source, &name)) };
                let look = timeout(LOOK_TIMEOUT, looks).await;
                (name, look.unwrap_or_default())
            });
        }
        self.ask_stores(&served, last).await;
        let looks = looks.join_all().await;
        let answers = lock(&self.answers).clone();
        last.number += 1;
        let channels = self.channels().map(|channel| {
            let is_served = served.contains(&channel.name);
            let look = looks.iter().find(|(name, _)| *name == channel.name);
            let (look, waiting_hour) = look.map(|(_, look)| look.clone()).unwrap_or_default();
            let answer = answers.get(&channel.name).cloned().unwrap_or_default();
            picture_of(channel, is_served.then_some(look), answer, waiting_hour)
        });
        Picture {
            number: last.number,
            at: SystemTime::now().into(),
            own: self.source.identity(),
            channels: channels.collect(),
        }
    }

    /// Asks all stores at once, unless they were asked lately. A picture waits a moment for the answers and is made with the last ones
    /// then: a slow store delays no page for long.
    async fn ask_stores(&self, served: &[String], last: &mut Last) {
        if last.asking.as_ref().is_none_or(|(at, _)| at.elapsed() >= ASK_INTERVAL) {
            let mut asking = JoinSet::new();
            for channel in self.channels() {
                let Some(store) = self.stores.get(&channel.name).cloned() else { continue };
                let (name, answers) = (channel.name.clone(), Arc::clone(&self.answers));
                let with_counts = !served.contains(&channel.name);
                let with_alerts = !channel.rules.is_empty();
                asking.spawn(async move {
                    let answered = timeout(STORE_TIMEOUT, ask_store(&*store, with_counts, with_alerts)).await;
                    let answered = answered.unwrap_or_else(|_| Err("the store does not answer".to_owned()));
                    let mut answers = lock(&answers);
                    let answer = answers.entry(name).or_default();
                    match answered {
                        Ok(new) => *answer = new,
                        Err(error) => answer.error = Some(error),
                    }
                });
            }
            last.asking = Some((Instant::now(), asking));
        }
        if let Some((_, asking)) = &mut last.asking {
            let _ = timeout(ANSWER_WAIT, async { while asking.join_next().await.is_some() {} }).await;
        }
    }
}

/// The waiting jobs of a served channel in the last hour.
async fn waiting_hour(source: &dyn Source, channel: &str) -> Vec<(Timestamp, Option<u64>)> {
    let (points, _) = source.history(channel, Step::Minute, HOUR).await;
    points.iter().map(|point| (point.at, point.store.map(|store| store.waiting))).collect()
}

async fn ask_store(store: &dyn Store, with_counts: bool, with_alerts: bool) -> Result<StoreAnswer, String> {
    let text = |error: StoreError| error_chain(&error);
    let counts = match with_counts {
        true => Some((store.status().await.map_err(text)?, Instant::now())),
        false => None,
    };
    let masters = store.masters().await.map_err(text)?;
    let alerts = match with_alerts {
        true => firing(&store.alerts().await.map_err(text)?),
        false => Vec::new(),
    };
    Ok(StoreAnswer { counts, masters: Some(masters), alerts, error: None })
}

/// The alerts in the records of a channel that fire and are not silenced, the more severe ones first.
fn firing(records: &AlertRecords) -> Vec<FiringAlert> {
    let book = AlertBook::read(records.state.as_deref());
    let is_silenced = |rule: &str| records.silences.iter().any(|silence| silence.covers(rule));
    let alerts = book.iter().flat_map(AlertBook::alerts).filter_map(|(_, record)| match record.phase {
        Phase::Firing { since, .. } if !is_silenced(&record.rule) => {
            Some(FiringAlert { rule: record.rule.clone(), severity: record.severity, since })
        }
        Phase::Firing { .. } | Phase::Pending { .. } | Phase::Ended(_) => None,
    });
    let mut alerts: Vec<_> = alerts.collect();
    alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.since));
    alerts
}

/// The picture of a channel; `look` is `None` for one that this master does not serve, and holds `None` for one that does not answer.
fn picture_of(
    channel: &Channel,
    look: Option<Option<ChannelLook>>,
    answer: StoreAnswer,
    waiting_hour: Vec<(Timestamp, Option<u64>)>,
) -> ChannelPicture {
    let is_served = look.is_some();
    let look = look.flatten();
    let counts = match &look {
        Some(look) => look.counts,
        None => answer.counts.map(|(counts, at)| (counts, at.elapsed())),
    };
    let of_store = counts.as_ref().map(|(counts, _)| counts);
    let status = look.as_ref().and_then(|look| look.status.clone());
    let alive = answer.masters.iter().flatten().filter(|master| master.lease_left.is_some()).count();
    let state = match is_served {
        true => ChannelState::of_served(status.as_ref(), of_store),
        false if answer.error.is_some() => ChannelState::StoreDown,
        false => ChannelState::of_others(of_store, alive),
    };
    let store_error = match &status {
        Some(status) => status.store_error.clone(),
        None => answer.error.clone(),
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
        masters: answer.masters,
        alerts: answer.alerts,
        waiting_hour,
    }
}
