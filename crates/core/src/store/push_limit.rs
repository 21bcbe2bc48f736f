//! The limit on the waiting jobs of a channel (`max_waiting`), checked before each batch.
//!
//! Check and push are two calls, so that a channel without a limit pays nothing: producers that push at the same time may exceed
//! the limit by a batch each.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::config;

/// The limit of one channel; none by default.
#[derive(Clone, Debug, Default)]
pub struct PushLimit(Option<ChannelLimit>);

#[derive(Clone, Debug)]
struct ChannelLimit {
    channel: Arc<str>,
    max_waiting: u64,
}

impl PushLimit {
    /// The configured limit of a channel.
    #[must_use]
    pub fn of(channel: &config::Channel) -> Self {
        let limit = |max_waiting| ChannelLimit { channel: channel.name.as_str().into(), max_waiting };
        Self(channel.max_waiting.map(limit))
    }

    /// Whether `store` has room for `more` jobs.
    ///
    /// # Errors
    /// [`StoreError::Full`] above the limit, and the errors of reading the counts.
    pub async fn check(&self, store: &dyn Store, more: usize) -> Result<(), StoreError> {
        let Some(ChannelLimit { channel, max_waiting }) = &self.0 else { return Ok(()) };
        let counts = store.status().await?;
        let waiting = counts.waiting + counts.delayed;
        if waiting.saturating_add(more as u64) <= *max_waiting {
            return Ok(());
        }
        Err(StoreError::Full {
            place: format!("channel \"{channel}\""),
            detail: format!(
                "{waiting} jobs wait, and max_waiting allows {max_waiting}: retry later, add workers, or raise max_waiting"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NewJob, Payload, Timestamp};
    use crate::store::model::Model;

    #[tokio::test]
    async fn waiting_and_delayed_jobs_count() {
        let store = Model::at(Timestamp(0));
        let job = || NewJob::new("x", Payload::parse("{}").unwrap());
        store
            .push(&[
                job(),
                NewJob { start: crate::job::Start::After(std::time::Duration::from_secs(9)), ..job() },
            ])
            .await
            .unwrap();
        let limit = PushLimit(Some(ChannelLimit { channel: "mail".into(), max_waiting: 3 }));
        limit.check(&store, 1).await.unwrap();
        let error = limit.check(&store, 2).await.unwrap_err().to_string();
        assert!(error.contains("channel \"mail\" is full: 2 jobs wait, and max_waiting allows 3"), "{error}");
        PushLimit::default().check(&store, 1000).await.unwrap();
    }
}
