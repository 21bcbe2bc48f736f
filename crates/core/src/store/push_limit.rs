//! The limits of a channel (`max_waiting`, `max_bytes`), checked before each batch, and the count of refused pushes.
//!
//! Check and push are two calls, so that a channel without limits pays nothing: producers that push at the same time may exceed
//! a limit by a batch each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{ChannelLimits, JobCounts, PushError, Pushed, Store, StoreError, driver_rules};
use crate::config;
use crate::job::NewJob;
use crate::mutex::lock;

/// The refused pushes of this process, by channel: a master pushes by several queues of a channel, on several threads.
static REFUSED: Mutex<BTreeMap<Arc<str>, Arc<Counters>>> = Mutex::new(BTreeMap::new());

/// The limits of one channel; none by default.
#[derive(Clone, Debug, Default)]
pub struct PushLimit(Option<Limited>);

#[derive(Clone, Debug)]
struct Limited {
    channel: Arc<str>,
    limits: ChannelLimits,
    refused: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    max_waiting: AtomicU64,
    max_bytes: AtomicU64,
    store_full: AtomicU64,
}

/// Pushes of this process that were refused for want of room, by reason; a batch counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedPushes {
    /// The channel had too many waiting jobs.
    pub max_waiting: u64,
    /// The jobs of the channel took too many bytes.
    pub max_bytes: u64,
    /// The store was full: its disk or its memory.
    pub store_full: u64,
}

impl RefusedPushes {
    /// The refused pushes into each channel that this process has pushed into or serves, by its name.
    #[must_use]
    pub fn by_channel() -> Vec<(Arc<str>, Self)> {
        let channels = lock(&REFUSED);
        channels.iter().map(|(channel, counters)| (Arc::clone(channel), counters.read())).collect()
    }
}

impl Counters {
    fn read(&self) -> RefusedPushes {
        RefusedPushes {
            max_waiting: self.max_waiting.load(Ordering::Relaxed),
            max_bytes: self.max_bytes.load(Ordering::Relaxed),
            store_full: self.store_full.load(Ordering::Relaxed),
        }
    }
}

impl PushLimit {
    /// The configured limits of a channel.
    #[must_use]
    pub fn of(channel: &config::Channel) -> Self {
        let name: Arc<str> = channel.name.as_str().into();
        let refused = Arc::clone(lock(&REFUSED).entry(Arc::clone(&name)).or_default());
        let limits = ChannelLimits { max_waiting: channel.max_waiting, max_bytes: channel.max_bytes };
        Self(Some(Limited { channel: name, limits, refused }))
    }

    /// The limits, for the store.
    #[must_use]
    pub fn limits(&self) -> ChannelLimits {
        self.0.as_ref().map(|limited| limited.limits).unwrap_or_default()
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

impl Limited {
    /// Whether `store` has room for what these jobs add.
    async fn check(&self, store: &dyn Store, jobs: &[NewJob]) -> Result<(), StoreError> {
        if self.limits == ChannelLimits::default() {
            return Ok(());
        }
        let mut counts = store.status().await?;
        if self.limits.max_bytes.is_some() && counts.bytes.is_none() {
            // No master has started with this limit yet.
            store.record_limits(self.limits).await?;
            counts = store.status().await?;
        }
        let Some(excess) = self.excess(counts, jobs) else { return Ok(()) };
        // Jobs whose key is held add nothing. Keys are looked up only where they decide.
        if let Some(added) = without_held_keys(store, jobs).await?
            && self.excess(counts, &added).is_none()
        {
            return Ok(());
        }
        let (refused, detail) = match excess {
            Excess::Waiting { waiting, most } => {
                let remedy = match jobs.len() as u64 > most {
                    true => format!("push at most {most} jobs at once, or raise max_waiting"),
                    false => "retry later, add workers, or raise max_waiting".to_owned(),
                };
                let detail = format!("{waiting} jobs wait, and max_waiting allows {most}: {remedy}");
                (&self.refused.max_waiting, detail)
            }
            Excess::Bytes { stored, added, most } => {
                let remedy = match (added > most, jobs.len()) {
                    (true, 1) => "push a smaller job, or raise max_bytes",
                    (true, _) => "push fewer or smaller jobs at once, or raise max_bytes",
                    (false, _) => {
                        "retry later, add workers, remove failed jobs (queue:flush), or raise max_bytes"
                    }
                };
                let detail = format!(
                    "its jobs take {stored} bytes, this push {added} more, and max_bytes allows {most}: {remedy}"
                );
                (&self.refused.max_bytes, detail)
            }
        };
        refused.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Full { place: format!("channel \"{}\"", self.channel), detail })
    }

    /// The limit that these jobs would exceed.
    fn excess(&self, counts: JobCounts, jobs: &[NewJob]) -> Option<Excess> {
        let waiting = counts.waiting + counts.delayed;
        if let Some(most) = self.limits.max_waiting
            && waiting.saturating_add(jobs.len() as u64) > most
            && !jobs.is_empty()
        {
            return Some(Excess::Waiting { waiting, most });
        }
        let most = self.limits.max_bytes?;
        // A count that another program has put wrong keeps no empty channel closed.
        let stored = if counts.has_jobs() { counts.bytes.unwrap_or(0) } else { 0 };
        let added = jobs.iter().map(driver_rules::new_record_bytes).sum::<usize>() as u64;
        (added > 0 && stored.saturating_add(added) > most).then_some(Excess::Bytes { stored, added, most })
    }
}

/// A limit that a push would exceed.
enum Excess {
    Waiting { waiting: u64, most: u64 },
    Bytes { stored: u64, added: u64, most: u64 },
}

/// The jobs that a push adds, if those are fewer: the first job of each unique key, unless the key is held.
async fn without_held_keys(store: &dyn Store, jobs: &[NewJob]) -> Result<Option<Vec<NewJob>>, StoreError> {
    let (mut keys, mut added) = (BTreeSet::new(), Vec::new());
    for job in jobs {
        let is_added = match job.meta.unique.as_deref() {
            None => true,
            Some(key) => keys.insert(key) && store.holder(key).await?.is_none(),
        };
        if is_added {
            added.push(job.clone());
        }
    }
    Ok((added.len() < jobs.len()).then_some(added))
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
        let refused = RefusedPushes::by_channel();
        let (_, refused) = refused.iter().find(|(channel, _)| **channel == *"limited").unwrap();
        assert_eq!(*refused, RefusedPushes { max_waiting: 3, ..RefusedPushes::default() });
        PushLimit::default().push(&store, &[job(), job()]).await.unwrap();
    }
}
