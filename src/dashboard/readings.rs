//! The answers of `/api/v1` for a program on the same machine, without a listener.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::api;
use super::picture::Camera;
use super::source::{Source, Stores};
use crate::config::Config;
use crate::snapshot::Step;

/// Takes the readings of all declared channels.
pub struct Readings {
    camera: Camera,
}

impl Readings {
    /// Reads the channels of a configuration from their stores and from the masters behind `source`.
    #[must_use]
    pub fn new(config: &Arc<Config>, stores: Stores, source: Arc<dyn Source>) -> Self {
        Self { camera: Camera::new(Arc::clone(config), stores, source) }
    }

    /// The answer to `/api/v1/channels`.
    pub async fn channels(&self) -> Value {
        api::list(&*self.camera.picture().await)
    }

    /// The answer to `/api/v1/channels/{name}`; `None` for a channel that is not declared.
    pub async fn channel(&self, name: &str) -> Option<Value> {
        let picture = self.camera.picture().await;
        Some(api::details(&picture, picture.channel(name)?, true))
    }

    /// The answer to `/api/v1/channels/{name}/series`, for this period.
    pub async fn series(&self, name: &str, step: Step, period: Duration) -> Value {
        let picture = self.camera.picture().await;
        let (points, scaled) = self.camera.history(name, step, period).await;
        api::samples(&picture, step, &points, &scaled)
    }
}
