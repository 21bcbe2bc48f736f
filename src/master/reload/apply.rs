//! What the master does about reloads: begins those that are due, goes on with what they have changed, says how they ended.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{ReloadChanges, ReloadError, ReloadTask, Reloaded, queue::ReloadEvent};
use crate::master::Master;
use crate::master::watchdog::Watchdog;

impl Master {
    /// A signal asks for all channels.
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
        // Also when one has just ended: whoever asked meanwhile waits for the word that follows.
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
                    warn!(channel = %name, "changed, and in force with the next start only: {}", restart.join(", "));
                }
                if *program_replaced {
                    warn!(
                        "this program has changed on disk: its workers are the new one, the master is not until it is restarted"
                    );
                }
            }
            Err(why @ ReloadError::Stopping) => info!(channel = %name, "not reloaded: {why}"),
            Err(why) => {
                // A list of mistakes is one line of the log, too.
                let why = why.to_string().replace("\n  ", "; ");
                error!(channel = %name, "not reloaded, everything goes on as before: {why}");
            }
        }
        if self.reloads.end(&name, changes) {
            self.begin_reload(name, watchdog);
        } else if self.reloads.is_idle() {
            watchdog.reloaded(changes.is_ok());
        }
    }
}
