//! The master: the process behind `queue:listen`.
//!
//! Duties: be the only one for its channels on this run directory, start the guardian and one actor per channel, pass on
//! signals and requests, leave nothing behind. It runs no user code and decides nothing about jobs.
//!
//! Everything that can be refused is checked before anything is started: `start` first takes the locks, then opens
//! the stores, and only then lets processes be born.

mod actor;
mod again;
mod answers;
mod check;
mod control;
mod jobs;
mod machine;
mod memory;
mod notify;
mod once;
mod orders;
mod program;
mod recycle;
mod reload;
mod reloads;
pub mod run_dir;
mod service;
mod signals;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::channel::{Command, Stopped};
use crate::config::Config;
use crate::guardian::Guardian;
use crate::http;
pub use again::Again;
use check::Served;
pub use control::{Answer, ControlError, Request, ask};
use notify::Notify;
pub use once::run_once;
use orders::Orders;
pub use program::own_program;
use recycle::{Recycle, Step};
pub use run_dir::{Presence, presence, socket};
use service::Service;
pub use signals::hold_signals;
use signals::{Signal, Signals};
pub use start::{Listen, ListenError};
use watch::{Turn, Watch};

/// Serves channels until told to stop. `again` is what the program before has left, if this one goes on in its place.
///
/// # Errors
/// When a channel cannot be served at all; then nothing was started and nothing is left behind.
pub fn listen(listen: Listen, again: Option<Again>) -> Result<Ended, ListenError> {
    let again = again.unwrap_or_default();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::take_over().map_err(ListenError::System)?;
        // Nothing of a start that is given up serves yet: what it has taken goes with it.
        let channels = listen.channels.join(", ");
        let recycle = Recycle::new(&listen, again.count);
        let master = tokio::select! {
            master = start::start(listen, again) => master?,
            () = signals.stop() => {
                info!("stopped before it served anything");
                return Ok(Ended::Stopped);
            }
        };
        let watch = Watch::begin(Notify::from_env(), &channels);
        master.serve(signals, watch, recycle).await
    });
    // A name server that does not answer holds nobody up.
    runtime.shutdown_background();
    ended
}

/// How a master that served ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// It needs too much memory; what it served goes on in the next program of this process.
    BeginAnew(Again),
}

/// The master's runtime: one thread, so that nothing in it has to wait for another.
fn runtime() -> Result<tokio::runtime::Runtime, ListenError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Signals are for the thread that will hold them back at the end. One that another thread takes then is lost.
    runtime.enable_all().on_thread_start(hold_signals).build().map_err(ListenError::System)
}

/// A running master.
struct Master {
    guardian: Guardian,
    services: BTreeMap<Arc<str>, Service>,
    actors: JoinSet<(Arc<str>, Stopped)>,
    http: Option<http::Serving>,
    orders: Orders,
    /// As it was at the start.
    config: Arc<Config>,
    /// What a pool may use that does not say it, in MiB; `None` where nothing limits the machine.
    memory_share: Option<u64>,
}

impl Master {
    async fn serve(
        mut self,
        mut signals: Signals,
        mut watch: Watch,
        mut recycle: Recycle,
    ) -> Result<Ended, ListenError> {
        let mut asked = 0;
        let mut panicked = false;
        while !self.services.is_empty() {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => {
                        asked += 1;
                        recycle.give_up();
                        watch.stopping(self.longest_stop());
                        self.stop_all(asked > 1);
                    }
                    Signal::Quiet => self.tell_all(|| Command::Quiet(oneshot::channel().0)),
                    Signal::Resume => self.tell_all(|| Command::Resume(oneshot::channel().0)),
                    Signal::Reload => self.reload_all(&watch),
                    Signal::Nothing(name) => info!("{name} means nothing in this version"),
                },
                turn = watch.turn(), if watch.is_needed() => match turn {
                    Turn::Ask => watch.ask(self.services.values().map(|s| s.commands.clone()).collect()),
                    Turn::Heard(pulses) => {
                        // Told so by commands, one by one.
                        if !recycle.is_draining() && pulses.iter().all(|pulse| pulse.stop_left.is_some()) {
                            watch.stopping(self.longest_stop());
                        }
                        watch.heard(&pulses);
                    }
                },
                event = self.orders.next() => self.on_order(event, &watch),
                step = recycle.next() => match step {
                    Step::Check => recycle.check(self.served()),
                    Step::Drain => self.stop_all(false),
                },
                Some(ended) = self.actors.join_next() => match ended {
                    Ok((name, stopped)) => self.on_end(&name, stopped, &mut recycle).await,
                    // A panic in an actor is a bug of ours: its jobs are safe in the store, the rest goes on.
                    Err(error) => {
                        panicked = true;
                        self.on_panic(&error, &mut recycle).await;
                    }
                },
            }
        }
        if let Some(http) = self.http {
            http.shut_down().await;
        }
        self.guardian.shut_down().await;
        // From here on a signal waits for the next program; one that has come already is ours.
        hold_signals();
        if signals.has_stop().await {
            recycle.give_up();
        }
        let ended = recycle.end();
        match &ended {
            // Whoever started it shall know, and start it again.
            Ended::Stopped if panicked => return Err(ListenError::Panicked),
            Ended::Stopped => info!("stopped"),
            Ended::BeginAnew(_) => info!("everything has ended; the program is run again"),
        }
        Ok(ended)
    }

    /// How long a stop may take by the configuration.
    fn longest_stop(&self) -> Duration {
        let stops =
            self.services.values().map(|service| service.config.stop_wait + service.config.stop_grace);
        stops.max().unwrap_or_default()
    }

    fn stop_all(&self, force: bool) {
        self.tell_all(|| Command::Stop { force });
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for service in self.services.values() {
            // It waits its turn behind requests that have filled the queue; a channel that has ended needs no word.
            let (commands, command) = (service.commands.clone(), command());
            tokio::spawn(async move { commands.send(command).await });
        }
    }

    /// The channels that somebody still wants.
    fn served(&self) -> Vec<Served> {
        let wanted = self.services.values().filter(|service| !service.is_unwanted());
        wanted.map(|service| (Arc::clone(&service.name), service.commands.clone())).collect()
    }

    async fn on_end(&mut self, name: &Arc<str>, stopped: Stopped, recycle: &mut Recycle) {
        let Stopped { handed_back, settled, .. } = stopped;
        info!(channel = %name, handed_back, settled, "channel stopped");
        if let Some(service) = self.services.remove(name) {
            let guardian = self.guardian.handle();
            if recycle.is_draining() && !service.is_unwanted() {
                recycle.keep(name, service.hand_over(&stopped, &guardian).await, &stopped);
            } else {
                service.close(stopped, &guardian).await;
            }
        }
    }

    async fn on_panic(&mut self, error: &tokio::task::JoinError, recycle: &mut Recycle) {
        error!(%error, "a channel's actor panicked: please report this; the channel is stopped");
        let dead: Vec<_> =
            self.services.values().filter(|s| s.commands.is_closed()).map(|s| Arc::clone(&s.name)).collect();
        for name in dead {
            self.on_end(&name, Stopped::default(), recycle).await;
        }
    }
}
