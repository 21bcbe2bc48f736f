//! The queues of all declared channels, each opened on first use and kept open.
//!
//! Used for pushes into named channels: by the HTTP listener, and by jobs that push into other channels. A set belongs to one
//! runtime, which drives its connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::{self, Config, UndeclaredChannel};
use crate::job::{NewJob, error_chain};
use crate::mutex::lock;
use crate::queue::Queue;
use crate::store::{self, CrossChannelPush, PushLimit, Pushed, StoreError};

/// Time before a failed open is retried. Without it every request of a burst would wait for its own failure.
const OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The queues of all declared channels.
#[derive(Debug)]
pub struct QueueSet {
    config: Arc<Config>,
    lazy_queues: BTreeMap<String, Arc<LazyQueue>>,
}

/// The queue of one channel, opened on first use.
#[derive(Debug)]
pub struct LazyQueue {
    channel: config::Channel,
    open: OnceCell<Queue>,
    refused: Mutex<Option<(Instant, Arc<StoreError>)>>,
}

impl QueueSet {
    pub fn of(config: Arc<Config>) -> Self {
        let lazy_queue = |channel: &config::Channel| {
            let lazy =
                LazyQueue { channel: channel.clone(), open: OnceCell::new(), refused: Mutex::default() };
            (channel.name.clone(), Arc::new(lazy))
        };
        Self { lazy_queues: config.channels.values().map(lazy_queue).collect(), config }
    }

    /// The queue of a channel.
    pub fn lazy_queue(&self, name: &str) -> Result<Arc<LazyQueue>, UndeclaredChannel> {
        let channel = self.config.channel(name)?;
        Ok(Arc::clone(&self.lazy_queues[&channel.name]))
    }
}

#[async_trait]
impl CrossChannelPush for QueueSet {
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String> {
        let lazy_queue = self.lazy_queue(channel).map_err(|error| error.to_string())?;
        let queue = lazy_queue.queue().await.map_err(|error| error_chain(&*error))?;
        queue.push_jobs(jobs.to_vec()).await.map_err(|error| error_chain(&error))
    }
}

impl LazyQueue {
    /// Returns the open queue, or opens it.
    pub async fn queue(&self) -> Result<Queue, Arc<StoreError>> {
        let opened = self.open.get_or_try_init(async || {
            if let Some(error) = self.refused_lately() {
                return Err(error);
            }
            let limited = |store| {
                Queue::from_store(store).limited(PushLimit::of(&self.channel)).named(&self.channel.name)
            };
            store::open(&self.channel.driver, &self.channel.name).await.map(limited).map_err(|error| {
                let error = Arc::new(error);
                let now = Instant::now();
                *lock(&self.refused) = Some((now, Arc::clone(&error)));
                error
            })
        });
        opened.await.cloned()
    }

    fn refused_lately(&self) -> Option<Arc<StoreError>> {
        let refused = lock(&self.refused);
        refused
            .as_ref()
            .filter(|(at, _)| at.elapsed() < OPEN_RETRY_INTERVAL)
            .map(|(_, error)| Arc::clone(error))
    }
}
