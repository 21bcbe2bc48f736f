//! A channel of a running master: its command queue, lock, control socket and snapshots, around its actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aint_queue_core::mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::alerting::WatchedChannel;
use super::channel_setup::{JobProgram, renewal};
use super::control::{self, ChannelHandlers, MasterShared, SocketFile};
use super::listen_error::ListenError;
use super::place::ChannelPlace;
use super::run_dir::{Lock, RunDir};
use crate::access::{self, Access};
use crate::alerts::{WatchHandle, snapshot_receivers};
use crate::channel::{Channel, Command, OnJoin, ReloadSpec, Scope, Setup, Stopped};
use crate::config;
use crate::guardian::{GuardianHandle, Privileges};
use crate::pool::Pool;
use crate::snapshot::{self, NamedHandler, Sampler};
use crate::store::{Owner, PushLimit, Store};

/// Commands queued for a channel's actor.
const COMMAND_QUEUE: usize = 16;

/// A locked channel with an open store, before its actor runs.
pub(super) struct ClaimedChannel {
    pub(super) config: config::Channel,
    pub(super) program: JobProgram,
    pub(super) run_dir: RunDir,
    pub(super) lock: Lock,
    pub(super) store: Arc<dyn Store>,
    pub(super) quiet: bool,
    /// Manual minimum worker count (`queue:scale`) from before a re-exec.
    pub(super) manual_minimum: Option<usize>,
}

/// A served channel.
pub(super) struct ChannelService {
    handlers: Arc<ChannelHandlers>,
    // Fields drop in this order: the socket file goes before the lock, because the next holder of the lock binds a
    // socket at the same path.
    socket: SocketFile,
    lock: Lock,
    snapshots: JoinHandle<()>,
    /// The handlers of snapshots that the program has registered. They outlive a reload, since one may hang.
    registered: Vec<NamedHandler>,
    /// The watch over the alerts of the channel, if it has rules.
    alerts: Option<WatchHandle>,
    control: JoinHandle<()>,
    /// Publishes the end of the channel to the control connections.
    ended: watch::Sender<Option<Stopped>>,
    /// Closes the control socket.
    closing: watch::Sender<bool>,
    /// The settings in force, the base of the next reload.
    pub(super) config: config::Channel,
    pub(super) guardian: GuardianHandle,
}

/// Fewest and most workers of a channel.
fn worker_limits(config: &config::Channel) -> (usize, usize) {
    (config.worker.plan.min, config.worker.plan.max)
}

impl ChannelService {
    /// Starts the actor of a claimed channel, its control socket and its snapshots.
    pub(super) fn start(
        channel: ClaimedChannel,
        guardian: &GuardianHandle,
        actors: &mut JoinSet<(Arc<str>, Stopped)>,
        shared: &Arc<MasterShared>,
    ) -> Result<Self, ListenError> {
        let ClaimedChannel { config, program, run_dir, lock, store, quiet, manual_minimum } = channel;
        let name: Arc<str> = config.name.as_str().into();
        let run_dir_error = |source| ListenError::RunDir { channel: config.name.clone(), source };
        let guardian = guardian.with_scope(&lock.id());
        guardian.hold(&name, lock.fd().map_err(run_dir_error)?);
        lock.write_pid().map_err(run_dir_error)?;
        let path = run_dir.socket_path();
        let (listener, socket) = control::bind(&path).map_err(|source| {
            let source = access::explained(source, &path, Access::Write);
            ListenError::Control { path, source }
        })?;

        let metrics = shared.metrics.channel(&name);
        metrics.limits(PushLimit::of(&config).limits(), worker_limits(&config));
        let ReloadSpec { pool, settings } = renewal(&config, program, &guardian);
        let now = Instant::now();
        let mut pool = Pool::new(pool, shared.producer_memory.workers.clone(), now);
        if let Some(minimum) = manual_minimum {
            pool.restore_manual_minimum(minimum, now);
        }
        let place = Arc::new(ChannelPlace::new(&config, Arc::clone(&store), lock.place()));
        let actor = Channel::new(Setup {
            name: Arc::clone(&name),
            identity: shared.identity.clone(),
            store: Arc::clone(&store),
            pool,
            settings,
            dead: lock.previous_incarnation().map(Owner::named).into_iter().collect(),
            on_join: OnJoin(lock.on_join()),
            scope: Scope::All,
            quiet,
            cross_channel: Some(Arc::clone(&shared.cross_channel)),
            metrics: metrics.clone(),
        });
        let actor = actor.traced(shared.span_export.run_tracing(config.worker.mode));
        let (commands, on_command) = mpsc::channel(COMMAND_QUEUE);
        let actor_name = Arc::clone(&name);
        actors.spawn(async move { (actor_name, actor.run(on_command).await) });

        let (ended, on_end) = watch::channel(None);
        let (closing, on_closing) = watch::channel(false);
        let sampler = Sampler::new(Arc::clone(&name), store, commands.clone(), metrics.clone());
        let handlers = Arc::new(ChannelHandlers {
            channel: name,
            commands,
            place,
            metrics,
            sampler: Arc::new(sampler),
            ended: on_end,
            handler_statuses: Arc::default(),
            stop_requested: AtomicBool::new(false),
            shared: Arc::clone(shared),
        });
        mutex::lock(&shared.handlers).push(Arc::downgrade(&handlers));
        let control =
            tokio::spawn(control::serve(listener, Arc::<ChannelHandlers>::clone(&handlers), on_closing));
        let mut service = Self {
            handlers,
            socket,
            lock,
            snapshots: tokio::spawn(async {}),
            registered: shared.snapshot_handlers.iter().map(snapshot::on_own_thread).collect(),
            alerts: None,
            control,
            ended,
            closing,
            config,
            guardian,
        };
        service.restart_snapshots();
        service.restart_alerts();
        Ok(service)
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.handlers.channel
    }

    /// The store and the run directory of the channel.
    pub(super) fn place(&self) -> &Arc<ChannelPlace> {
        &self.handlers.place
    }

    /// The command queue of the actor.
    pub(super) fn commands(&self) -> &mpsc::Sender<Command> {
        &self.handlers.commands
    }

    /// Stores the settings of a reload, which the actor follows already.
    pub(super) fn apply_config(&mut self, config: config::Channel) {
        let has_other_rules = config.rules != self.config.rules
            || config.worker.plan.max != self.config.worker.plan.max
            || config.worker.scaling.memory_limit != self.config.worker.scaling.memory_limit;
        let changed = config.snapshot != self.config.snapshot
            || config.worker.passed_env != self.config.worker.passed_env;
        self.config = config;
        let limits = PushLimit::of(&self.config).limits();
        self.handlers.metrics.limits(limits, worker_limits(&self.config));
        if changed {
            self.restart_snapshots();
        }
        if has_other_rules {
            self.restart_alerts();
        }
    }

    /// Counts an ended reload in the metrics.
    pub(super) fn count_reload(&self, done: bool) {
        self.handlers.metrics.reloaded(done);
    }

    /// Replaces the snapshot task by one with the current settings.
    fn restart_snapshots(&mut self) {
        let config = &self.config.snapshot;
        let shared = &self.handlers.shared;
        let passed_env = self.config.worker.passed_env.clone();
        let guardian = self.guardian.with_privileges(Privileges { passed_env, ..Privileges::default() });
        let mut all = snapshot_receivers(config, &guardian);
        all.extend(self.registered.iter().cloned());
        let runtime = (!all.is_empty()).then(|| shared.handler_runtime()).flatten();
        let statuses = Arc::clone(&self.handlers.handler_statuses);
        statuses.keep(&all.iter().map(|handler| Arc::clone(&handler.name)).collect::<Vec<_>>());
        let handlers = snapshot::Handlers { all, runtime, statuses };
        let (sampler, attention) = (Arc::clone(&self.handlers.sampler), Arc::clone(&shared.attention));
        let snapshots = snapshot::run(sampler, attention, shared.metrics.clone(), config.interval, handlers);
        std::mem::replace(&mut self.snapshots, tokio::spawn(snapshots)).abort();
    }

    /// Replaces the watch over the alerts by one with the current rules.
    fn restart_alerts(&mut self) {
        let before = self.alerts.take();
        let shared = &self.handlers.shared;
        let Some(alerting) = shared.alerting.as_ref().filter(|_| !self.config.rules.is_empty()) else {
            return;
        };
        let channel = WatchedChannel {
            config: &self.config,
            sampler: &self.handlers.sampler,
            store: self.handlers.sampler.store(),
            is_served: true,
        };
        self.alerts = Some(alerting.watch(&channel, before));
    }

    /// Whether a command asked for the end of this channel; false for a drain before a re-exec.
    pub(super) fn is_stop_requested(&self) -> bool {
        self.handlers.stop_requested.load(Ordering::Relaxed)
    }

    /// Releases everything but the lock after the end of the actor: the program after a re-exec serves the channel.
    pub(super) async fn hand_over(self, stopped: &Stopped) -> Lock {
        self.snapshots.abort();
        if let Some(alerts) = self.alerts {
            alerts.stop().await;
        }
        if stopped.settled {
            self.lock.clear_incarnation();
        }
        drop(self.socket);
        self.guardian.release(&self.handlers.channel);
        // Requests that wait for the end of the channel fail now: this process never reports it.
        drop(self.ended);
        self.closing.send_replace(true);
        let _ = self.control.await;
        self.lock
    }

    /// Releases everything after the end of the actor and answers pending stop requests.
    pub(super) async fn close(self, stopped: Stopped) {
        self.snapshots.abort();
        if let Some(alerts) = self.alerts {
            alerts.stop().await;
        }
        self.handlers.metrics.stopped();
        if stopped.settled {
            self.lock.clear_incarnation();
        }
        self.lock.remove_pid();
        drop(self.socket);
        self.guardian.release(&self.handlers.channel);
        drop(self.lock);
        self.ended.send_replace(Some(stopped));
        self.closing.send_replace(true);
        let _ = self.control.await;
    }
}
