//! One channel inside a running master: its actor, its lock, its control socket, its snapshots.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::control::{self, ControlListener, SocketFile};
use super::control::{ChannelHandlers, Peers};
use super::reload::ReloadRequest;
use super::run_dir::Lock;
use crate::channel::{Command, Stopped};
use crate::config;
use crate::guardian::GuardianHandle;
use crate::metrics::{ChannelMetrics, Metrics};
use crate::snapshot;
use crate::store::Store;

/// A channel that is being served.
pub(super) struct ChannelService {
    pub(super) name: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    // Dropped in this order: whoever gets the lock finds no socket of ours.
    socket: SocketFile,
    lock: Lock,
    snapshots: JoinHandle<()>,
    control: JoinHandle<()>,
    ended: watch::Sender<Option<Stopped>>,
    closing: watch::Sender<bool>,
    /// What it works with, for the next reload.
    pub(super) config: config::Channel,
    pub(super) guardian: GuardianHandle,
    store: Arc<dyn Store>,
    metrics: ChannelMetrics,
    /// Somebody asked for this channel's end.
    stop_requested: Arc<AtomicBool>,
}

/// What a service is made of, once its actor runs.
pub(super) struct ServiceParts {
    pub(super) name: Arc<str>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) lock: Lock,
    pub(super) listener: ControlListener,
    pub(super) socket: SocketFile,
    pub(super) store: Arc<dyn Store>,
    pub(super) config: config::Channel,
    pub(super) base: PathBuf,
    pub(super) guardian: GuardianHandle,
    pub(super) reloads: mpsc::Sender<ReloadRequest>,
    pub(super) metrics: ChannelMetrics,
    pub(super) all_metrics: Metrics,
    pub(super) all_channels: Vec<String>,
    pub(super) started: Instant,
    pub(super) peers: Peers,
}

impl ChannelService {
    /// Opens the channel's control socket.
    pub(super) fn open(parts: ServiceParts) -> Self {
        let (ended, on_end) = watch::channel(None);
        let (closing, on_closing) = watch::channel(false);
        let stop_requested = Arc::new(AtomicBool::new(false));
        let handlers = ChannelHandlers {
            stop_requested: Arc::clone(&stop_requested),
            commands: parts.commands.clone(),
            store: Arc::clone(&parts.store),
            metrics: parts.metrics.clone(),
            all_metrics: parts.all_metrics,
            all_channels: parts.all_channels,
            started: parts.started,
            ended: on_end,
            peers: parts.peers.clone(),
            channel: Arc::clone(&parts.name),
            reloads: parts.reloads,
        };
        let handlers = Arc::new(handlers);
        parts.peers.add(&handlers);
        let control = tokio::spawn(control::serve(parts.listener, handlers, on_closing));
        let mut service = Self {
            name: parts.name,
            commands: parts.commands,
            socket: parts.socket,
            lock: parts.lock,
            snapshots: tokio::spawn(async {}),
            control,
            ended,
            closing,
            config: parts.config,
            guardian: parts.guardian,
            store: parts.store,
            metrics: parts.metrics,
            stop_requested,
        };
        service.restart_snapshots(&parts.base);
        service
    }

    /// Goes on with other settings, which its actor follows already.
    pub(super) fn apply_config(&mut self, config: config::Channel, base: &Path) {
        let changed = config.snapshot != self.config.snapshot;
        self.config = config;
        if changed {
            self.restart_snapshots(base);
        }
    }

    /// Takes snapshots as configured from now on.
    fn restart_snapshots(&mut self, base: &Path) {
        let config = &self.config.snapshot;
        let handlers = snapshot::handlers(config, base, &self.guardian);
        let (name, store, metrics) = (Arc::clone(&self.name), Arc::clone(&self.store), self.metrics.clone());
        let snapshots = snapshot::run(name, store, config.interval, handlers, metrics);
        std::mem::replace(&mut self.snapshots, tokio::spawn(snapshots)).abort();
    }

    /// Whether somebody asked for the end of this channel, and not only the master to begin anew.
    pub(super) fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Relaxed)
    }

    /// The actor has ended, and another program of this process goes on with the channel: lets go of everything but
    /// the lock.
    pub(super) async fn hand_over(self, stopped: &Stopped, guardian: &GuardianHandle) -> Lock {
        self.snapshots.abort();
        if stopped.settled {
            self.lock.clear_incarnation();
        }
        drop(self.socket);
        guardian.release(&self.name);
        // Whoever waits for an end of the channel hears that there will be none.
        drop(self.ended);
        self.closing.send_replace(true);
        let _ = self.control.await;
        self.lock
    }

    /// The actor has ended: lets go of everything and tells whoever asked for the stop.
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
