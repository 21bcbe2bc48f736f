//! From a configuration to a running master: locks, stores, guardian, actors, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::channel_service::{ChannelService, ServiceParts};
use super::channel_setup::{ActorParts, JobProgram, channel_actor, job_program};
use super::control::ControlListener;
use super::control::Peers;
use super::reexec::Handover;
use super::reload::ReloadQueue;
use super::run_dir::{Lock, LockError, RunDir, RunDirError};
use super::signals::with_signals_blocked;
use super::{Master, container_memory};
use crate::channel::{Command, CrossChannelPush, OnJoin, Scope};
use crate::config::{self, Config};
use crate::guardian::{AccountError, Guardian, sweep};
use crate::http;
use crate::metrics::Metrics;
use crate::queue_set::QueueSet;
use crate::store::{self, Owner, Store, StoreError};

/// What to serve.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The configuration.
    pub config: Arc<Config>,
    /// The channels to serve, declared in it.
    pub channels: Vec<String>,
    /// Whether to open the HTTP listener that the configuration has.
    pub http: bool,
    /// Whether a master above its `memory_limit` may begin anew: only where the process is nothing but a master.
    pub may_reexec: bool,
}

impl ListenOptions {
    /// The largest limit on the master's own memory that one of the channels sets.
    pub(super) fn memory_limit(&self) -> u64 {
        let channels = self.channels.iter().filter_map(|name| self.config.channels.get(name));
        channels.map(|channel| channel.memory_limit).max().unwrap_or(u64::MAX >> 20)
    }
}

/// Why channels cannot be served.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The run directory cannot be used.
    #[error("could not use the run directory of channel \"{channel}\"")]
    RunDir {
        /// The channel.
        channel: String,
        /// Why.
        #[source]
        source: RunDirError,
    },
    /// Another master serves the channel, or its lock cannot be taken.
    #[error("could not become the master of channel \"{channel}\"")]
    Lock {
        /// The channel.
        channel: String,
        /// Why.
        #[source]
        source: LockError,
    },
    /// The program behind a channel's jobs cannot be started.
    #[error("could not find the program of channel \"{channel}\": {why}")]
    Program {
        /// The channel.
        channel: String,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// The workers of a channel cannot run as whom they shall.
    #[error("could not start workers of channel \"{channel}\"")]
    Account {
        /// The channel.
        channel: String,
        /// Why.
        #[source]
        source: AccountError,
    },
    /// The store of a channel cannot be used.
    #[error("could not use the store of channel \"{channel}\"")]
    Store {
        /// The channel.
        channel: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The control socket cannot be bound.
    #[error("could not open the control socket \"{path}\"")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The HTTP listener cannot have its address.
    #[error("could not listen on {address} for HTTP")]
    Http {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A channel's actor panicked, which is a bug of this program.
    #[error("a channel ended by a bug of aint-queue, which the log shows; please report it")]
    Panicked,
    /// The system refused something a master needs.
    #[error("could not start")]
    System(#[source] io::Error),
}

/// A channel that is ours, with its store open, before anything runs.
struct ClaimedChannel {
    config: config::Channel,
    program: JobProgram,
    run_dir: RunDir,
    lock: Lock,
    store: Arc<dyn Store>,
}

/// `handover` is what the program before has left; empty when there was none.
pub(super) async fn start(listen: ListenOptions, handover: Handover) -> Result<Master, ListenError> {
    let Handover { mut locks, quiet, fewest, .. } = handover;
    // Whom the program before has served shall not be left alone because a store is away.
    let after_reexec = !locks.is_empty();
    let mut claimed = Vec::new();
    for name in &listen.channels {
        claimed.push(claim(&listen.config, name, locks.remove(name))?);
    }
    let memory = container_memory::memory_limit();
    let port = listen.config.http.as_ref().filter(|_| listen.http).map(take_port).transpose()?;
    let mut opened = Vec::new();
    for (config, program, run_dir, lock) in claimed {
        let store = if after_reexec { open_store_lazily(&config) } else { open_store(&config).await? };
        opened.push(ClaimedChannel { config, program, run_dir, lock, store });
    }
    let share = container_memory::pool_share(opened.iter().map(|channel| &channel.config), memory);
    for channel in &mut opened {
        container_memory::warn_of_risks(&channel.config, memory);
        container_memory::apply_share(&mut channel.config, share);
        let swept = sweep(&channel.lock.id());
        if swept > 0 {
            warn!(channel = %channel.config.name, swept, "killed processes of an earlier master");
        }
    }
    let guardian = Guardian::start(incarnation()).await.map_err(ListenError::System)?;
    let mut master = Master {
        guardian,
        services: Default::default(),
        actors: JoinSet::new(),
        http: None,
        reloads: ReloadQueue::default(),
        config: Arc::clone(&listen.config),
        memory_share: share,
    };
    let shared = SharedParts {
        cross_channel: Arc::new(QueueSet::of(Arc::clone(&listen.config))),
        metrics: Metrics::default(),
        peers: Peers::default(),
        started: Instant::now(),
        quiet,
        fewest,
    };
    for channel in opened {
        let service = serve(channel, &listen, &mut master, &shared)?;
        master.services.insert(Arc::clone(&service.name), service);
    }
    let serve_http = || port.map(|port| port.serve(&listen.config)).transpose();
    master.http = with_signals_blocked(serve_http).and_then(|http| http).map_err(ListenError::System)?;
    info!(pid = nix::unistd::getpid().as_raw(), channels = %listen.channels.join(", "), "listening");
    Ok(master)
}

fn take_port(settings: &config::Http) -> Result<http::Listener, ListenError> {
    http::bind(settings).map_err(|source| ListenError::Http { address: settings.listen, source })
}

type ClaimedParts = (config::Channel, JobProgram, RunDir, Lock);

/// Takes the channel's lock, once its program is known to exist.
fn claim(config: &Config, name: &str, inherited: Option<OwnedFd>) -> Result<ClaimedParts, ListenError> {
    let channel = config.channels.get(name).expect("the caller lists declared channels").clone();
    let program = job_program(&channel, &config.directory())?;
    let run_dir = RunDir::open(&channel.pid_path, name)
        .map_err(|source| ListenError::RunDir { channel: name.to_owned(), source })?;
    let locked = match inherited {
        Some(inherited) => run_dir.adopt_lock(inherited),
        None => run_dir.lock(),
    };
    let lock = locked.map_err(|source| ListenError::Lock { channel: name.to_owned(), source })?;
    Ok((channel, program, run_dir, lock))
}

/// Opens a channel's store and says how durable it is.
pub(super) async fn open_store(config: &config::Channel) -> Result<Arc<dyn Store>, ListenError> {
    open(config).await.map_err(|source| ListenError::Store { channel: config.name.clone(), source })
}

/// The same when its actor first calls it, which tries again for as long as it takes.
fn open_store_lazily(config: &config::Channel) -> Arc<dyn Store> {
    let config = config.clone();
    Arc::new(super::lazy_store::LazyStore::new(move || {
        let config = config.clone();
        Box::pin(async move { open(&config).await })
    }))
}

async fn open(config: &config::Channel) -> Result<Arc<dyn Store>, StoreError> {
    let store = store::open(&config.driver, &config.name).await?;
    let durability = store.durability().await?;
    info!(channel = %config.name, mode = %config.worker.mode.as_str(), %durability, "store open");
    Ok(store)
}

/// What the channels of one master have in common.
struct SharedParts {
    cross_channel: Arc<dyn CrossChannelPush>,
    metrics: Metrics,
    peers: Peers,
    started: Instant,
    /// The channels that begin quiet.
    quiet: BTreeSet<String>,
    /// Where the fewest workers were set by hand.
    fewest: BTreeMap<String, usize>,
}

/// Lets a claimed channel run.
fn serve(
    channel: ClaimedChannel,
    listen: &ListenOptions,
    master: &mut Master,
    shared: &SharedParts,
) -> Result<ChannelService, ListenError> {
    let ClaimedChannel { config, program, run_dir, lock, store } = channel;
    let name: Arc<str> = config.name.as_str().into();
    let lock_failed = |source| ListenError::RunDir { channel: config.name.clone(), source };
    let guardian = master.guardian.handle().with_scope(&lock.id());
    guardian.hold(&name, lock.fd().map_err(lock_failed)?);
    lock.write_pid().map_err(lock_failed)?;
    let path = run_dir.socket_path();
    let (server, socket) =
        ControlListener::bind(&path).map_err(|source| ListenError::Control { path, source })?;

    let dead_owners = lock.previous_incarnation().map(Owner::named).into_iter().collect();
    let channel_metrics = shared.metrics.channel(&name);
    let parts = ActorParts {
        program,
        store: Arc::clone(&store),
        guardian: guardian.clone(),
        scope: Scope::All,
        quiet: shared.quiet.contains(&config.name),
        fewest: shared.fewest.get(&config.name).copied(),
        cross_channel: Arc::clone(&shared.cross_channel),
        dead_owners,
        on_join: OnJoin(lock.on_join()),
        metrics: channel_metrics.clone(),
    };
    let actor = channel_actor(&config, parts);
    let (commands, on_command) = mpsc::channel::<Command>(16);
    let actor_name = Arc::clone(&name);
    master.actors.spawn(async move { (actor_name, actor.run(on_command).await) });
    Ok(ChannelService::open(ServiceParts {
        name,
        commands,
        lock,
        listener: server,
        socket,
        store,
        config,
        base: listen.config.directory(),
        guardian,
        reloads: master.reloads.sender(),
        metrics: channel_metrics,
        all_metrics: shared.metrics.clone(),
        all_channels: listen.channels.clone(),
        started: shared.started,
        peers: shared.peers.clone(),
    }))
}

/// A fresh name for this master, for the cookies of its children.
pub(super) fn incarnation() -> String {
    format!("{:016x}", fastrand::u64(..))
}
