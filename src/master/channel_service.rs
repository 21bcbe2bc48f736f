//! A channel of a running master: its command queue, lock, control socket and snapshots, around its actor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::control::{self, ChannelHandlers, ControlListener, Peers, SocketFile};
use super::reload::ReloadRequest;
use super::run_dir::Lock;
use crate::channel::{Command, CrossChannelPush, Stopped};
use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::{ChannelMetrics, Metrics};
use crate::snapshot;
use crate::store::Store;

/// The parts that all channels of a master share.
pub(super) struct MasterShared {
    pub(super) cross_channel: Arc<dyn CrossChannelPush>,
    /// The metrics of all channels.
    pub(super) metrics: Metrics,
    pub(super) peers: Peers,
    /// Names of the served channels.
    pub(super) channels: Vec<String>,
    /// The directory of the configuration.
    pub(super) base: PathBuf,
    /// The queue of the master's service loop for reload requests.
    pub(super) reloads: mpsc::Sender<ReloadRequest>,
    pub(super) started: Instant,
}

/// A served channel.
pub(super) struct ChannelService {
    pub(super) name: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    // Fields drop in this order: the socket file goes before the lock, because the next holder of the lock binds a
    // socket at the same path.
    socket: SocketFile,
    lock: Lock,
    snapshots: JoinHandle<()>,
    control: JoinHandle<()>,
    /// Publishes the end of the channel to the control connections.
    ended: watch::Sender<Option<Stopped>>,
    /// Closes the control socket.
    closing: watch::Sender<bool>,
    /// The settings in force, the base of the next reload.
    pub(super) config: config::Channel,
    pub(super) guardian: GuardianHandle,
    store: Arc<dyn Store>,
    metrics: ChannelMetrics,
    /// A command has asked for the end of this channel; written by the control handlers.
    stop_requested: Arc<AtomicBool>,
}

/// The parts of a service whose actor runs.
pub(super) struct ServiceParts {
    pub(super) name: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) lock: Lock,
    pub(super) listener: ControlListener,
    pub(super) socket: SocketFile,
    pub(super) store: Arc<dyn Store>,
    pub(super) config: config::Channel,
    pub(super) guardian: GuardianHandle,
    pub(super) metrics: ChannelMetrics,
}

impl ChannelService {
    /// Serves the control socket and takes snapshots.
    pub(super) fn open(parts: ServiceParts, shared: &MasterShared) -> Self {
        let ServiceParts { name, commands, lock, listener, socket, store, config, guardian, metrics } = parts;
        let (ended, on_end) = watch::channel(None);
        let (closing, on_closing) = watch::channel(false);
        let stop_requested = Arc::new(AtomicBool::new(false));
        let handlers = Arc::new(ChannelHandlers {
            stop_requested: Arc::clone(&stop_requested),
            commands: commands.clone(),
            store: Arc::clone(&store),
            metrics: metrics.clone(),
            all_metrics: shared.metrics.clone(),
            all_channels: shared.channels.clone(),
            started: shared.started,
            ended: on_end,
            peers: shared.peers.clone(),
            channel: Arc::clone(&name),
            reloads: shared.reloads.clone(),
        });
        shared.peers.add(&handlers);
        let control = tokio::spawn(control::serve(listener, handlers, on_closing));
        let mut service = Self {
            name,
            commands,
            socket,
            lock,
            snapshots: tokio::spawn(async {}),
            control,
            ended,
            closing,
            config,
            guardian,
            store,
            metrics,
            stop_requested,
        };
        service.restart_snapshots(&shared.base);
        service
    }

    /// Stores the settings of a reload, which the actor follows already.
    pub(super) fn apply_config(&mut self, config: config::Channel, base: &Path) {
        let changed = config.snapshot != self.config.snapshot;
        self.config = config;
        if changed {
            self.restart_snapshots(base);
        }
    }

    /// Replaces the snapshot task by one with the current settings.
    fn restart_snapshots(&mut self, base: &Path) {
        let config = &self.config.snapshot;
        let handlers = snapshot::handlers(config, base, &self.guardian);
        let (name, store, metrics) = (Arc::clone(&self.name), Arc::clone(&self.store), self.metrics.clone());
        let snapshots = snapshot::run(name, store, config.interval, handlers, metrics);
        std::mem::replace(&mut self.snapshots, tokio::spawn(snapshots)).abort();
    }

    /// Whether a command asked for the end of this channel; false for a drain before a re-exec.
    pub(super) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Relaxed)
    }

    /// Releases everything but the lock after the end of the actor: the program after a re-exec serves the channel.
    pub(super) async fn hand_over(self, stopped: &Stopped, guardian: &GuardianHandle) -> Lock {
        self.snapshots.abort();
        if stopped.settled {
            self.lock.clear_incarnation();
        }
        drop(self.socket);
        guardian.release(&self.name);
        // Requests that wait for the end of the channel fail now: this process never reports it.
        drop(self.ended);
        self.closing.send_replace(true);
        let _ = self.control.await;
        self.lock
    }

    /// Releases everything after the end of the actor and answers pending stop requests.
    pub(super) async fn close(self, stopped: Stopped, guardian: &GuardianHandle) {
        self.snapshots.abort();
        if stopped.settled {
            self.lock.clear_incarnation();
        }
        self.lock.remove_pid();
        drop(self.socket);
        guardian.release(&self.name);
        drop(self.lock);
        self.ended.send_replace(Some(stopped));
        self.closing.send_replace(true);
        let _ = self.control.await;
    }
}
