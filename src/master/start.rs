//! The start of a master: from a configuration to running channels.
//!
//! Order: locks, HTTP port, stores, guardian, actors. Whatever can be refused is checked before the first process starts.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::alerting::Alerting;
use super::capacity;
use super::channel_service::{ChannelService, ClaimedChannel};
use super::channel_setup::{JobProgram, job_program};
use super::container_memory;
use super::control::MasterShared;
use super::lazy_store::LazyStore;
use super::listen_error::ListenError;
use super::listen_options::ListenOptions;
use super::own_identity::own_identity;
use super::place;
use super::reexec::Handover;
use super::reload::ReloadQueue;
use super::run_dir::{Lock, RunDir, ServedStore};
use super::service_loop::Master;
use super::signals::with_signals_blocked;
use super::view::MasterView;
use crate::activity::Activity;
use crate::config::passed_env::PassedEnv;
use crate::config::{self, Config, Driver};
use crate::dashboard;
use crate::guardian::{Guardian, sweep};
use crate::http::{self, BindError};
use crate::metrics::Metrics;
use crate::producer_memory::ProducerMemory;
use crate::queue_set::QueueSet;
use crate::snapshot::name_fault;
use crate::span_export::SpanExport;
use crate::store::{self, LEASE, Store, StoreError, StoreIdentity};

/// Starts the master. `handover` comes from the previous program of this process; it is empty after an ordinary start.
/// `producer_memory` bounds what producers send.
pub(super) async fn start(
    listen: ListenOptions,
    producer_memory: ProducerMemory,
    handover: Handover,
) -> Result<Master, ListenError> {
    if let Some((name, why)) = name_fault(&listen.snapshot_handlers) {
        return Err(ListenError::SnapshotHandler { name, why });
    }
    let Handover { mut locks, quiet, manual_minimums, .. } = handover;
    // After a re-exec keep serving every inherited channel even if its store is down: open it lazily.
    let after_reexec = !locks.is_empty();
    let mut claimed = Vec::new();
    for name in &listen.channels {
        claimed.push(claim(&listen.config, name, locks.remove(name))?);
    }
    let memory = container_memory::memory_limit();
    let ports = if listen.http { http::bind(&listen.config).map_err(unbound)? } else { Vec::new() };
    let mut opened = Vec::new();
    for (config, program, run_dir, lock) in claimed {
        let store = if after_reexec { open_store_lazily(&config) } else { open_store(&config).await? };
        record_served(&lock, &config, store.identity().or_else(|| StoreIdentity::of(&config.driver)));
        let quiet = quiet.contains(&config.name);
        let manual_minimum = manual_minimums.get(&config.name).copied();
        opened.push(ClaimedChannel { config, program, run_dir, lock, store, quiet, manual_minimum });
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
    capacity::warn_of_limits(opened.iter().map(|channel| &channel.config));
    log_withheld_variables(opened.iter().map(|channel| &channel.config));
    let guardian = Guardian::start(incarnation(), LEASE).await.map_err(ListenError::System)?;
    let start_export = || SpanExport::start(listen.config.otel.as_ref());
    let span_export = Arc::new(with_signals_blocked(start_export).map_err(ListenError::System)?);
    let activity = Arc::<Activity>::default();
    activity.add("master", "started", "", "", env!("CARGO_PKG_VERSION"));
    let mut master = Master {
        guardian,
        span_export: Arc::clone(&span_export),
        services: Default::default(),
        alerts_of_others: Vec::new(),
        actors: JoinSet::new(),
        http: Vec::new(),
        reloads: ReloadQueue::default(),
        log: listen.log.clone(),
        activity: Arc::clone(&activity),
        config: Arc::clone(&listen.config),
        memory_share: share,
    };
    let metrics = Metrics::of_master();
    let guardian = master.guardian.handle();
    let alerting = Alerting::start(&listen.config, &own_identity().host, &guardian, metrics.alerts());
    let alerting = alerting.map_err(ListenError::System)?;
    let shared = Arc::new(MasterShared {
        cross_channel: Arc::new(QueueSet::of(Arc::clone(&listen.config))),
        producer_memory: producer_memory.clone(),
        identity: own_identity(),
        metrics,
        span_export,
        alerting,
        snapshot_handlers: listen.snapshot_handlers.clone(),
        handler_thread: Default::default(),
        activity,
        attention: Arc::default(),
        channels: listen.channels.clone(),
        reloads: master.reloads.sender(),
        started: Instant::now(),
        log: listen.log.clone(),
        handlers: Mutex::default(),
    });
    for channel in opened {
        let guardian = master.guardian.handle();
        let service = ChannelService::start(channel, &guardian, &mut master.actors, &shared)?;
        master.services.insert(Arc::clone(service.name()), service);
    }
    if let Some(alerting) = &shared.alerting {
        master.alerts_of_others = alerting.watch_others(&listen.config, &listen.channels, open_store_lazily);
    }
    let view = Arc::new(MasterView::new(Arc::clone(&shared), Arc::clone(&listen.config)));
    let places = master.services.values().map(|service| Arc::downgrade(service.place())).collect();
    tokio::spawn(place::watch(places));
    for port in ports {
        let pages = port.for_producers().and_then(|settings| {
            let stores = || page_stores(&listen.config, |_| false);
            let host = &shared.identity.host;
            settings.dashboard.is_some().then(|| {
                dashboard::routes(
                    settings,
                    &listen.config,
                    host,
                    stores(),
                    Arc::<MasterView>::clone(&view),
                    &shared.metrics.requests(),
                )
            })?
        });
        let serve = || {
            let metrics = shared.metrics.requests();
            port.serve(&listen.config, producer_memory.clone(), view.clone(), metrics, pages)
        };
        master.http.push(with_signals_blocked(serve).and_then(|http| http).map_err(ListenError::System)?);
    }
    let config = listen.config.file.as_ref().map_or("built-in".to_owned(), |file| file.display().to_string());
    info!(pid = nix::unistd::getpid().as_raw(), channels = %listen.channels.join(", "), %config, "listening");
    log_unserved_channels(&listen);
    Ok(master)
}

/// The error of an address that cannot be listened on.
fn unbound(BindError { key, address, source }: BindError) -> ListenError {
    ListenError::Address { key, address, source }
}

/// Names the declared channels whose jobs this master does not run: a channel without a master is easily forgotten.
fn log_unserved_channels(listen: &ListenOptions) {
    let declared = listen.config.channels.values().filter(|channel| channel.driver != Driver::Sync);
    let unserved = declared.map(|channel| channel.name.as_str());
    let unserved: Vec<_> =
        unserved.filter(|name| !listen.channels.iter().any(|served| served == name)).collect();
    if !unserved.is_empty() {
        let channels = unserved.join(", ");
        info!(%channels, "declared channels not served by this master: queue:listen --all serves every channel");
    }
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
    record_served(&lock, &channel, StoreIdentity::of(&channel.driver));
    Ok((channel, program, run_dir, lock))
}

/// Says which variables of the environment the workers do not get by default.
fn log_withheld_variables<'a>(channels: impl Iterator<Item = &'a config::Channel>) {
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    let mut withheld: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for channel in channels {
        if let rule @ PassedEnv::AllBut(_) = &channel.worker.passed_env {
            let kept = names.iter().filter(|name| !rule.passes(name.as_bytes()));
            let mut kept: Vec<_> = kept.map(|name| name.to_string_lossy()).collect();
            kept.sort_unstable();
            withheld.entry(kept.join(", ")).or_default().push(&channel.name);
        }
    }
    for (variables, channels) in withheld.into_iter().filter(|(variables, _)| !variables.is_empty()) {
        info!(
            channels = %channels.join(", "),
            %variables,
            "variables with secrets withheld from workers: name those that jobs need in worker.inherit_env"
        );
    }
}

/// Records which store a master serves, before the store is open with what its setting means.
fn record_served(lock: &Lock, channel: &config::Channel, store: Option<StoreIdentity>) {
    let config = channel.source.as_ref().map(|file| file.to_string_lossy().into_owned());
    if let Err(error) = lock.write_served(ServedStore { store, config }) {
        warn!(channel = %channel.name, %error, "lock file not writable: commands cannot tell which store this master serves");
    }
}

/// Opens a channel's store and logs its durability.
pub(super) async fn open_store(config: &config::Channel) -> Result<Arc<dyn Store>, ListenError> {
    open(config).await.map_err(|source| ListenError::Store { channel: config.name.clone(), source })
}

/// The stores that pages ask, by channel, with connections of their own. A store is not available while `is_absent` says that
/// opening it would create it.
#[must_use]
pub fn page_stores(config: &Config, is_absent: fn(&config::Channel) -> bool) -> dashboard::Stores {
    let channels = config.channels.values().filter(|channel| channel.driver != Driver::Sync);
    let store = |channel: &config::Channel| {
        let opened = channel.clone();
        let open = move || {
            let channel = opened.clone();
            Box::pin(async move {
                if is_absent(&channel) {
                    return Err(StoreError::Unavailable {
                        place: channel.driver.to_string(),
                        doing: "opening it",
                        source: "it does not exist yet: a push or queue:listen creates it".into(),
                    });
                }
                store::open(&channel.driver, &channel.name).await
            }) as _
        };
        (channel.name.clone(), Arc::new(LazyStore::new(open)) as Arc<dyn Store>)
    };
    channels.map(store).collect()
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

/// A new random name of a master incarnation, part of the cookies of its child processes.
pub(super) fn incarnation() -> String {
    format!("{:016x}", fastrand::u64(..))
}
