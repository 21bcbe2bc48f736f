//! The alerts of a master: a watch for each channel, and the sender of their messages.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::run_dir::RunDir;
use super::signals::with_signals_blocked;
use crate::alerts::{
    Deliveries, Outbox, Pulses, WatchHandle, WatchPlace, WatchSettings, call_heartbeat, send_test,
    test_messages,
};
use crate::config::alerts::{Alerts, ReceiverKind};
use crate::config::{self, Config, Driver};
use crate::guardian::{GuardianHandle, Privileges};
use crate::metrics::{AlertMetrics, Metrics};
use crate::snapshot::Sampler;
use crate::store::Store;

/// The name in place of a channel in the message of a test.
const TEST_CHANNEL: &str = "test";

/// The alerts of a master, for all its channels.
pub(super) struct Alerting {
    settings: Arc<Alerts>,
    deliveries: Arc<Deliveries>,
    pulses: Arc<Pulses>,
    public_url: Option<String>,
    /// The name of this host.
    host: String,
    metrics: AlertMetrics,
    /// The guardian for the programs of receivers.
    guardian: GuardianHandle,
}

/// The guardian for the programs of receivers, which get no secrets of the master.
pub(super) fn for_receivers(guardian: &GuardianHandle, settings: &Alerts) -> GuardianHandle {
    let passed_env = settings.passed_env.clone();
    guardian.with_privileges(Privileges { passed_env, ..Privileges::default() })
}

/// A channel to watch.
pub(super) struct WatchedChannel<'a> {
    pub(super) config: &'a config::Channel,
    pub(super) sampler: &'a Arc<Sampler>,
    pub(super) store: &'a Arc<dyn Store>,
    /// Whether this master serves the channel.
    pub(super) is_served: bool,
}

impl Alerting {
    /// The alerts of a configuration; `None` without a receiver.
    pub(super) fn start(
        config: &Config,
        host: &str,
        guardian: &GuardianHandle,
        metrics: AlertMetrics,
    ) -> io::Result<Option<Self>> {
        let Some(settings) = config.alerts.as_ref().filter(|alerts| !alerts.receivers.is_empty()) else {
            return Ok(None);
        };
        let guardian = for_receivers(guardian, settings);
        let start = || Deliveries::start(settings.receivers.values().cloned(), Some(guardian.clone()));
        let (deliveries, pulses) = (Arc::new(with_signals_blocked(start)??), Arc::<Pulses>::default());
        let is_heartbeat = |kind: &ReceiverKind| matches!(kind, ReceiverKind::Heartbeat { .. });
        for receiver in settings.receivers.values().filter(|receiver| is_heartbeat(&receiver.kind)) {
            let (pulses, deliveries) = (Arc::clone(&pulses), Arc::clone(&deliveries));
            tokio::spawn(call_heartbeat(receiver.clone(), pulses, deliveries, settings.evaluate_every));
        }
        Ok(Some(Self {
            settings: Arc::new(settings.clone()),
            deliveries,
            pulses,
            public_url: config.http.as_ref().and_then(|http| http.public_url.clone()),
            host: host.to_owned(),
            metrics,
            guardian,
        }))
    }

    /// Sends the messages of a test to a receiver; `None` for one that is not declared.
    pub(super) async fn test(&self, receiver: &str) -> Option<Result<(), String>> {
        let receiver = self.settings.receivers.get(receiver)?;
        let now = SystemTime::now().into();
        let messages = test_messages(TEST_CHANNEL, &self.host, self.public_url.clone(), now);
        Some(send_test(receiver, &messages, Some(&self.guardian)).await)
    }

    /// Updates the numbers of messages in the metrics.
    pub(super) fn count_messages(&self) {
        for (receiver, status) in self.deliveries.status() {
            self.metrics.messages(&receiver, status.counts);
        }
    }

    /// Starts the watches of declared channels that this master does not serve: their masters may all be gone.
    pub(super) fn watch_others(
        &self,
        config: &Config,
        served: &[String],
        open: impl Fn(&config::Channel) -> Arc<dyn Store>,
    ) -> Vec<WatchHandle> {
        let others = config.channels.values().filter(|channel| !served.contains(&channel.name));
        let others = others.filter(|channel| !channel.rules.is_empty() && has_store(&channel.driver));
        let watch = |channel: &config::Channel| {
            let (name, store) = (Arc::from(channel.name.as_str()), open(channel));
            // Nothing answers its commands, and its metrics are those of no channel of this master.
            let (commands, _) = mpsc::channel(1);
            let metrics = Metrics::default().channel(&channel.name);
            let sampler = Arc::new(Sampler::new(name, Arc::clone(&store), commands, metrics));
            self.watch(
                &WatchedChannel { config: channel, sampler: &sampler, store: &store, is_served: false },
                None,
            )
        };
        others.map(watch).collect()
    }

    /// Starts the watch of a channel in place of an earlier one.
    pub(super) fn watch(&self, channel: &WatchedChannel<'_>, before: Option<WatchHandle>) -> WatchHandle {
        let WatchedChannel { config, sampler, store, is_served } = *channel;
        let place = WatchPlace {
            host: self.host.clone(),
            sampler: Arc::clone(sampler),
            store: Arc::clone(store),
            outbox: self.deliveries.clone(),
            metrics: self.metrics.clone(),
            file: is_served.then(|| host_alerts_file(config)),
        };
        let settings = WatchSettings {
            alerts: Arc::clone(&self.settings),
            rules: config.rules.clone(),
            public_url: self.public_url.clone(),
            max_workers: config.worker.plan.max,
            memory_limit: config.worker.scaling.memory_limit,
        };
        let watch = WatchHandle::start(place, settings, before);
        self.pulses.add(watch.pulse());
        watch
    }
}

/// Whether a channel has a store to watch. A file that does not exist has no jobs that could wait for a master.
fn has_store(driver: &Driver) -> bool {
    match driver {
        Driver::Sqlite { path, .. } => path.exists(),
        Driver::Redis(_) => true,
        Driver::Sync => false,
    }
}

/// The file of the alerts of this host in a channel.
#[must_use]
pub fn host_alerts_file(channel: &config::Channel) -> PathBuf {
    RunDir::at(&channel.pid_path, &channel.name).alerts_path()
}
