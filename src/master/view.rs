//! The view of a master that the HTTP listener shows: metrics, the health of its channels, and what pages show of them.

use std::fs;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::alerting::host_alerts_file;
use super::control::{ChannelHandlers, MasterShared, RequestHandler};
use crate::activity::Activity;
use crate::channel::MasterIdentity;
use crate::config::Config;
use crate::control::protocol::{Reply, ResponseLine};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::{ChannelLook, OwnResources, Source};
use crate::guardian::procfs;
use crate::http::{ChannelHealth, Observed};
use crate::snapshot::{Point, ScaledAt, Step};

/// Time after which a channel that has not answered counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Lines of an answer that wait to be read.
const REPLY_LINES: usize = 4;
/// Age from which a page takes another sample.
const OLDEST_SAMPLE: Duration = Duration::from_secs(2);
/// Longest time for which a page waits for that sample.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(100);
/// Time after which a page shows a channel that has not answered as stuck.
const STATUS_TIMEOUT: Duration = Duration::from_millis(400);

/// A view of a master.
pub(super) struct MasterView {
    shared: Arc<MasterShared>,
    /// The configuration of the start.
    config: Arc<Config>,
}

#[async_trait]
impl Observed for MasterView {
    fn metrics(&self) -> String {
        let shared = &self.shared;
        shared.attention.scraped(Instant::now());
        shared.render_metrics()
    }

    async fn health(&self) -> Vec<ChannelHealth> {
        let mut asked: JoinSet<_> = self.channels().into_iter().map(health).collect();
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers.sort_by(|one, other| one.name.cmp(&other.name));
        answers
    }
}

#[async_trait]
impl Source for MasterView {
    fn served(&self) -> Vec<String> {
        let mut served: Vec<_> = self.channels().iter().map(|channel| channel.channel.to_string()).collect();
        served.sort_unstable();
        served
    }

    async fn look(&self, channel: &str) -> Option<ChannelLook> {
        self.shared.attention.looked(Instant::now());
        let channel = self.channel(channel)?;
        // After a time without viewers the last sample may be minutes old.
        let _ = timeout(SAMPLE_TIMEOUT, channel.sampler.refresh(OLDEST_SAMPLE)).await;
        let status = timeout(STATUS_TIMEOUT, channel.status()).await;
        Some(ChannelLook {
            has_ended: matches!(status, Ok(Err(_))),
            status: status.ok().and_then(Result::ok),
            recent: channel.sampler.recent(),
            trends: channel.sampler.trends(),
            counts: channel.sampler.last_counts(),
        })
    }

    async fn history(&self, channel: &str, step: Step, period: Duration) -> (Vec<Point>, Vec<ScaledAt>) {
        self.channel(channel).map_or_else(Default::default, |channel| channel.sampler.history(step, period))
    }

    async fn ask(&self, channel: &str, request: ControlRequest) -> Option<Result<ControlResponse, String>> {
        let channel = self.channel(channel)?;
        let (reply, mut lines) = mpsc::channel(REPLY_LINES);
        let answering = async move { channel.handle(request, reply).await };
        let last = async {
            let mut last = None;
            while let Some(Reply { line, .. }) = lines.recv().await {
                last = Some(line);
            }
            last
        };
        let ((), last) = tokio::join!(answering, last);
        match last {
            Some(ResponseLine::Ok(answer)) => Some(Ok(answer)),
            Some(ResponseLine::Error(why)) => Some(Err(why)),
            Some(ResponseLine::Progress(_) | ResponseLine::Lines(_)) | None => None,
        }
    }

    fn identity(&self) -> MasterIdentity {
        self.shared.identity.clone()
    }

    fn resources(&self) -> OwnResources {
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64);
        OwnResources {
            memory: procfs::own_resident(),
            // The directory that is read has a descriptor of its own.
            descriptors: descriptors.map(|open| open.saturating_sub(1)),
            max_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }

    fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    async fn host_alerts(&self, channel: &str) -> Option<String> {
        let file = host_alerts_file(self.config.channels.get(channel)?);
        spawn_blocking(move || fs::read_to_string(file).ok()).await.ok().flatten()
    }

    async fn test_receiver(&self, receiver: &str) -> Option<Result<(), String>> {
        self.shared.alerting.as_ref()?.test(receiver).await
    }
}

impl MasterView {
    pub(super) fn new(shared: Arc<MasterShared>, config: Arc<Config>) -> Self {
        Self { shared, config }
    }

    fn channels(&self) -> Vec<Arc<ChannelHandlers>> {
        lock(&self.shared.handlers).iter().filter_map(Weak::upgrade).collect()
    }

    fn channel(&self, name: &str) -> Option<Arc<ChannelHandlers>> {
        self.channels().into_iter().find(|channel| &*channel.channel == name)
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
