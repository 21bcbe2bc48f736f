//! A reload of the channel: the pool replaces its workers by a new generation, and the new settings follow.

use super::commands::ReloadReply;
use super::settings::ChannelSettings;
use crate::pool::{RolloutError, RolloutSummary};

/// The reload that is under way, if any.
#[derive(Debug, Default)]
pub(super) struct Reload(Option<PendingReload>);

#[derive(Debug)]
struct PendingReload {
    settings: ChannelSettings,
    reply: ReloadReply,
}

impl Reload {
    /// Starts a reload. Returns whether the caller starts the rollout of the pool; a second reload is refused.
    pub(super) fn start(&mut self, settings: ChannelSettings, reply: ReloadReply) -> bool {
        if self.0.is_some() {
            let _ = reply.send(Err(RolloutError::Failed("another reload is under way".to_owned())));
            return false;
        }
        self.0 = Some(PendingReload { settings, reply });
        true
    }

    /// Replies with the result of the rollout; returns the new settings if the rollout succeeded.
    pub(super) fn end(&mut self, result: Result<RolloutSummary, RolloutError>) -> Option<ChannelSettings> {
        let PendingReload { settings, reply } = self.0.take()?;
        let settings = result.is_ok().then_some(settings);
        // The receiver may have stopped waiting.
        let _ = reply.send(result);
        settings
    }
}
