//! The state that all requests share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::{Config, Http};
use crate::queue_set::QueueSet;

/// Large bodies in memory at once. Further requests wait for a permit.
const MAX_LARGE_BODIES: usize = 4;

/// The settings, the queues and the permits of large bodies.
pub(super) struct ListenerState {
    pub(super) settings: Http,
    pub(super) queues: QueueSet,
    pub(super) large_bodies: Arc<Semaphore>,
}

impl ListenerState {
    pub(super) fn new(settings: &Http, config: &Arc<Config>) -> Self {
        Self {
            settings: settings.clone(),
            queues: QueueSet::of(Arc::clone(config)),
            large_bodies: Arc::new(Semaphore::new(MAX_LARGE_BODIES)),
        }
    }
}
