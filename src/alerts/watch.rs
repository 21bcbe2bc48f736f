//! The watch over the alerts of one channel: looks at the store, evaluates the rules, sends what is due.
//!
//! Of all masters whose configuration has the channel, the one that holds the watch evaluates the rules and sends. The book of the
//! channel is in the store: the holder saves it before and after each message, and a new holder reads it first. A rule over values of
//! one host is evaluated by each master for its own host, whether it holds the watch or not, so that it works without the store; the
//! book of the host is a file beside the lock of the channel.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::book::{AlertBook, Circumstances};
use super::fleet_values::{FleetValues, HostValues};
use super::heartbeat::{Pulse, Watcher, is_chosen, shared_heartbeats};
use super::host_book::{HostBook, host_rules};
use super::host_report::HostReport;
use super::outbox::{Delivered, Outbox, Results};
use crate::channel::ChannelStatus;
use crate::config::alerts::{Alerts, Rule};
use crate::job::Timestamp;
use crate::metrics::AlertMetrics;
use crate::snapshot::{PastValues, Point, PresentValues, Recent, Sampled, Sampler, Step, Trends};
use crate::store::{ALERT_LEASE, AlertLook, AlertLooked, JobCounts, Silence, Store, StoreError};

/// Longest time back that a condition can look.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
/// Longest wait for results of messages when the watch ends.
const RESULT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for the store when the watch ends.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of a watch.
pub struct WatchSettings {
    /// The settings of `[alerts]`.
    pub alerts: Arc<Alerts>,
    /// The rules of the channel.
    pub rules: Vec<Rule>,
    /// The base of links to pages.
    pub public_url: Option<String>,
    /// Most workers of the configuration.
    pub max_workers: usize,
    /// Bytes that all workers may use together, if there is a limit.
    pub memory_limit: Option<u64>,
}

/// The surroundings of a watch.
pub struct WatchPlace {
    /// The name of this host.
    pub host: String,
    /// The sampler of the channel.
    pub sampler: Arc<Sampler>,
    /// The store of the channel.
    pub store: Arc<dyn Store>,
    /// The sender of the messages.
    pub outbox: Arc<dyn Outbox>,
    /// The metrics of alerts.
    pub metrics: AlertMetrics,
    /// The file of the alerts of this host; `None` for a channel that this master does not serve.
    pub file: Option<PathBuf>,
}

/// A running watch. A dropped handle ends the watch as [`WatchHandle::stop`] does, but does not wait for the end.
pub struct WatchHandle {
    pulse: Arc<Pulse>,
    end: oneshot::Sender<End>,
    task: tokio::task::JoinHandle<Option<Watch>>,
}

/// The end of a watch.
enum End {
    /// The watch of the channel is given up in the store.
    GiveUp,
    /// Another watch of this process takes everything over: messages may be on their way for minutes, and their results are due.
    HandOver,
}

impl WatchHandle {
    /// Starts a watch; `before` is the one that it replaces.
    #[must_use]
    pub fn start(place: WatchPlace, settings: WatchSettings, before: Option<Self>) -> Self {
        let (end, on_end) = oneshot::channel();
        let pulse = Pulse::new(Arc::clone(place.sampler.name()));
        let own_pulse = Arc::clone(&pulse);
        let task = tokio::spawn(async move {
            let watch = match before {
                Some(before) => before.hand_over().await,
                None => None,
            };
            let watch = match watch {
                Some(before) => Watch { place, settings, pulse: own_pulse, ..before },
                None => Watch::new(place, settings, own_pulse),
            };
            watch.run(on_end).await
        });
        Self { pulse, end, task }
    }

    /// The signs of life of the watch.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Ends the watch and gives it up in the store.
    pub async fn stop(self) {
        let Self { end, task, .. } = self;
        // An error is the end of the task.
        let _ = end.send(End::GiveUp);
        let _ = task.await;
    }

    /// Ends the watch for the one that replaces it; `None` if it has ended by itself.
    async fn hand_over(self) -> Option<Watch> {
        let Self { end, task, .. } = self;
        let _ = end.send(End::HandOver);
        task.await.ok().flatten()
    }
}

struct Watch {
    place: WatchPlace,
    settings: WatchSettings,
    /// The name of this watch in the store.
    watcher: String,
    /// The report of this master, with the values of the last look.
    report: HostReport,
    /// The book of the channel, while this watch holds it.
    held: Option<HeldBook>,
    /// The book of the rules over values of this host.
    host_book: HostBook,
    /// The silences at the last look.
    silences: Vec<Silence>,
    /// The last time of the store's clock.
    store_time: Option<(Timestamp, Instant)>,
    pulse: Arc<Pulse>,
    /// The results of messages of the channel's book.
    results: Results,
    /// The results of messages of the host's book.
    host_results: Results,
    /// The store refuses the records of alerts, and the log says so.
    is_refused: bool,
}

/// The book of a channel, and what the store has of it.
#[derive(Debug)]
struct HeldBook {
    book: AlertBook,
    stored: AlertBook,
}

/// The values of one look.
struct Seen {
    counts: Option<JobCounts>,
    status: Option<ChannelStatus>,
    recent: Recent,
    trends: Trends,
    points: Vec<Point>,
    masters: Option<u64>,
    at: Timestamp,
}

impl Watch {
    fn new(place: WatchPlace, settings: WatchSettings, pulse: Arc<Pulse>) -> Self {
        let mut report = HostReport::nothing_of(&place.host);
        report.set_heartbeats(shared_heartbeats(&settings.alerts));
        Self {
            watcher: format!("{:016x}", fastrand::u64(..)),
            report,
            held: None,
            host_book: HostBook::open(place.file.clone()),
            silences: Vec::new(),
            store_time: None,
            pulse,
            results: Results::new(),
            host_results: Results::new(),
            is_refused: false,
            place,
            settings,
        }
    }

    /// Watches until the end; returns what another watch takes over.
    async fn run(mut self, mut end: oneshot::Receiver<End>) -> Option<Self> {
        let mut next = Instant::now();
        let end = loop {
            tokio::select! {
                () = sleep_until(next) => {
                    next = Instant::now() + self.settings.alerts.evaluate_every;
                    self.look().await;
                }
                Some(result) = self.results.receiver.recv() => self.delivered(result).await,
                Some(result) = self.host_results.receiver.recv() => {
                    let now = self.now();
                    self.host_book.sent(&result.receiver, result.error, now);
                }
                // A dropped handle gives up.
                end = &mut end => break end.unwrap_or(End::GiveUp),
            }
        };
        self.forget_rules();
        if let End::HandOver = end {
            return Some(self);
        }
        // A message whose result is not recorded would be sent again by the next holder.
        let recorded = async {
            while self.held.as_ref().is_some_and(|held| held.book.is_sending()) {
                let Some(result) = self.results.receiver.recv().await else { return };
                self.delivered(result).await;
            }
        };
        let _ = timeout(RESULT_TIMEOUT, recorded).await;
        self.give_up().await;
        None
    }

    /// Removes the rules from the metrics.
    fn forget_rules(&self) {
        let channel = self.place.sampler.name();
        for rule in &self.settings.rules {
            self.place.metrics.forget_rule(channel, &rule.name, rule.severity.as_str());
        }
    }

    /// One look: the store's answer, a sample of the channel, the rules, the messages that are due.
    async fn look(&mut self) {
        let began = Instant::now();
        let looked = self.look_at_store().await;
        let sampler = &self.place.sampler;
        let (counts, status) = match &looked {
            Looked::Answer(looked) => {
                (Some(looked.counts), sampler.sample_with(Some(looked.counts), began.elapsed()).await)
            }
            Looked::Refused => {
                let Sampled { counts, status } = sampler.sample().await;
                (counts.ok(), status)
            }
            Looked::Nothing => (None, sampler.sample_with(None, began.elapsed()).await),
        };
        if let Some(counts) = &counts {
            self.store_time = Some((counts.now, Instant::now()));
        }
        let at = Timestamp::from(SystemTime::now());
        let seen = Seen {
            masters: looked.answer().map(|looked| looked.masters),
            counts,
            status,
            recent: self.place.sampler.recent(),
            trends: self.place.sampler.trends(),
            points: self.place.sampler.history(Step::TenSeconds, LONGEST_WINDOW).0,
            at,
        };
        if seen.status.is_some() {
            let present = seen.present(&self.settings);
            self.report.set_values(HostReport::of(&self.place.host, &present));
            self.evaluate_host(&seen);
        }
        if let Looked::Answer(looked) = looked {
            self.evaluate_channel(looked, &seen).await;
        }
        self.count_alerts();
    }

    /// Sets the metrics of all rules: the alerts in the book of the channel, while this watch holds it, and in that of this host.
    fn count_alerts(&self) {
        let channel = self.place.sampler.name();
        for rule in &self.settings.rules {
            let (mut pending, mut firing) = self.host_book.counts(&rule.name);
            if let Some(HeldBook { book, .. }) = &self.held {
                pending += book.pending(&rule.name);
                firing += book.firing(&rule.name);
            }
            self.place.metrics.alerts(channel, &rule.name, rule.severity.as_str(), pending, firing);
        }
    }

    async fn look_at_store(&mut self) -> Looked {
        let deliveries = self.place.outbox.status().into_iter();
        let (rules, alerts) = (&self.settings.rules, &self.settings.alerts);
        self.report.set_deliveries(deliveries.filter(|(name, _)| alerts.concerns(name, rules)));
        self.report.set_holds(self.held.is_some());
        let report = self.report.text();
        let look =
            AlertLook { watcher: &self.watcher, lease: ALERT_LEASE, report: Some(&report), save: None };
        match self.place.store.look_at_alerts(look).await {
            Ok(looked) => {
                self.is_refused = false;
                Looked::Answer(Box::new(looked))
            }
            Err(StoreError::Unavailable { .. }) => Looked::Nothing,
            Err(error) => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    let channel = self.place.sampler.name();
                    warn!(%channel, %error, "alerts not watched: the store refuses their records; see \"a dedicated user\" in operations.md");
                }
                Looked::Refused
            }
        }
    }

    /// Evaluates the rules over values of this host.
    fn evaluate_host(&mut self, seen: &Seen) {
        let now = self.now();
        let Self { place, settings, silences, report, host_book, held, .. } = self;
        let channel = Arc::clone(place.sampler.name());
        let present = seen.present(settings);
        let values = HostValues { channel: &present, report };
        let rules: Vec<_> = host_rules(&settings.rules, held.is_some()).collect();
        host_book.evaluate(&channel, &place.host, rules.iter().map(|rule| &**rule), &values, now);
        let circumstances = Circumstances {
            channel: &channel,
            settings: &settings.alerts,
            rules: &settings.rules,
            silences,
            is_paused: false,
            now,
        };
        for (receiver, message) in
            host_book.due(&circumstances, &place.host, settings.public_url.as_deref(), &values)
        {
            place.outbox.deliver(&receiver, message, self.host_results.sender.clone());
        }
    }

    /// Evaluates the rules of the channel, if this watch holds it, and sends what is due.
    async fn evaluate_channel(&mut self, looked: Box<AlertLooked>, seen: &Seen) {
        let channel = Arc::clone(self.place.sampler.name());
        let now = looked.counts.now;
        self.silences.clone_from(&looked.silences);
        let reports: Vec<_> = looked
            .reports
            .iter()
            .filter_map(|report| Some((report.watcher.as_str(), HostReport::read(&report.text)?)))
            .collect();
        self.pulse.looked(self.called_heartbeats(looked.holds, &reports));
        if !looked.holds {
            if self.held.take().is_some() {
                info!(%channel, "alerts watched by another master now");
            }
            return;
        }
        if looked.taken {
            if looked.state.is_some() {
                info!(%channel, "alerts watched by this master now: continuing the records of the last one");
            }
            self.held = Some(HeldBook::read(&channel, looked.state.as_deref()));
        }
        let Some(held) = &mut self.held else { return };
        let mut reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
        if seen.status.is_some() {
            reports.push(self.report.clone());
        }
        let present = seen.present(&self.settings);
        let values = FleetValues { channel: &present, reports: &reports };
        let rules = self.settings.rules.iter().filter(|rule| !rule.is_per_host());
        held.book.evaluate(&channel, None, rules, &values, now);
        let circumstances = Circumstances {
            channel: &channel,
            settings: &self.settings.alerts,
            rules: &self.settings.rules,
            silences: &self.silences,
            is_paused: looked.counts.paused,
            now,
        };
        let public_url = self.settings.public_url.as_deref();
        let due = held.book.due(&circumstances);
        let message = |(receiver, due): (String, _)| {
            let message = held.book.notification(&due, &circumstances, &self.place.host, public_url, &values);
            (receiver, message)
        };
        let messages: Vec<_> = due.into_iter().map(message).collect();
        if !self.save().await {
            if let Some(held) = &mut self.held {
                held.book.take_back(messages.iter().map(|(receiver, _)| receiver.as_str()));
            }
            return;
        }
        for (receiver, message) in messages {
            debug!(%channel, %receiver, alerts = message.alerts.len(), "message about alerts");
            self.place.outbox.deliver(&receiver, message, self.results.sender.clone());
        }
    }

    /// The heartbeats that this master calls, as far as this watch decides. `others` are the other watchers of the channel.
    fn called_heartbeats(&self, holds: bool, others: &[(&str, HostReport)]) -> BTreeSet<String> {
        let own = Watcher { name: &self.watcher, holds, report: &self.report };
        let others: Vec<_> =
            others.iter().map(|(name, report)| Watcher { name, holds: report.holds(), report }).collect();
        let mut called = self.report.heartbeats().clone();
        called.retain(|heartbeat| is_chosen(heartbeat, &own, &others));
        called
    }

    async fn delivered(&mut self, result: Delivered) {
        let now = self.now();
        if let Some(held) = &mut self.held {
            held.book.sent(&result.receiver, result.error, now);
            self.save().await;
        }
    }

    /// Saves the book if it has changed; whether the store has it. A watch that has lost the channel drops its book.
    async fn save(&mut self) -> bool {
        let Some(held) = &mut self.held else { return false };
        if held.book.is_same_but_values(&held.stored) {
            return true;
        }
        let Some(text) = held.book.text() else {
            let channel = self.place.sampler.name();
            warn!(%channel, "alerts not sent: their records are too large for the store; use fewer rules or receivers");
            return false;
        };
        let report = self.report.text();
        let look = AlertLook {
            watcher: &self.watcher,
            lease: ALERT_LEASE,
            report: Some(&report),
            save: Some(&text),
        };
        match self.place.store.look_at_alerts(look).await {
            Ok(looked) if looked.saved => {
                held.stored = held.book.clone();
                true
            }
            Ok(looked) => {
                // Another master held the channel in between: its book is the right one.
                self.held =
                    looked.taken.then(|| HeldBook::read(self.place.sampler.name(), looked.state.as_deref()));
                false
            }
            Err(_) => false,
        }
    }

    async fn give_up(mut self) {
        self.host_book.save();
        let text = self.held.as_ref().and_then(|held| held.book.text());
        let look =
            AlertLook { watcher: &self.watcher, lease: ALERT_LEASE, report: None, save: text.as_deref() };
        // Without an answer, others get the watch when its lease ends.
        let _ = timeout(GIVE_UP_TIMEOUT, self.place.store.look_at_alerts(look)).await;
    }

    /// The time of the store's clock, as far as it is known.
    fn now(&self) -> Timestamp {
        self.store_time
            .map_or_else(|| SystemTime::now().into(), |(time, instant)| time.after(instant.elapsed()))
    }
}

/// The answer of the store to a look.
enum Looked {
    Answer(Box<AlertLooked>),
    /// The store works, but has no records of alerts for this program.
    Refused,
    Nothing,
}

impl Looked {
    fn answer(&self) -> Option<&AlertLooked> {
        match self {
            Self::Answer(looked) => Some(looked),
            Self::Refused | Self::Nothing => None,
        }
    }
}

impl HeldBook {
    fn read(channel: &str, text: Option<&str>) -> Self {
        let book = AlertBook::read(text).unwrap_or_else(|| {
            warn!(%channel, "alerts begin from nothing: their records in the store are of a newer version");
            AlertBook::default()
        });
        Self { stored: book.clone(), book }
    }
}

impl Seen {
    fn present<'a>(&'a self, settings: &WatchSettings) -> PresentValues<'a> {
        PresentValues {
            counts: self.counts.as_ref(),
            status: self.status.as_ref(),
            recent: &self.recent,
            max_workers: settings.max_workers,
            memory_limit: settings.memory_limit,
            trends: self.trends,
            masters: self.masters,
            past: PastValues::new(&self.points, self.at),
        }
    }
}
