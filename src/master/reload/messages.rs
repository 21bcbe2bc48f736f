//! The messages between the control socket and the service loop about reloads.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::pool::RolloutSummary;

/// A request to reload a channel.
pub(in crate::engine::master) struct ReloadRequest {
    pub(in crate::engine::master) channel: Arc<str>,
    /// `None` for a signal, which waits for no result.
    pub(in crate::engine::master) reply: Option<ReloadReply>,
}

/// Receives the result of a reload.
pub(in crate::engine::master) type ReloadReply = oneshot::Sender<Result<ReloadChanges, ReloadError>>;

/// The changes of a reload.
#[derive(Clone, Debug)]
pub(in crate::engine::master) struct ReloadChanges {
    /// The replaced workers.
    pub(in crate::engine::master) renewed: RolloutSummary,
    /// Changed keys that need a restart of the master.
    pub(in crate::engine::master) restart: Vec<String>,
    /// Whether the program file on disk differs from the running one.
    pub(in crate::engine::master) program_replaced: bool,
}

/// The reason why a channel was not reloaded. It keeps its previous configuration and workers.
#[derive(Clone, Debug, Error)]
pub(in crate::engine::master) enum ReloadError {
    /// The configuration is invalid or unreadable.
    #[error("{0}")]
    Config(String),
    /// The configuration means another store or another run directory than the channel has.
    #[error("{0}")]
    Elsewhere(String),
    /// The new workers did not start.
    #[error("{0}")]
    Workers(String),
    /// The channel stops or has stopped.
    #[error("the channel is stopping")]
    Stopping,
}
