//! The service loop's side of reloads: starts due reloads, applies their results and logs them.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::messages::{ReloadChanges, ReloadError};
use super::queue::ReloadEvent;
use super::task::{ReloadTask, Reloaded};
use crate::master::service_loop::Master;
use crate::master::watchdog::Watchdog;

impl Master {
    /// Reloads all channels, for a signal.
    pub(in crate::engine::master) fn reload_all(&mut self, watchdog: &Watchdog) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            if let Some(due) = self.reloads.enqueue(name, None) {
                self.on_reload_event(ReloadEvent::Due(due), watchdog);
            }
        }
    }

    pub(in crate::engine::master) fn on_reload_event(&mut self, event: ReloadEvent, watchdog: &Watchdog) {
        match event {
            ReloadEvent::Due(name) => self.begin_reload(name, watchdog),
            ReloadEvent::Ended(name, result) => {
                let changes = match *result {
                    Ok(Reloaded { channel, base, changes }) => {
                        if let Some(service) = self.services.get_mut(&name) {
                            service.apply_config(channel, &base);
                        }
                        Ok(changes)
                    }
                    Err(error) => Err(error),
                };
                self.end_reload(name, &changes, watchdog);
            }
        }
    }

    fn begin_reload(&mut self, name: Arc<str>, watchdog: &Watchdog) {
        let Some(service) = self.services.get(&name) else {
            return self.end_reload(name, &Err(ReloadError::Stopping), watchdog);
        };
        // A queued reload reports RELOADING=1 again: the READY=1 of this series follows only its last reload.
        watchdog.reloading();
        let task = ReloadTask {
            config: Arc::clone(&self.config),
            channel: service.config.clone(),
            memory_share: self.memory_share,
            guardian: service.guardian.clone(),
            commands: service.commands.clone(),
        };
        self.reloads.begin(name, task);
    }

    fn end_reload(
        &mut self,
        name: Arc<str>,
        changes: &Result<ReloadChanges, ReloadError>,
        watchdog: &Watchdog,
    ) {
        match changes {
            Ok(ReloadChanges { renewed, restart, program_replaced }) => {
                let generation = renewed.generation;
                info!(channel = %name, generation, "reloaded");
                if !restart.is_empty() {
                    warn!(channel = %name, "keys changed that need a restart of the master: {}", restart.join(", "));
                }
                if *program_replaced {
                    warn!(
                        "binary changed on disk: workers run the new version; restart the master to update it"
                    );
                }
            }
            Err(why @ ReloadError::Stopping) => info!(channel = %name, "reload not started: {why}"),
            Err(why) => {
                // A list of configuration problems becomes one log line.
                let why = why.to_string().replace("\n  ", "; ");
                error!(channel = %name, "reload failed: keeping the previous configuration and workers: {why}");
            }
        }
        if self.reloads.end(&name, changes) {
            self.begin_reload(name, watchdog);
        } else if self.reloads.is_idle() {
            watchdog.reloaded(changes.is_ok());
        }
    }
}
