//! Pauses a channel for every master, and resumes it.

use std::time::Duration;

use super::reply::{count, int};
use super::scripts::Script;
use super::{RedisStore, micros};
use crate::job::{MAX_DELAY, Timestamp};
use crate::store::StoreError;

impl RedisStore {
    pub(super) async fn set_pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        let mut call = self.call(Script::Pause, "pausing", &[]).await?;
        call.arg("pause");
        match time {
            Some(time) => call.arg(micros(time.min(MAX_DELAY))),
            None => call.arg(""),
        };
        let until = call.read(count).await?;
        Ok((until > 0).then_some(Timestamp(until)))
    }

    pub(super) async fn end_pause(&self) -> Result<bool, StoreError> {
        let mut call = self.call(Script::Pause, "resuming", &[]).await?;
        call.arg("resume").arg("");
        Ok(call.read(int).await? == 1)
    }
}
