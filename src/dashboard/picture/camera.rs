//! Takes pictures, at most one a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aint_queue_core::mutex::lock;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::channel::{ChannelPicture, FiringAlert, Picture};
use super::state::ChannelState;
use crate::activity::Activity;
use crate::alerts::{ChannelAlerts, PresentAlert};
use crate::channel::MasterSummary;
use crate::config::{Channel, Config, Driver};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::source::{ChannelLook, Source, Stores};
use crate::job::{Timestamp, error_chain};
use crate::sanitize;
use crate::snapshot::{Point, Recent, ScaledAt, Step, Trends};
use crate::store::{JobCounts, OwnerView, Store, StoreError};

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
    /// The number of alerts that fire, in the last picture.
    firing: AtomicUsize,
}

#[derive(Default)]
struct Last {
    picture: Option<(Instant, Arc<Picture>)>,
    number: u64,
    /// The questions under way, and when they were asked.
    asking: Option<(Instant, JoinSet<()>)>,
    /// The channels that this master served when they were asked.
    served: Vec<String>,
}

/// The last answers of a store about its channel. An answer stays when a later question fails.
#[derive(Clone, Default)]
struct StoreAnswer {
    /// The counts and the time of the answer; asked for channels that this master does not serve only.
    counts: Option<(JobCounts, Instant)>,
    masters: Option<Vec<OwnerView>>,
    alerts: Option<Arc<ChannelAlerts>>,
    /// Why the last question failed.
    error: Option<String>,
}

impl Camera {
    pub(in crate::engine::dashboard) fn new(
        config: Arc<Config>,
        stores: Stores,
        source: Arc<dyn Source>,
    ) -> Self {
        let (last, answers) = (tokio::sync::Mutex::default(), Arc::default());
        Self { config, source, stores, last, answers, firing: AtomicUsize::new(0) }
    }

    /// The number of alerts that fire, in the last picture.
    pub(in crate::engine::dashboard) fn firing(&self) -> usize {
        self.firing.load(Ordering::Relaxed)
    }

    /// Asks the store of a channel again after an action that changed what it says; the next picture is a new one.
    pub(in crate::engine::dashboard) async fn ask_again(&self, channel: &str) {
        let served = self.source.served();
        let found = self.channels().find(|known| known.name == channel);
        if let Some(question) = found.and_then(|channel| self.question(channel, &served)) {
            question.await;
        }
        self.last.lock().await.picture = None;
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
        let picture = Picture {
            number: last.number,
            at: SystemTime::now().into(),
            own: self.source.identity(),
            channels: channels.collect(),
        };
        self.firing.store(picture.firing(), Ordering::Relaxed);
        picture
    }

    /// Asks all stores at once, unless they were asked lately. A picture waits a moment for the answers and is made with the last ones
    /// then: a slow store delays no page for long. A channel that this master no longer serves is known by its store only, so the
    /// stores are asked at once then.
    async fn ask_stores(&self, served: &[String], last: &mut Last) {
        let is_due = last.asking.as_ref().is_none_or(|(at, _)| at.elapsed() >= ASK_INTERVAL);
        if is_due || last.served != served {
            let questions = self.channels().filter_map(|channel| self.question(channel, served));
            last.asking = Some((Instant::now(), questions.collect()));
            last.served = served.to_vec();
        }
        if let Some((_, asking)) = &mut last.asking {
            let _ = timeout(ANSWER_WAIT, async { while asking.join_next().await.is_some() {} }).await;
        }
    }

    /// The question to the store of a channel; its answer is kept.
    fn question(
        &self,
        channel: &Channel,
        served: &[String],
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let store = self.stores.get(&channel.name).cloned()?;
        let (name, answers) = (channel.name.clone(), Arc::clone(&self.answers));
        let source = Arc::clone(&self.source);
        let with_counts = !served.contains(&channel.name);
        let with_alerts = !channel.rules.is_empty();
        Some(async move {
            let host_book = if with_alerts { source.host_alerts(&name).await } else { None };
            let asking = ask_store(&*store, with_counts, with_alerts, host_book.as_deref());
            let answered = timeout(STORE_TIMEOUT, asking).await;
            let answered = answered.unwrap_or_else(|_| Err("the store does not answer".to_owned()));
            let mut answers = lock(&answers);
            let answer = answers.entry(name.clone()).or_default();
            match answered {
                Ok(new) => {
                    note_masters(source.activity(), &name, answer.masters.as_deref(), new.masters.as_deref());
                    *answer = new;
                }
                Err(error) => answer.error = Some(error),
            }
        })
    }
}

/// The waiting jobs of a served channel in the last hour.
async fn waiting_hour(source: &dyn Source, channel: &str) -> Vec<(Timestamp, Option<u64>)> {
    let (points, _) = source.history(channel, Step::Minute, HOUR).await;
    points.iter().map(|point| (point.at, point.store.map(|store| store.waiting))).collect()
}

async fn ask_store(
    store: &dyn Store,
    with_counts: bool,
    with_alerts: bool,
    host_book: Option<&str>,
) -> Result<StoreAnswer, String> {
    let text = |error: StoreError| error_chain(&error);
    let counts = match with_counts {
        true => Some((store.status().await.map_err(text)?, Instant::now())),
        false => None,
    };
    let masters = store.masters().await.map_err(text)?;
    let alerts = match with_alerts {
        true => Some(Arc::new(ChannelAlerts::of(store.alerts().await.map_err(text)?, host_book))),
        false => None,
    };
    Ok(StoreAnswer { counts, masters: Some(masters), alerts, error: None })
}

/// Adds the masters that came or went between two answers of a store to the activity.
fn note_masters(
    activity: &Activity,
    channel: &str,
    before: Option<&[OwnerView]>,
    after: Option<&[OwnerView]>,
) {
    let (Some(before), Some(after)) = (before, after) else { return };
    let alive = |views: &[OwnerView]| -> BTreeMap<(String, i32, u64), String> {
        let alive = views.iter().filter(|view| view.lease_left.is_some());
        let summaries =
            alive.filter_map(|view| MasterSummary::read(view.published.as_ref()?.summary.as_ref()?));
        let named = summaries.map(|MasterSummary { master, .. }| {
            let name = format!("{} pid {}", sanitize::line(&master.host), master.pid);
            ((master.boot, master.pid, master.started_at.0), name)
        });
        named.collect()
    };
    let (before, after) = (alive(before), alive(after));
    for (_, name) in after.iter().filter(|(master, _)| !before.contains_key(*master)) {
        activity.add(name, "master came", channel, "", "");
    }
    for (_, name) in before.iter().filter(|(master, _)| !after.contains_key(*master)) {
        activity.add(name, "master went", channel, "", "");
    }
}

/// The alerts of a channel that fire and are not silenced, the more severe ones first.
fn firing(alerts: &ChannelAlerts) -> Vec<FiringAlert> {
    let present = alerts.present().into_iter();
    let firing = present.filter(|alert| alert.is_firing && !alerts.is_silenced(&alert.record.rule));
    let named = |alert: PresentAlert<'_>| FiringAlert {
        rule: alert.record.rule.clone(),
        severity: alert.record.severity,
        since: alert.since,
    };
    firing.map(named).collect()
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
        true if look.as_ref().is_some_and(|look| look.has_ended) => ChannelState::Stopping,
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
        alerts: answer.alerts.as_deref().map(firing).unwrap_or_default(),
        alert_records: answer.alerts,
        waiting_hour,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Owner, Published, Summary};

    fn view(pid: i32, is_alive: bool) -> OwnerView {
        let summary = serde_json::json!({
            "version": 1, "host": "web-1\u{1b}", "boot": "b1", "pid": pid, "program": "0.1.0", "started_at": 7,
            "mode": "process", "state": "running", "workers": {"wanted": 1, "serving": 1, "busy": 0}, "memory": 0,
            "runs": {"ended": 0, "failed": 0}, "running": 0, "jobs": [],
        });
        OwnerView {
            owner: Owner::named(pid.to_string()),
            lease_left: is_alive.then_some(Duration::from_secs(9)),
            published: Some(Published {
                at: Timestamp(9),
                age: Duration::ZERO,
                summary: Summary::new(summary.to_string()),
            }),
        }
    }

    #[test]
    fn masters_that_come_and_go_are_noted_once() {
        let activity = Activity::default();
        let (first, both) = (vec![view(1, true)], vec![view(1, true), view(2, true)]);
        let second = vec![view(1, false), view(2, true)];
        note_masters(&activity, "mail", None, Some(&first));
        note_masters(&activity, "mail", Some(&first), Some(&both));
        note_masters(&activity, "mail", Some(&both), Some(&both));
        note_masters(&activity, "mail", Some(&both), Some(&second));
        let noted: Vec<_> = activity.entries().into_iter().map(|entry| (entry.who, entry.action)).collect();
        let expected = [("web-1\\u{1b} pid 1", "master went"), ("web-1\\u{1b} pid 2", "master came")];
        assert_eq!(noted, expected.map(|(who, action)| (who.to_owned(), action)));
    }
}
