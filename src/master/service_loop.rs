//! The service loop of a running master: one select over signals, watchdog, reloads, re-exec and ended channels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::channel_service::ChannelService;
use super::listen_error::ListenError;
use super::place::ChannelPlace;
use super::reexec::{Handover, ReexecPolicy, ReexecStep, ServedChannel};
use super::refused_pushes::RefusedPushLog;
use super::reload::{ReloadChanges, ReloadError, ReloadEvent, ReloadQueue, ReloadTask, reload};
use super::signals::{SignalAction, Signals, block_signals};
use super::stop_notice::StopNotice;
use super::watchdog::{Watchdog, WatchdogEvent};
use crate::activity::Activity;
use crate::alerts::WatchHandle;
use crate::channel::{Command, Stopped};
use crate::config::Config;
use crate::guardian::Guardian;
use crate::http;
use crate::logging::{LogWriter, Reopening};
use crate::span_export::SpanExport;
use crate::store::RefusedPushes;

/// The name of this master, and that of the sender of signals, among the actors of [`Activity`].
const OWN: &str = "master";
const SIGNAL: &str = "signal";

/// The end of a master that has served.
#[derive(Debug)]
pub enum MasterExit {
    /// A signal or commands have stopped every channel.
    Stopped,
    /// The master is above its memory limit: the caller runs the program again, which serves the same channels.
    Reexec(Handover),
}

/// A running master.
pub(super) struct Master {
    pub(super) guardian: Guardian,
    pub(super) span_export: Arc<SpanExport>,
    pub(super) services: BTreeMap<Arc<str>, ChannelService>,
    /// The watches over the alerts of declared channels that this master does not serve.
    pub(super) alerts_of_others: Vec<WatchHandle>,
    /// The actors of the channels; each returns its channel's name and end.
    pub(super) actors: JoinSet<(Arc<str>, Stopped)>,
    pub(super) http: Vec<http::RunningListener>,
    pub(super) reloads: ReloadQueue,
    /// The log of the process, if it has one.
    pub(super) log: Option<LogWriter>,
    /// The last actions and events.
    pub(super) activity: Arc<Activity>,
    /// The configuration of the start.
    pub(super) config: Arc<Config>,
    /// Memory of a pool without a `pool_memory_limit`, in MiB; `None` without a limit of the control group.
    pub(super) memory_share: Option<u64>,
}

impl Master {
    /// Serves until the last channel has ended.
    pub(super) async fn serve(
        mut self,
        mut signals: Signals,
        mut watchdog: Watchdog,
        mut reexec: ReexecPolicy,
    ) -> Result<MasterExit, ListenError> {
        let mut stop_signals = 0;
        let mut panicked = false;
        let mut refused_pushes = RefusedPushLog::new(RefusedPushes::counted());
        while !self.services.is_empty() {
            tokio::select! {
                action = signals.next() => match action {
                    SignalAction::Stop => {
                        stop_signals += 1;
                        reexec.cancel();
                        watchdog.stopping(self.longest_stop(), Instant::now());
                        self.stop_all(stop_signals > 1);
                        self.send_to_all(|| Command::HoldBack(None));
                        if stop_signals == 1 {
                            self.announce_stop();
                        }
                    }
                    SignalAction::Quiet => {
                        self.activity.add(SIGNAL, "quiet", "", "", "");
                        self.send_to_all(|| Command::Quiet(oneshot::channel().0));
                    }
                    SignalAction::Resume => {
                        self.activity.add(SIGNAL, "resume", "", "", "");
                        self.send_to_all(|| Command::Resume(oneshot::channel().0));
                    }
                    SignalAction::Reload => {
                        self.activity.add(SIGNAL, "reload", "", "", "");
                        self.reload_all(&watchdog);
                    }
                    SignalAction::ReopenLog => self.reopen_log(),
                    SignalAction::Ignored(signal) => info!(signal, "signal ignored: no action in this version"),
                },
                event = watchdog.next(), if watchdog.is_active() => match event {
                    WatchdogEvent::PollDue => watchdog.poll(self.services.values().map(|s| s.commands().clone()).collect(), Instant::now()),
                    WatchdogEvent::Polled(heartbeats) => {
                        // Commands have stopped the channels one by one, without a signal: the whole master stops.
                        if !reexec.is_draining() && heartbeats.iter().all(|heartbeat| heartbeat.stop_left.is_some()) {
                            watchdog.stopping(self.longest_stop(), Instant::now());
                        }
                        watchdog.record(&heartbeats, Instant::now());
                    }
                },
                event = self.reloads.next() => match event {
                    ReloadEvent::Due(name) => self.begin_reload(name, &watchdog),
                    ReloadEvent::Ended(name, result) => {
                        let changes = result.map(|reloaded| {
                            if let Some(service) = self.services.get_mut(&name) {
                                service.apply_config(reloaded.channel);
                            }
                            reloaded.changes
                        });
                        self.end_reload(name, &changes, &watchdog);
                    }
                },
                step = reexec.next() => match step {
                    ReexecStep::Preflight => reexec.start_preflight(self.served(), self.places(), self.longest_wait()),
                    ReexecStep::Drain => self.stop_all(false),
                },
                () = refused_pushes.tick() => refused_pushes.log(Instant::now()),
                Some(ended) = self.actors.join_next() => match ended {
                    Ok((name, stopped)) => self.on_channel_end(&name, stopped, &mut reexec).await,
                    Err(error) => {
                        panicked = true;
                        self.on_actor_panic(&error, &mut reexec).await;
                    }
                },
            }
        }
        for http in self.http {
            http.shut_down().await;
        }
        self.guardian.shut_down().await;
        self.span_export.stop();
        // A signal after this line stays pending for the next program; a signal before it belongs to this one.
        block_signals();
        if signals.stop_pending().await {
            reexec.cancel();
        }
        match reexec.finish(Instant::now()) {
            Some(handover) => {
                info!("all channels ended: running the program again in this process");
                Ok(MasterExit::Reexec(handover))
            }
            // The exit code makes a service manager restart the master.
            None if panicked => Err(ListenError::Panicked),
            None => {
                info!("stopped");
                Ok(MasterExit::Stopped)
            }
        }
    }

    /// The longest time that running jobs get to finish.
    fn longest_wait(&self) -> Duration {
        self.services.values().map(|service| service.config.stop_wait).max().unwrap_or_default()
    }

    /// The longest configured duration of a stop.
    fn longest_stop(&self) -> Duration {
        let stops =
            self.services.values().map(|service| service.config.stop_wait + service.config.stop_grace);
        stops.max().unwrap_or_default()
    }

    fn stop_all(&self, force: bool) {
        if force {
            info!("second stop signal: killing running jobs, which run again later");
        }
        self.send_to_all(|| Command::Stop { force });
    }

    /// Says after the first stop signal how many jobs are running, and how to end them at once.
    fn announce_stop(&self) {
        let channels: Vec<_> = self.services.values().map(|service| service.commands().clone()).collect();
        let notice = StopNotice { wait: self.longest_wait(), has_log_file: self.config.log.is_some() };
        tokio::spawn(async move {
            let mut running = 0;
            for commands in channels {
                let (reply, heartbeat) = oneshot::channel();
                // A channel that has ended runs nothing.
                if commands.send(Command::Heartbeat(reply)).await.is_ok() {
                    running += heartbeat.await.map_or(0, |heartbeat| heartbeat.running);
                }
            }
            notice.give(running);
        });
    }

    fn send_to_all(&self, command: impl Fn() -> Command) {
        for service in self.services.values() {
            // A task, because the actor's queue may be full. A channel that has ended needs no command.
            let (commands, command) = (service.commands().clone(), command());
            tokio::spawn(async move { commands.send(command).await });
        }
    }

    /// The channels to serve after a re-exec: all but those that a command has stopped.
    fn served(&self) -> Vec<ServedChannel> {
        let served = self.services.values().filter(|service| !service.is_stop_requested());
        served.map(|service| (Arc::clone(service.name()), service.commands().clone())).collect()
    }

    /// The places of the served channels.
    fn places(&self) -> Vec<Arc<ChannelPlace>> {
        self.services.values().map(|service| Arc::clone(service.place())).collect()
    }

    async fn on_channel_end(&mut self, name: &Arc<str>, stopped: Stopped, reexec: &mut ReexecPolicy) {
        let Stopped { handed_back, interrupted, settled, .. } = stopped;
        info!(channel = %name, handed_back, interrupted, settled, "channel stopped");
        self.activity.add(OWN, "stopped", name, "", "");
        if let Some(service) = self.services.remove(name) {
            if reexec.is_draining() && !service.is_stop_requested() {
                reexec.keep(name, service.hand_over(&stopped).await, &stopped);
            } else {
                service.close(stopped).await;
            }
        }
    }

    /// A panic of an actor is a bug of this program. Its jobs are safe in the store; the other channels keep running.
    async fn on_actor_panic(&mut self, error: &JoinError, reexec: &mut ReexecPolicy) {
        error!(%error, "channel actor panicked: stopping the channel; please report this bug");
        let dead: Vec<_> = self
            .services
            .values()
            .filter(|s| s.commands().is_closed())
            .map(|s| Arc::clone(s.name()))
            .collect();
        for name in dead {
            self.on_channel_end(&name, Stopped::default(), reexec).await;
        }
    }

    /// Opens the log file again, after a program that renames log files has moved it.
    fn reopen_log(&self) {
        match &self.log {
            Some(log) if self.config.log.is_some() => log.reopen(Reopening::Signal),
            _ => info!(signal = "SIGUSR2", "signal ignored: the log has no file"),
        }
    }

    /// Reloads all channels, for a signal.
    fn reload_all(&mut self, watchdog: &Watchdog) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            if let Some(due) = self.reloads.enqueue(name, None) {
                self.begin_reload(due, watchdog);
            }
        }
    }

    fn begin_reload(&mut self, name: Arc<str>, watchdog: &Watchdog) {
        let Some(service) = self.services.get(&name) else {
            return self.end_reload(name, &Err(ReloadError::Stopping), watchdog);
        };
        if let Some(log) = &self.log {
            log.reopen(Reopening::Reload);
        }
        // A queued reload reports RELOADING=1 again: the READY=1 of this series follows only its last reload.
        watchdog.reloading();
        let task = ReloadTask {
            config: Arc::clone(&self.config),
            channel: service.config.clone(),
            memory_share: self.memory_share,
            place: Arc::clone(service.place()),
            guardian: service.guardian.clone(),
            commands: service.commands().clone(),
        };
        self.reloads.begin(name, reload(task));
    }

    fn end_reload(
        &mut self,
        name: Arc<str>,
        changes: &Result<ReloadChanges, ReloadError>,
        watchdog: &Watchdog,
    ) {
        if let Some(service) = self.services.get(&name)
            && !matches!(changes, Err(ReloadError::Stopping))
        {
            service.count_reload(changes.is_ok());
        }
        match changes {
            Ok(ReloadChanges { renewed, restart, program_replaced }) => {
                let generation = renewed.generation;
                info!(channel = %name, generation, "reloaded");
                self.activity.add(OWN, "reloaded", &name, "", &format!("generation {generation}"));
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
                self.activity.add(OWN, "reload failed", &name, "", &why);
            }
        }
        if self.reloads.end(&name, changes) {
            self.begin_reload(name, watchdog);
        } else if self.reloads.is_idle() {
            watchdog.reloaded(changes.is_ok());
        }
    }
}
