//! The view of a master that the HTTP listener shows: metrics and the health of its channels.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::control::{ChannelHandlers, MasterShared};
use crate::http::{ChannelHealth, Observed};

/// Time after which a channel that has not answered counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// A view of a master.
pub(super) struct MasterView(pub(super) Arc<MasterShared>);

#[async_trait]
impl Observed for MasterView {
    fn metrics(&self) -> String {
        let shared = &self.0;
        shared.attention.scraped(Instant::now());
        shared.render_metrics()
    }

    async fn health(&self) -> Vec<ChannelHealth> {
        let handlers: Vec<_> = lock(&self.0.handlers).iter().filter_map(Weak::upgrade).collect();
        let mut asked: JoinSet<_> = handlers.into_iter().map(health).collect();
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers.sort_by(|one, other| one.name.cmp(&other.name));
        answers
    }
}

async fn health(channel: Arc<ChannelHandlers>) -> ChannelHealth {
    let name = channel.channel.to_string();
    let unknown = ChannelHealth { name, ..ChannelHealth::default() };
    match timeout(STUCK_AFTER, channel.status()).await {
        Err(_) => ChannelHealth { stuck: true, ..unknown },
        // The channel has ended.
        Ok(Err(_)) => ChannelHealth { stopping: true, ..unknown },
        Ok(Ok(status)) => ChannelHealth {
            store_error: status.store_error,
            degraded: status.pool.degraded.then(|| status.worker_error.unwrap_or_default()),
            stopping: status.stopping,
            quiet: status.quiet,
            ..unknown
        },
    }
}
