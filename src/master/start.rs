//! The start of a master: from a configuration to running channels.
//!
//! Order: locks, HTTP port, stores, guardian, actors. Whatever can be refused is checked before the first process starts.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::channel_service::{ChannelService, MasterShared, ServiceParts};
use super::channel_setup::{ActorParts, JobProgram, channel_actor, job_program};
use super::container_memory;
use super::control::{ControlListener, Peers};
use super::lazy_store::LazyStore;
use super::listen_error::ListenError;
use super::listen_options::ListenOptions;
use super::reexec::Handover;
use super::reload::ReloadQueue;
use super::run_dir::{Lock, RunDir};
use super::service_loop::Master;
use super::signals::with_signals_blocked;
use crate::channel::{Command, OnJoin, Scope};
use crate::config::{self, Config};
use crate::guardian::{Guardian, sweep};
use crate::http;
use crate::metrics::Metrics;
use crate::queue_set::QueueSet;
use crate::store::{self, Owner, Store, StoreError};

/// Commands queued for a channel's actor.
const COMMAND_QUEUE: usize = 16;

/// A locked channel with an open store, before its actor runs.
struct ClaimedChannel {
    config: config::Channel,
    program: JobProgram,
    run_dir: RunDir,
    lock: Lock,
    store: Arc<dyn Store>,
}

/// Starts the master. `handover` comes from the previous program of this process; it is empty after an ordinary start.
pub(super) async fn start(listen: ListenOptions, handover: Handover) -> Result<Master, ListenError> {
    let Handover { mut locks, quiet, manual_minimums, .. } = handover;
    // After a re-exec keep serving every inherited channel even if its store is down: open it lazily.
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
            warn!(channel = %channel.config.name, swept, "leftover processes found: killed those of an earlier master");
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
    let shared = MasterShared {
        cross_channel: Arc::new(QueueSet::of(Arc::clone(&listen.config))),
        metrics: Metrics::default(),
        peers: Peers::default(),
        channels: listen.channels.clone(),
        base: listen.config.directory(),
        reloads: master.reloads.sender(),
        started: Instant::now(),
    };
    for channel in opened {
        let resumed = ResumedState {
            quiet: quiet.contains(&channel.config.name),
            manual_minimum: manual_minimums.get(&channel.config.name).copied(),
        };
        let service = serve(channel, resumed, &mut master, &shared)?;
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

/// Takes a channel's lock after checking that its program exists.
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

/// Opens a channel's store and logs its durability.
pub(super) async fn open_store(config: &config::Channel) -> Result<Arc<dyn Store>, ListenError> {
    open(config).await.map_err(|source| ListenError::Store { channel: config.name.clone(), source })
}

/// The store of a channel, opened by its actor's first call. A failed call is retried by the actor's back-off.
fn open_store_lazily(config: &config::Channel) -> Arc<dyn Store> {
    let config = config.clone();
    Arc::new(LazyStore::new(move || {
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

/// The state of a channel that survives a re-exec.
struct ResumedState {
    quiet: bool,
    /// Manual minimum worker count (`queue:scale`).
    manual_minimum: Option<usize>,
}

/// Starts the actor and the service of a claimed channel.
fn serve(
    channel: ClaimedChannel,
    resumed: ResumedState,
    master: &mut Master,
    shared: &MasterShared,
) -> Result<ChannelService, ListenError> {
    let ClaimedChannel { config, program, run_dir, lock, store } = channel;
    let name: Arc<str> = config.name.as_str().into();
    let run_dir_error = |source| ListenError::RunDir { channel: config.name.clone(), source };
    let guardian = master.guardian.handle().with_scope(&lock.id());
    guardian.hold(&name, lock.fd().map_err(run_dir_error)?);
    lock.write_pid().map_err(run_dir_error)?;
    let path = run_dir.socket_path();
    let (listener, socket) =
        ControlListener::bind(&path).map_err(|source| ListenError::Control { path, source })?;

    let metrics = shared.metrics.channel(&name);
    let parts = ActorParts {
        program,
        store: Arc::clone(&store),
        guardian: guardian.clone(),
        scope: Scope::All,
        quiet: resumed.quiet,
        manual_minimum: resumed.manual_minimum,
        cross_channel: Arc::clone(&shared.cross_channel),
        dead_owners: lock.previous_incarnation().map(Owner::named).into_iter().collect(),
        on_join: OnJoin(lock.on_join()),
        metrics: metrics.clone(),
    };
    let actor = channel_actor(&config, parts);
    let (commands, on_command) = mpsc::channel::<Command>(COMMAND_QUEUE);
    let actor_name = Arc::clone(&name);
    master.actors.spawn(async move { (actor_name, actor.run(on_command).await) });
    let parts = ServiceParts { name, commands, lock, listener, socket, store, config, guardian, metrics };
    Ok(ChannelService::open(parts, shared))
}

/// A new random name of a master incarnation, part of the cookies of its child processes.
pub(super) fn incarnation() -> String {
    format!("{:016x}", fastrand::u64(..))
}
