//! The limit on the waiting jobs of a channel (`max_waiting`), checked before each batch, and the count of refused pushes.
//!
//! Check and push are two calls, so that a channel without a limit pays nothing: producers that push at the same time may exceed
//! the limit by a batch each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{PushError, Pushed, Store, StoreError};
use crate::config;
use crate::job::NewJob;
use crate::mutex::lock;

/// The refused pushes of this process, by channel: a master pushes by several queues of a channel, on several threads.
static REFUSED: Mutex<BTreeMap<Arc<str>, Arc<Counters>>> = Mutex::new(BTreeMap::new());

/// The limit of one channel; none by default.
#[derive(Clone, Debug, Default)]
pub struct PushLimit(Option<ChannelLimit>);

#[derive(Clone, Debug)]
struct ChannelLimit {
    channel: Arc<str>,
    max_waiting: Option<u64>,
    refused: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    max_waiting: AtomicU64,
    store_full: AtomicU64,
}

/// Pushes of this process that were refused for want of room, by reason; a batch counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedPushes {
    /// The channel was full.
    pub max_waiting: u64,
    /// The store was full: its disk or its memory.
    pub store_full: u64,
}

impl RefusedPushes {
    /// The refused pushes into a channel.
    #[must_use]
    pub fn of(channel: &str) -> Self {
        let Some(counters) = lock(&REFUSED).get(channel).cloned() else { return Self::default() };
        Self {
            max_waiting: counters.max_waiting.load(Ordering::Relaxed),
            store_full: counters.store_full.load(Ordering::Relaxed),
        }
    }
}

impl PushLimit {
    /// The configured limit of a channel.
    #[must_use]
    pub fn of(channel: &config::Channel) -> Self {
        let name: Arc<str> = channel.name.as_str().into();
        let refused = Arc::clone(lock(&REFUSED).entry(Arc::clone(&name)).or_default());
        Self(Some(ChannelLimit { channel: name, max_waiting: channel.max_waiting, refused }))
    }

    /// Most waiting and delayed jobs; `None` without a limit.
    #[must_use]
    pub fn max_waiting(&self) -> Option<u64> {
        self.0.as_ref().and_then(|limit| limit.max_waiting)
    }

    /// Pushes jobs into `store` if the channel has room for all that it adds: a job whose unique key is held needs none.
    ///
    /// # Errors
    /// [`StoreError::Full`] above the limit, and the errors of the push.
    pub async fn push(&self, store: &dyn Store, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let Some(limit) = &self.0 else { return store.push(jobs).await };
        limit.check(store, jobs).await?;
        let pushed = store.push(jobs).await;
        if let Err(PushError::Store(StoreError::Full { .. })) = &pushed {
            limit.refused.store_full.fetch_add(1, Ordering::Relaxed);
        }
        pushed
    }
}

impl ChannelLimit {
    /// Whether `store` has room for what these jobs add.
    async fn check(&self, store: &dyn Store, jobs: &[NewJob]) -> Result<(), StoreError> {
        let Some(max_waiting) = self.max_waiting else { return Ok(()) };
        let counts = store.status().await?;
        let waiting = counts.waiting + counts.delayed;
        if fits(store, jobs, max_waiting.saturating_sub(waiting)).await? {
            return Ok(());
        }
        self.refused.max_waiting.fetch_add(1, Ordering::Relaxed);
        let remedy = match jobs.len() as u64 > max_waiting {
            true => format!("push at most {max_waiting} jobs at once, or raise max_waiting"),
            false => "retry later, add workers, or raise max_waiting".to_owned(),
        };
        Err(StoreError::Full {
            place: format!("channel \"{}\"", self.channel),
            detail: format!("{waiting} jobs wait, and max_waiting allows {max_waiting}: {remedy}"),
        })
    }
}

/// Whether a push adds at most `room` jobs. Keys are looked up only where they decide.
async fn fits(store: &dyn Store, jobs: &[NewJob], room: u64) -> Result<bool, StoreError> {
    if jobs.len() as u64 <= room {
        return Ok(true);
    }
    let keys: BTreeSet<_> = jobs.iter().filter_map(|job| job.meta.unique.as_deref()).collect();
    let mut added = jobs.iter().filter(|job| job.meta.unique.is_none()).count() as u64;
    let mut keys = keys.into_iter();
    while added <= room {
        let Some(key) = keys.next() else { return Ok(true) };
        added += u64::from(store.holder(key).await?.is_none());
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::job::{Payload, Start, Timestamp};
    use crate::store::model::Model;

    #[tokio::test]
    async fn waiting_and_delayed_jobs_count() {
        let store = Model::at(Timestamp(0));
        let job = || NewJob::new("x", Payload::parse("{}").unwrap());
        let later = NewJob { start: Start::After(std::time::Duration::from_secs(9)), ..job() };
        let channel = config::Channel {
            name: "limited".to_owned(),
            max_waiting: Some(3),
            ..Config::built_in(Path::new("/srv")).channels["default"].clone()
        };
        let limit = PushLimit::of(&channel);
        limit.push(&store, &[job(), later]).await.unwrap();
        let error = limit.push(&store, &[job(), job()]).await.unwrap_err().to_string();
        assert!(
            error.contains("channel \"limited\" is full: 2 jobs wait, and max_waiting allows 3")
                && !error.contains("store at"),
            "{error}"
        );
        let never = limit.push(&store, &vec![job(); 4]).await.unwrap_err().to_string();
        assert!(never.ends_with("push at most 3 jobs at once, or raise max_waiting"), "{never}");
        limit.push(&store, &[job()]).await.unwrap();
        let again = PushLimit::of(&channel);
        assert!(again.push(&store, &[job()]).await.is_err());
        assert_eq!(RefusedPushes::of("limited"), RefusedPushes { max_waiting: 3, store_full: 0 });
        assert_eq!(RefusedPushes::of("other"), RefusedPushes::default());
        PushLimit::default().push(&store, &[job(), job()]).await.unwrap();
    }
}
