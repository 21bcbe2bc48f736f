//! The way from a job to other channels than its own.

use std::sync::Arc;

use async_trait::async_trait;

use crate::channel::Elsewhere;
use crate::config::Config;
use crate::job::NewJob;
use crate::queues::Queues;
use crate::store::Pushed;

/// The channels that the configuration declares, whether this master serves them or not.
#[derive(Debug)]
pub(super) struct Declared(Queues);

impl Declared {
    pub(super) fn of(config: &Arc<Config>) -> Arc<dyn Elsewhere> {
        Arc::new(Self(Queues::of(Arc::clone(config))))
    }
}

#[async_trait]
impl Elsewhere for Declared {
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String> {
        let door = self.0.door(channel).map_err(|error| error.to_string())?;
        let queue = door.queue().await.map_err(|error| crate::channel::explained(&*error))?;
        queue.push_jobs(jobs.to_vec()).await.map_err(|error| crate::channel::explained(&error))
    }
}
