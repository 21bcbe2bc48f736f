//! The master: the process behind `queue:listen`.
//!
//! Duties: be the only one for its channels on this run directory, start the guardian and one actor per channel, pass on
//! signals and requests, leave nothing behind. It runs no user code and decides nothing about jobs.
//!
//! Everything that can be refused is checked before anything is started: `start` first takes the locks, then opens
//! the stores, and only then lets processes be born.

mod channel_service;
mod channel_setup;
mod container_memory;
mod control;
mod lazy_store;
mod own_memory;
mod own_program;
mod reexec;
mod reload;
pub mod run_dir;
mod run_once;
mod sd_notify;
mod signals;
mod start;
mod watchdog;

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
use channel_service::ChannelService;
pub use control::{ControlError, ControlRequest, ControlResponse, send_request};
pub use own_program::own_program;
pub use reexec::Handover;
use reexec::{ReexecPolicy, ReexecStep, ServedChannel};
use reload::ReloadQueue;
pub use run_dir::{Presence, presence, socket_path};
pub use run_once::run_once;
use sd_notify::ServiceManager;
pub use signals::block_signals;
use signals::{SignalAction, Signals};
pub use start::{ListenError, ListenOptions};
use watchdog::{Watchdog, WatchdogEvent};

/// Serves channels until told to stop. `handover` is what the program before has left, if this one goes on in its place.
///
/// # Errors
/// When a channel cannot be served at all; then nothing was started and nothing is left behind.
pub fn listen(listen: ListenOptions, handover: Option<Handover>) -> Result<MasterExit, ListenError> {
    let handover = handover.unwrap_or_default();
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::install().map_err(ListenError::System)?;
        // Nothing of a start that is given up serves yet: what it has taken goes with it.
        let channels = listen.channels.join(", ");
        let reexec = ReexecPolicy::new(&listen, handover.reexec_count);
        let master = tokio::select! {
            master = start::start(listen, handover) => master?,
            () = signals.wait_for_stop() => {
                info!("stopped before it served anything");
                return Ok(MasterExit::Stopped);
            }
        };
        let watchdog = Watchdog::start(ServiceManager::from_env(), &channels);
        master.serve(signals, watchdog, reexec).await
    });
    // A name server that does not answer holds nobody up.
    runtime.shutdown_background();
    ended
}

/// How a master that served ended.
#[derive(Debug)]
pub enum MasterExit {
    /// It was told to.
    Stopped,
    /// It needs too much memory; what it served goes on in the next program of this process.
    Reexec(Handover),
}

/// The master's runtime: one thread, so that nothing in it has to wait for another.
fn runtime() -> Result<tokio::runtime::Runtime, ListenError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Signals are for the thread that will hold them back at the end. One that another thread takes then is lost.
    runtime.enable_all().on_thread_start(block_signals).build().map_err(ListenError::System)
}

/// A running master.
struct Master {
    guardian: Guardian,
    services: BTreeMap<Arc<str>, ChannelService>,
    actors: JoinSet<(Arc<str>, Stopped)>,
    http: Option<http::RunningListener>,
    reloads: ReloadQueue,
    /// As it was at the start.
    config: Arc<Config>,
    /// What a pool may use that does not say it, in MiB; `None` where nothing limits the machine.
    memory_share: Option<u64>,
}

impl Master {
    async fn serve(
        mut self,
        mut signals: Signals,
        mut watchdog: Watchdog,
        mut reexec: ReexecPolicy,
    ) -> Result<MasterExit, ListenError> {
        let mut stop_signals = 0;
        let mut panicked = false;
        while !self.services.is_empty() {
            tokio::select! {
                action = signals.next() => match action {
                    SignalAction::Stop => {
                        stop_signals += 1;
                        reexec.cancel();
                        watchdog.stopping(self.longest_stop());
                        self.stop_all(stop_signals > 1);
                    }
                    SignalAction::Quiet => self.send_to_all(|| Command::Quiet(oneshot::channel().0)),
                    SignalAction::Resume => self.send_to_all(|| Command::Resume(oneshot::channel().0)),
                    SignalAction::Reload => self.reload_all(&watchdog),
                    SignalAction::Ignored(name) => info!("{name} means nothing in this version"),
                },
                event = watchdog.next(), if watchdog.is_active() => match event {
                    WatchdogEvent::PollDue => watchdog.poll(self.services.values().map(|s| s.commands.clone()).collect()),
                    WatchdogEvent::Polled(pulses) => {
                        // Told so by commands, one by one.
                        if !reexec.is_draining() && pulses.iter().all(|pulse| pulse.stop_left.is_some()) {
                            watchdog.stopping(self.longest_stop());
                        }
                        watchdog.record(&pulses);
                    }
                },
                event = self.reloads.next() => self.on_reload_event(event, &watchdog),
                step = reexec.next() => match step {
                    ReexecStep::Preflight => reexec.start_preflight(self.served()),
                    ReexecStep::Drain => self.stop_all(false),
                },
                Some(ended) = self.actors.join_next() => match ended {
                    Ok((name, stopped)) => self.on_channel_end(&name, stopped, &mut reexec).await,
                    // A panic in an actor is a bug of ours: its jobs are safe in the store, the rest goes on.
                    Err(error) => {
                        panicked = true;
                        self.on_actor_panic(&error, &mut reexec).await;
                    }
                },
            }
        }
        if let Some(http) = self.http {
            http.shut_down().await;
        }
        self.guardian.shut_down().await;
        // From here on a signal waits for the next program; one that has come already is ours.
        block_signals();
        if signals.stop_pending().await {
            reexec.cancel();
        }
        let ended = reexec.finish();
        match &ended {
            // Whoever started it shall know, and start it again.
            MasterExit::Stopped if panicked => return Err(ListenError::Panicked),
            MasterExit::Stopped => info!("stopped"),
            MasterExit::Reexec(_) => info!("everything has ended; the program is run again"),
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
        self.send_to_all(|| Command::Stop { force });
    }

    fn send_to_all(&self, command: impl Fn() -> Command) {
        for service in self.services.values() {
            // It waits its turn behind requests that have filled the queue; a channel that has ended needs no word.
            let (commands, command) = (service.commands.clone(), command());
            tokio::spawn(async move { commands.send(command).await });
        }
    }

    /// The channels that somebody still wants.
    fn served(&self) -> Vec<ServedChannel> {
        let wanted = self.services.values().filter(|service| !service.is_stop_requested());
        wanted.map(|service| (Arc::clone(&service.name), service.commands.clone())).collect()
    }

    async fn on_channel_end(&mut self, name: &Arc<str>, stopped: Stopped, reexec: &mut ReexecPolicy) {
        let Stopped { handed_back, settled, .. } = stopped;
        info!(channel = %name, handed_back, settled, "channel stopped");
        if let Some(service) = self.services.remove(name) {
            let guardian = self.guardian.handle();
            if reexec.is_draining() && !service.is_stop_requested() {
                reexec.keep(name, service.hand_over(&stopped, &guardian).await, &stopped);
            } else {
                service.close(stopped, &guardian).await;
            }
        }
    }

    async fn on_actor_panic(&mut self, error: &tokio::task::JoinError, reexec: &mut ReexecPolicy) {
        error!(%error, "a channel's actor panicked: please report this; the channel is stopped");
        let dead: Vec<_> =
            self.services.values().filter(|s| s.commands.is_closed()).map(|s| Arc::clone(&s.name)).collect();
        for name in dead {
            self.on_channel_end(&name, Stopped::default(), reexec).await;
        }
    }
}
