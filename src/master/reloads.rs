//! What the master does about reloads: begins those that are due, goes on with what they have changed, says how they ended.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::reload::{Changes, NotReloaded, Reloaded, Task};
use super::watch::Watch;
use super::{Master, orders};

impl Master {
    /// A signal asks for all channels.
    pub(super) fn reload_all(&mut self, watch: &Watch) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            if let Some(due) = self.orders.take(name, None) {
                self.on_order(orders::Event::Due(due), watch);
            }
        }
    }

    pub(super) fn on_order(&mut self, event: orders::Event, watch: &Watch) {
        match event {
            orders::Event::Due(name) => self.begin_reload(name, watch),
            orders::Event::Ended(name, result) => {
                let changes = match *result {
                    Ok(Reloaded { channel, base, changes }) => {
                        if let Some(service) = self.services.get_mut(&name) {
                            service.renew(channel, &base);
                        }
                        Ok(changes)
                    }
                    Err(error) => Err(error),
                };
                self.end_reload(name, &changes, watch);
            }
        }
    }

    fn begin_reload(&mut self, name: Arc<str>, watch: &Watch) {
        let Some(service) = self.services.get(&name) else {
            return self.end_reload(name, &Err(NotReloaded::Stopping), watch);
        };
        // Also when one has just ended: whoever asked meanwhile waits for the word that follows.
        watch.reloading();
        let task = Task {
            config: Arc::clone(&self.config),
            channel: service.config.clone(),
            memory_share: self.memory_share,
            guardian: service.guardian.clone(),
            commands: service.commands.clone(),
        };
        self.orders.begin(name, task);
    }

    fn end_reload(&mut self, name: Arc<str>, changes: &Result<Changes, NotReloaded>, watch: &Watch) {
        match changes {
            Ok(Changes { renewed, restart, program_replaced }) => {
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
            Err(why @ NotReloaded::Stopping) => info!(channel = %name, "not reloaded: {why}"),
            Err(why) => {
                // A list of mistakes is one line of the log, too.
                let why = why.to_string().replace("\n  ", "; ");
                error!(channel = %name, "not reloaded, everything goes on as before: {why}");
            }
        }
        if self.orders.end(&name, changes) {
            self.begin_reload(name, watch);
        } else if self.orders.is_idle() {
            watch.reloaded(changes.is_ok());
        }
    }
}
