//! The limits of a channel (`max_waiting`, `max_bytes`), checked before each batch, and the count of refused pushes.
//!
//! Check and push are two calls, so that a channel without limits pays nothing: producers that push at the same time may exceed
//! a limit by a batch each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

use super::{ChannelLimits, JobCounts, PushError, Pushed, Store, StoreError, driver_rules};
use crate::config;
use crate::job::NewJob;
use crate::mutex::lock;

/// The refused pushes of this process, by channel: a master pushes by several queues of a channel, on several threads.
static REFUSED: Mutex<BTreeMap<Arc<str>, Arc<Counters>>> = Mutex::new(BTreeMap::new());

/// Wakes the log of refused pushes.
static COUNTED: Notify = Notify::const_new();

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
    memory: AtomicU64,
    last: Mutex<Option<Instant>>,
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
    /// The requests of all producers took too much memory of the master.
    pub memory: u64,
    /// When the last push was refused.
    pub last: Option<Instant>,
}

impl RefusedPushes {
    /// The refused pushes into each channel that this process has pushed into or serves, by its name.
    #[must_use]
    pub fn by_channel() -> Vec<(Arc<str>, Self)> {
        let channels = lock(&REFUSED);
        channels.iter().map(|(channel, counters)| (Arc::clone(channel), counters.read())).collect()
    }

    /// The refused pushes into one channel.
    #[must_use]
    pub fn into_channel(channel: &str) -> Self {
        lock(&REFUSED).get(channel).map(|counters| counters.read()).unwrap_or_default()
    }

    /// Wakes one waiter after each refused push of this process.
    #[doc(hidden)]
    #[must_use]
    pub fn counted() -> &'static Notify {
        &COUNTED
    }

    /// Counts a push into a declared channel that the master had no memory for.
    pub fn count_without_memory(channel: &str) {
        let counters = Arc::clone(lock(&REFUSED).entry(channel.into()).or_default());
        counters.count(&counters.memory);
    }

    /// The refused pushes, with the key or place that refused them.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        let Self { max_waiting, max_bytes, store_full, memory, last: _ } = *self;
        [
            ("max_waiting", max_waiting),
            ("max_bytes", max_bytes),
            ("store_full", store_full),
            ("memory", memory),
        ]
    }

    /// All refused pushes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, pushes)| pushes).sum()
    }
}

impl Counters {
    /// Raises one of these counters.
    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last) = Some(Instant::now());
        COUNTED.notify_one();
    }

    fn read(&self) -> RefusedPushes {
        RefusedPushes {
            max_waiting: self.max_waiting.load(Ordering::Relaxed),
            max_bytes: self.max_bytes.load(Ordering::Relaxed),
            store_full: self.store_full.load(Ordering::Relaxed),
            memory: self.memory.load(Ordering::Relaxed),
            last: *lock(&self.last),
        }
    }
}

/// The least that a push of many jobs adds to a channel: a job with a unique key may add nothing.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PushSize {
    jobs: u64,
    bytes: u64,
}

impl PushSize {
    /// Adds a job.
    pub fn add(&mut self, job: &NewJob) {
        if job.meta.unique.is_none() {
            self.jobs += 1;
            self.bytes += driver_rules::new_record_bytes(job) as u64;
        }
    }

    fn of(jobs: &[NewJob]) -> Self {
        let bytes = jobs.iter().map(driver_rules::new_record_bytes).sum::<usize>() as u64;
        Self { jobs: jobs.len() as u64, bytes }
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
    /// [`StoreError::Full`] above the limit, [`PushError::NeverFits`] if the jobs are above it alone, and the errors of the push.
    pub async fn push(&self, store: &dyn Store, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let Some(limit) = &self.0 else { return store.push(jobs).await };
        limit.check(store, jobs).await?;
        let pushed = store.push(jobs).await;
        if let Err(PushError::Store(StoreError::Full { .. })) = &pushed {
            limit.refused.count(&limit.refused.store_full);
        }
        pushed
    }

    /// Checks a push of this size, which comes in several batches, before its first batch.
    ///
    /// # Errors
    /// [`PushError::NeverFits`] if the push alone is above a limit.
    pub fn check_size(&self, size: PushSize) -> Result<(), PushError> {
        self.0.as_ref().map_or(Ok(()), |limit| limit.check_size(size))
    }
}

impl Limited {
    /// Whether `store` has room for what these jobs add.
    async fn check(&self, store: &dyn Store, jobs: &[NewJob]) -> Result<(), PushError> {
        if self.limits == ChannelLimits::default() {
            return Ok(());
        }
        let mut counts = store.status().await?;
        if self.limits.max_bytes.is_some() && counts.bytes.is_none() {
            // No master has started with this limit yet.
            store.record_limits(self.limits).await?;
            counts = store.status().await?;
        }
        if self.excess(counts, PushSize::of(jobs)).is_none() {
            return Ok(());
        }
        // Jobs whose key is held add nothing. Keys are looked up only where they decide.
        let size = match without_held_keys(store, jobs).await? {
            Some(added) => PushSize::of(&added),
            None => PushSize::of(jobs),
        };
        let Some(excess) = self.excess(counts, size) else { return Ok(()) };
        self.check_size(size)?;
        let (counter, detail) = match excess {
            Excess::Waiting { waiting, most } => (
                &self.refused.max_waiting,
                format!(
                    "{waiting} jobs wait, and max_waiting allows {most}: retry later, add workers, or raise max_waiting"
                ),
            ),
            Excess::Bytes { stored, added, most } => (
                &self.refused.max_bytes,
                format!(
                    "its jobs take {stored} bytes, this push {added} more, and max_bytes allows {most}: \
                     retry later, add workers, remove failed jobs (queue:flush), or raise max_bytes"
                ),
            ),
        };
        self.refused.count(counter);
        Err(StoreError::Full { place: format!("channel \"{}\"", self.channel), detail }.into())
    }

    /// Refuses a push that is above a limit alone: it does not fit into the empty channel either.
    fn check_size(&self, PushSize { jobs, bytes }: PushSize) -> Result<(), PushError> {
        let (counter, detail) = match self.limits {
            ChannelLimits { max_waiting: Some(most), .. } if jobs > most => (
                &self.refused.max_waiting,
                format!(
                    "it adds {jobs} jobs, and max_waiting allows {most}: push at most {most} jobs at once, or raise max_waiting"
                ),
            ),
            ChannelLimits { max_bytes: Some(most), .. } if bytes > most => {
                let smaller = if jobs == 1 { "a smaller job" } else { "fewer or smaller jobs at once" };
                let detail = format!(
                    "it takes {bytes} bytes, and max_bytes allows {most}: push {smaller}, or raise max_bytes"
                );
                (&self.refused.max_bytes, detail)
            }
            _ => return Ok(()),
        };
        self.refused.count(counter);
        Err(PushError::NeverFits { channel: self.channel.to_string(), detail })
    }

    /// The limit that a push of this size would exceed.
    fn excess(&self, counts: JobCounts, size: PushSize) -> Option<Excess> {
        let waiting = counts.waiting + counts.delayed;
        if let Some(most) = self.limits.max_waiting
            && waiting.saturating_add(size.jobs) > most
            && size.jobs > 0
        {
            return Some(Excess::Waiting { waiting, most });
        }
        let most = self.limits.max_bytes?;
        // A count that another program has put wrong keeps no empty channel closed.
        let stored = if counts.has_jobs() { counts.bytes.unwrap_or(0) } else { 0 };
        let added = size.bytes;
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
        let never = limit.push(&store, &vec![job(); 4]).await.unwrap_err();
        assert!(matches!(never, PushError::NeverFits { .. }));
        assert_eq!(
            never.to_string(),
            "the push can never fit into channel \"limited\": it adds 4 jobs, and max_waiting allows 3: push at most 3 jobs at once, or raise max_waiting"
        );
        limit.push(&store, &[job()]).await.unwrap();
        let again = PushLimit::of(&channel);
        assert!(again.push(&store, &[job()]).await.is_err());
        let refused = RefusedPushes::into_channel("limited");
        assert_eq!(refused, RefusedPushes { max_waiting: 3, last: refused.last, ..RefusedPushes::default() });
        assert!(refused.last.is_some());
        RefusedPushes::count_without_memory("limited");
        assert_eq!(RefusedPushes::into_channel("limited").total(), 4);
        assert_eq!(RefusedPushes::into_channel("unknown"), RefusedPushes::default());
        let (mut many, free) = (PushSize::default(), PushSize { jobs: 3, bytes: 1 });
        (0..3).for_each(|_| many.add(&job()));
        assert!(limit.check_size(many).is_ok() && limit.check_size(free).is_ok(), "they may fit later");
        many.add(&job());
        assert!(limit.check_size(many).is_err());
        PushLimit::default().push(&store, &[job(), job()]).await.unwrap();
    }
}
