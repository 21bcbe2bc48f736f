//! The reload of a channel: reads and checks the configuration, then has the actor replace its workers.
//!
//! Nothing changes before the first worker of the new generation is ready: a failure before leaves the channel unchanged.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::messages::{ReloadChanges, ReloadError};
use crate::channel::{Command, ReloadSpec};
use crate::config::{self, Config};
use crate::guardian::GuardianHandle;
use crate::job::error_chain;
use crate::master::channel_setup::{job_program, renewal};
use crate::master::container_memory;
use crate::master::own_program::is_program_replaced;
use crate::master::place::ChannelPlace;
use crate::pool::RolloutError;

/// The inputs of a reload: the channel as it is now.
pub(in crate::engine::master) struct ReloadTask {
    pub(in crate::engine::master) config: Arc<Config>,
    pub(in crate::engine::master) channel: config::Channel,
    /// See [`container_memory::pool_share`].
    pub(in crate::engine::master) memory_share: Option<u64>,
    pub(in crate::engine::master) place: Arc<ChannelPlace>,
    pub(in crate::engine::master) guardian: GuardianHandle,
    pub(in crate::engine::master) commands: mpsc::Sender<Command>,
}

/// The result of a successful reload.
#[derive(Debug)]
pub(in crate::engine::master) struct Reloaded {
    /// The new settings of the channel.
    pub(in crate::engine::master) channel: config::Channel,
    pub(in crate::engine::master) changes: ReloadChanges,
}

/// Reloads a channel.
pub(in crate::engine::master) async fn reload(task: ReloadTask) -> Result<Reloaded, ReloadError> {
    let commands = task.commands.clone();
    // The preparation reads files and looks up users, which blocks.
    let prepared = tokio::task::spawn_blocking(move || prepare(&task)).await;
    let (channel, restart, spec) =
        prepared.map_err(|error| ReloadError::Workers(format!("a bug of aint-queue: {error}")))??;
    let (reply, ended) = oneshot::channel();
    let command = Command::Reload(Box::new(spec), reply);
    commands.send(command).await.map_err(|_| ReloadError::Stopping)?;
    let renewed = ended.await.unwrap_or(Err(RolloutError::Stopping)).map_err(|why| match why {
        RolloutError::Stopping => ReloadError::Stopping,
        RolloutError::Failed(why) => ReloadError::Workers(why),
    })?;
    Ok(Reloaded {
        channel,
        changes: ReloadChanges { renewed, restart, program_replaced: is_program_replaced() },
    })
}

/// The new settings of the channel, the changed keys that need a restart, and the new generation.
fn prepare(task: &ReloadTask) -> Result<(config::Channel, Vec<String>, ReloadSpec), ReloadError> {
    let (old, was) = (&task.config, &task.channel.worker);
    // Without a configuration file only the program may have changed.
    let new = match old.reload() {
        Some(read) => &read.map_err(|error| ReloadError::Config(error.with_causes()))?,
        None => &**old,
    };
    let found = new.channel(&task.channel.name).map_err(|error| ReloadError::Config(error.to_string()))?;
    if let Some(why) = task.place.refusal(found) {
        return Err(ReloadError::Elsewhere(why));
    }
    let config::ReloadDiff { mut channel, mut restart } = config::reload_diff(&task.channel, found);
    container_memory::apply_share(&mut channel, task.memory_share);
    restart.extend(config::changed_tables(old, new));
    // Warnings go to the log, because a reload by signal has no other output.
    let ours = format!("channels.{}.", channel.name);
    for warning in new.warnings.iter().filter(|warning| warning.key.starts_with(&ours)) {
        warn!(channel = %channel.name, "{warning}");
    }
    if (channel.worker.plan, channel.worker.recycling.memory_limit, &channel.worker.user)
        != (was.plan, was.recycling.memory_limit, &was.user)
    {
        container_memory::warn_of_risks(&channel, container_memory::memory_limit());
    }
    let program = job_program(&channel, &new.directory());
    let program = program.map_err(|error| ReloadError::Config(error_chain(&error)))?;
    let spec = renewal(&channel, program, &task.guardian);
    Ok((channel, restart, spec))
}
