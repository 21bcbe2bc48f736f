//! Reload of a channel: its workers hand over to another generation, and its own settings follow when they have.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Channel;
use crate::pool::{self, RolloutError, RolloutSummary};
use crate::retry::Policy;

/// What a channel goes on with.
#[derive(Debug)]
pub struct ReloadSpec {
    /// What its workers are made from.
    pub pool: pool::GenerationSpec,
    /// See [`Setup`](super::Setup), also for the others.
    pub settings: ChannelSettings,
}

/// What a channel decides by.
#[derive(Clone, Copy, Debug)]
pub struct ChannelSettings {
    /// What errors lead to.
    pub policy: Policy,
    /// The time limit of jobs that do not set their own.
    pub max_execute: Option<Duration>,
    /// Longest idle wait.
    pub sleep: Duration,
    /// How long a stop waits for running jobs.
    pub stop_wait: Duration,
}

/// Hears how the reload ended.
pub type ReloadReply = oneshot::Sender<Result<RolloutSummary, RolloutError>>;

/// A reload under way.
#[derive(Debug)]
pub(super) struct PendingReload {
    settings: ChannelSettings,
    reply: ReloadReply,
}

impl Channel {
    pub(super) fn reload(&mut self, renewal: ReloadSpec, reply: ReloadReply) {
        if self.reloading.is_some() {
            let _ = reply.send(Err(RolloutError::Failed("another reload is under way".to_owned())));
            return;
        }
        self.reloading = Some(PendingReload { settings: renewal.settings, reply });
        self.pool.reload(renewal.pool, tokio::time::Instant::now());
        self.end_reload();
    }

    /// Passes on how the reload ended, once it has.
    pub(super) fn end_reload(&mut self) {
        let Some(ended) = self.pool.take_rollout_result() else { return };
        let Some(PendingReload { settings, reply }) = self.reloading.take() else { return };
        if ended.is_ok() {
            self.settings = settings;
        }
        // Whoever asked may have gone.
        let _ = reply.send(ended);
    }
}
