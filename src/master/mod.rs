//! The master: the process behind `queue:listen`.
//!
//! Duties: be the only one for its channels on this run directory, start the guardian and one actor per channel, pass on
//! signals and requests, leave nothing behind. It runs no user code and decides nothing about jobs.
//!
//! Everything that can be refused is checked before anything is started: `start` first takes the locks, then opens
//! the stores, and only then lets processes be born.

mod control;
mod machine;
mod notify;
mod once;
mod program;
pub mod run_dir;
mod service;
mod signals;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::info;

use crate::channel::{Command, Stopped};
use crate::guardian::Guardian;
use crate::http;
pub use control::{Answer, ControlError, Request, ask};
use notify::Notify;
pub use once::run_once;
pub use program::own_program;
pub use run_dir::{Presence, presence, socket};
use service::Service;
pub use signals::hold_signals;
use signals::{Signal, Signals};
pub use start::{Listen, ListenError};
use watch::{Turn, Watch};

/// Serves channels until told to stop.
///
/// # Errors
/// When a channel cannot be served at all; then nothing was started and nothing is left behind.
pub fn listen(listen: Listen) -> Result<(), ListenError> {
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::take_over().map_err(ListenError::System)?;
        // Nothing of a start that is given up serves yet: what it has taken goes with it.
        let longest = listen.longest_stop();
        let channels = listen.channels.join(", ");
        let master = tokio::select! {
            master = start::start(listen) => master?,
            () = signals.stop() => {
                info!("stopped before it served anything");
                return Ok(());
            }
        };
        let watch = Watch::begin(Notify::from_env(), &channels);
        master.serve(signals, watch, longest).await
    });
    // A name server that does not answer holds nobody up.
    runtime.shutdown_background();
    ended
}

/// The master's runtime: one thread, so that nothing in it has to wait for another.
fn runtime() -> Result<tokio::runtime::Runtime, ListenError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ListenError::System)
}

/// A running master.
struct Master {
    guardian: Guardian,
    services: BTreeMap<Arc<str>, Service>,
    actors: JoinSet<(Arc<str>, Stopped)>,
    http: Option<http::Serving>,
}

impl Master {
    async fn serve(
        mut self,
        mut signals: Signals,
        mut watch: Watch,
        longest_stop: Duration,
    ) -> Result<(), ListenError> {
        let mut asked = 0;
        let mut panicked = false;
        while !self.services.is_empty() {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => {
                        asked += 1;
                        watch.stopping(longest_stop);
                        self.stop_all(asked > 1);
                    }
                    Signal::Nothing(name) => info!("{name} means nothing in this version"),
                },
                turn = watch.turn(), if watch.is_needed() => match turn {
                    Turn::Ask => watch.ask(self.services.values().map(|s| s.commands.clone()).collect()),
                    Turn::Heard(pulses) => {
                        // Told so by commands, one by one.
                        if pulses.iter().all(|pulse| pulse.stop_left.is_some()) {
                            watch.stopping(longest_stop);
                        }
                        watch.heard(&pulses);
                    }
                },
                Some(ended) = self.actors.join_next() => match ended {
                    Ok((name, stopped)) => self.on_end(&name, stopped).await,
                    // A panic in an actor is a bug of ours: its jobs are safe in the store, the rest goes on.
                    Err(error) => {
                        panicked = true;
                        self.on_panic(&error).await;
                    }
                },
            }
        }
        if let Some(http) = self.http {
            http.shut_down().await;
        }
        self.guardian.shut_down().await;
        info!("stopped");
        // Whoever started it shall know, and start it again.
        if panicked { Err(ListenError::Panicked) } else { Ok(()) }
    }

    fn stop_all(&self, force: bool) {
        for service in self.services.values() {
            // It waits its turn behind requests that have filled the queue; a channel that has ended needs no stop.
            let commands = service.commands.clone();
            tokio::spawn(async move { commands.send(Command::Stop { force }).await });
        }
    }

    async fn on_end(&mut self, name: &Arc<str>, stopped: Stopped) {
        let Stopped { handed_back, settled, .. } = stopped;
        info!(channel = %name, handed_back, settled, "channel stopped");
        if let Some(service) = self.services.remove(name) {
            service.close(stopped, &self.guardian.handle()).await;
        }
    }

    async fn on_panic(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a channel's actor panicked: please report this; the channel is stopped");
        let dead: Vec<_> =
            self.services.values().filter(|s| s.commands.is_closed()).map(|s| Arc::clone(&s.name)).collect();
        for name in dead {
            self.on_end(&name, Stopped::default()).await;
        }
    }
}
