//! The store and the run directory that a channel of a running master holds, compared with the present meaning of the paths
//! in its configuration.
//!
//! A path may mean another file than at the start: a release directory behind a symbolic link was switched, or a file was
//! removed or replaced. The master never moves over, because the jobs that wait in its store would be left behind.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info, warn};

use super::run_dir::LockPlace;
use crate::config::{self, Driver};
use crate::store::{self, Store, StoreIdentity};

/// Time between two looks at the paths of a channel.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The store and the run directory of a served channel.
#[derive(Debug)]
pub(super) struct ChannelPlace {
    channel: Arc<str>,
    store: Arc<dyn Store>,
    /// The settings from which store and run directory were opened.
    driver: Driver,
    pid_path: PathBuf,
    lock: LockPlace,
    /// The differences that the log has.
    logged: Mutex<Vec<String>>,
    /// The damage to the store that the log has.
    logged_damage: Mutex<Option<String>>,
}

impl ChannelPlace {
    pub(super) fn new(config: &config::Channel, store: Arc<dyn Store>, lock: LockPlace) -> Self {
        Self {
            channel: config.name.as_str().into(),
            store,
            driver: config.driver.clone(),
            pid_path: config.pid_path.clone(),
            lock,
            logged: Mutex::default(),
            logged_damage: Mutex::default(),
        }
    }

    /// The name of the channel.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// The store that this master serves; what its setting means while the store is not open.
    pub(super) fn identity(&self) -> Option<StoreIdentity> {
        self.store.identity().or_else(|| StoreIdentity::of(&self.driver))
    }

    /// The differences between the held places and those that the settings mean now, and damage to the store, for people. Blocks
    /// on the file system.
    pub(super) fn differences(&self) -> Vec<String> {
        let store = StoreIdentity::of(&self.driver).and_then(|meant| self.store_difference(&meant));
        let damage = self.damage(store.as_deref());
        let differences: Vec<_> = store.into_iter().chain(self.lock.difference(&self.pid_path)).collect();
        let mut logged = lock(&self.logged);
        if *logged != differences {
            for difference in differences.iter().filter(|difference| !logged.contains(difference)) {
                warn!(channel = %self.channel, "paths changed under this master, which keeps serving: {difference}: {}", remedy());
            }
            if differences.is_empty() {
                info!(channel = %self.channel, "paths of this master are as at its start again");
            }
            logged.clone_from(&differences);
        }
        damage.into_iter().chain(differences).collect()
    }

    /// Files that were removed or replaced under the open store, unless its path has another meaning altogether.
    fn damage(&self, difference: Option<&str>) -> Option<String> {
        let damage = if difference.is_none() { self.store.damage() } else { None };
        let mut logged = lock(&self.logged_damage);
        if let Some(damage) = damage.as_ref().filter(|damage| logged.as_ref() != Some(damage)) {
            error!(channel = %self.channel, "files of the store changed under this master: refusing pushes and new jobs: {damage}");
        }
        logged.clone_from(&damage);
        damage
    }

    /// Why a channel with the settings of `new` is not the one that this master holds. Blocks, and connects to a Redis server
    /// that is configured by another address.
    pub(super) fn refusal(&self, new: &config::Channel) -> Option<String> {
        let store = match StoreIdentity::of(&new.driver) {
            Some(meant) => self.store_difference(&self.confirmed(meant, new)),
            None => Some("the driver is \"sync\" now, which a master cannot serve".to_owned()),
        };
        let Some(difference) = store.or_else(|| self.lock.difference(&new.pid_path)) else {
            return self.store.damage();
        };
        Some(format!("{difference}: {}", remedy()))
    }

    fn store_difference(&self, meant: &StoreIdentity) -> Option<String> {
        let served = self.identity()?;
        if served.is_same(meant) {
            return None;
        }
        let (served, meant) = served.distinct_texts(meant);
        Some(format!("the configuration means {meant} now, but this master serves {served}"))
    }

    /// The identity of a server behind another address, which may be the same server.
    fn confirmed(&self, meant: StoreIdentity, new: &config::Channel) -> StoreIdentity {
        let is_known = self.identity().is_none_or(|served| served.is_same(&meant));
        if is_known || !matches!(new.driver, Driver::Redis(_)) {
            return meant;
        }
        let opened = Handle::current().block_on(store::open(&new.driver, &new.name));
        opened.ok().and_then(|store| store.identity()).unwrap_or(meant)
    }
}

/// Logs differences until the last channel has ended. One thread looks at all channels, because each thread costs memory.
pub(super) async fn watch(places: Vec<Weak<ChannelPlace>>) {
    let mut tick = interval_at(Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let served: Vec<_> = places.iter().filter_map(Weak::upgrade).collect();
        if served.is_empty() {
            return;
        }
        let look = move || served.iter().for_each(|place| drop(place.differences()));
        // A panic is a bug; the next look may work.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

fn remedy() -> String {
    let pid = std::process::id();
    format!("stop this master with queue:stop, or SIGTERM to pid {pid}, and start one with queue:listen")
}
