//! One reload of one channel: the configuration is read and checked, then the channel's workers hand over.
//!
//! Nothing has changed before the first worker of the new generation is ready, so whatever fails up to there leaves the
//! channel as it was.

mod apply;
mod queue;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::channel_setup::{JobProgram, job_program, renewal};
use super::container_memory;
use super::own_program::is_program_replaced;
use crate::channel::Command;
use crate::config::{self, Config};
use crate::guardian::GuardianHandle;
use crate::job::error_chain;
use crate::pool::{RolloutError, RolloutSummary};

pub(super) use queue::{ReloadQueue, ReloadRequest};

/// A channel to reload, as it is.
pub(super) struct ReloadTask {
    pub(super) config: Arc<Config>,
    pub(super) channel: config::Channel,
    /// See [`container_memory::pool_share`].
    pub(super) memory_share: Option<u64>,
    pub(super) guardian: GuardianHandle,
    pub(super) commands: mpsc::Sender<Command>,
}

/// A channel that was reloaded.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// Its settings from now on.
    pub(super) channel: config::Channel,
    /// The directory of the configuration.
    pub(super) base: PathBuf,
    pub(super) changes: ReloadChanges,
}

/// What a reload changed.
#[derive(Clone, Debug)]
pub(super) struct ReloadChanges {
    /// The workers.
    pub(super) renewed: RolloutSummary,
    /// The changed keys that take effect with the next start only.
    pub(super) restart: Vec<String>,
    /// The file of this program is another one than the master runs.
    pub(super) program_replaced: bool,
}

/// Why a channel was not reloaded; it goes on as before.
#[derive(Clone, Debug, Error)]
pub(super) enum ReloadError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// The new workers could not take over.
    #[error("{0}")]
    Workers(String),
    /// Nothing goes on: the channel stops, or has.
    #[error("the channel is stopping")]
    Stopping,
}

/// Reloads a channel.
pub(super) async fn reload(task: ReloadTask) -> Result<Reloaded, ReloadError> {
    let ReloadTask { config, channel, memory_share, guardian, commands } = task;
    // Files and the names of users are looked up, which may take a while.
    let prepared = tokio::task::spawn_blocking(move || prepare(&config, &channel, memory_share)).await;
    let Prepared { channel, base, program, restart } =
        prepared.map_err(|error| ReloadError::Workers(format!("a bug of aint-queue: {error}")))??;
    let (reply, ended) = oneshot::channel();
    let command = Command::Reload(Box::new(renewal(&channel, program, &guardian)), reply);
    commands.send(command).await.map_err(|_| ReloadError::Stopping)?;
    let renewed = ended.await.unwrap_or(Err(RolloutError::Stopping)).map_err(|why| match why {
        RolloutError::Stopping => ReloadError::Stopping,
        RolloutError::Failed(why) => ReloadError::Workers(why),
    })?;
    Ok(Reloaded {
        channel,
        base,
        changes: ReloadChanges { renewed, restart, program_replaced: is_program_replaced() },
    })
}

/// Everything that can be refused before anything is started.
struct Prepared {
    channel: config::Channel,
    base: PathBuf,
    program: JobProgram,
    restart: Vec<String>,
}

fn prepare(
    old: &Config,
    channel: &config::Channel,
    memory_share: Option<u64>,
) -> Result<Prepared, ReloadError> {
    // Without a file there is nothing that could have changed, but for the program.
    let new = match &old.file {
        Some(file) => &Config::load(file).map_err(|error| ReloadError::Config(error.to_string()))?,
        None => old,
    };
    let base = new.directory();
    let found = new.channel(&channel.name).map_err(|error| ReloadError::Config(error.to_string()))?;
    let was = channel.worker.clone();
    let config::ReloadDiff { mut channel, mut restart } = config::reload_diff(channel, found);
    container_memory::apply_share(&mut channel, memory_share);
    restart.extend(config::changed_tables(old, new));
    // They are about to be put in force, and who asks by a signal has only the log.
    let ours = format!("channels.{}.", channel.name);
    for warning in new.warnings.iter().filter(|warning| warning.key.starts_with(&ours)) {
        warn!(channel = %channel.name, "{warning}");
    }
    if (channel.worker.plan, channel.worker.recycling.memory_limit, &channel.worker.user)
        != (was.plan, was.recycling.memory_limit, &was.user)
    {
        container_memory::warn_of_risks(&channel, container_memory::memory_limit());
    }
    let program = job_program(&channel, &base).map_err(|error| ReloadError::Config(error_chain(&error)))?;
    Ok(Prepared { channel, base, program, restart })
}
