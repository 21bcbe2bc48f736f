//! The store in memory: the plainest implementation of the contract, and the reference for the other drivers.
//!
//! For tests, and for looks at a store that does not exist yet; without any durability. The clock is still until moved: by [`Model::advance`], or with
//! [`Model::ticking`] by tokio's clock, a paused one included. Clones are handles on the same channel.

mod channel;
mod commands;
mod kept;
mod keys;
mod limits;
mod listing;
mod waiting_order;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use self::channel::Channel;
use super::{
    AlertLook, AlertLooked, AlertRecords, ChannelLimits, Claim, Clear, Cleared, Cursor, JobCounts, JobState,
    JobView, KeptPage, KeptTrim, KeptView, LEASE, Leased, LimitDecision, MAX_BATCH, Owner, OwnerView, Page,
    PushError, Pushed, Reap, Store, StoreError, Turn, TurnReply, driver_rules,
};
use crate::durations::micros;
use crate::job::{JobId, JobMeta, JobOutput, NewJob, Timestamp};
use crate::mutex::lock;

/// A channel in memory.
pub struct Model {
    inner: Arc<Mutex<Inner>>,
    /// Number of events that may have made work available.
    wakes: watch::Sender<u64>,
    /// The event count at which a wait of this handle last returned.
    seen: AtomicU64,
}

struct Inner {
    clock: Clock,
    channel: Channel,
}

enum Clock {
    Still(Timestamp),
    Ticking { start: Timestamp, since: Instant },
}

impl Clock {
    fn now(&self) -> Timestamp {
        match self {
            Self::Still(now) => *now,
            Self::Ticking { start, since } => start.after(since.elapsed()),
        }
    }
}

impl Model {
    /// An empty channel with a still clock at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self::with_clock(Clock::Still(now))
    }

    /// An empty channel with a clock that starts at `now` and follows tokio's.
    #[must_use]
    pub fn ticking(now: Timestamp) -> Self {
        Self::with_clock(Clock::Ticking { start: now, since: Instant::now() })
    }

    fn with_clock(clock: Clock) -> Self {
        let inner = Inner { clock, channel: Channel::new(LEASE) };
        Self { inner: Arc::new(Mutex::new(inner)), wakes: watch::Sender::new(0), seen: AtomicU64::new(0) }
    }

    /// Sets the lease length, effective from the next renewal of each owner.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        self.lock().channel.lease = lease;
        self
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.lock();
        match &mut inner.clock {
            Clock::Still(now) => *now = now.after(by),
            Clock::Ticking { start, .. } => *start = start.after(by),
        }
    }

    /// Sets the clock back, as a time server or a restored machine does.
    pub fn set_back(&self, by: Duration) {
        let mut inner = self.lock();
        match &mut inner.clock {
            Clock::Still(now) | Clock::Ticking { start: now, .. } => {
                *now = Timestamp(now.0.saturating_sub(micros(by)));
            }
        }
    }

    /// The time of the clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    /// All living owners.
    #[must_use]
    pub fn owners(&self) -> Vec<Owner> {
        self.lock().channel.owners()
    }

    /// Expires the lease of `owner` now.
    pub fn expire_lease(&self, owner: &Owner) {
        self.lock().channel.expire_lease(owner);
    }

    /// Overwrites the record of a job with `text`, as a foreign program might.
    pub fn corrupt_record(&self, id: JobId, text: &str) {
        self.lock().channel.corrupt_record(id, text);
    }

    /// Deletes the record of a job, as a foreign program might.
    pub fn delete_record(&self, id: JobId) {
        self.lock().channel.delete_record(id);
    }

    /// Resets the last assigned id, like a store that lost its latest writes.
    pub fn forget_last_id(&self) {
        self.lock().channel.last = 0;
    }

    /// All jobs of a state, in its order.
    #[doc(hidden)]
    pub fn all(&self, state: JobState) -> Vec<JobView> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.with(|channel, _| channel.list(state, after, MAX_BATCH));
            all.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// The counts.
    #[doc(hidden)]
    pub fn counts(&self) -> JobCounts {
        self.with(|channel, now| channel.status(now))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Channel, Timestamp) -> T) -> T {
        let mut inner = self.lock();
        let now = inner.clock.now();
        let before = inner.channel.wakes;
        let answer = act(&mut inner.channel, now);
        let wakes = inner.channel.wakes;
        if wakes != before {
            self.wakes.send_replace(wakes);
        }
        answer
    }
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let seen = AtomicU64::new(self.seen.load(Ordering::Relaxed));
        Self { inner: Arc::clone(&self.inner), wakes: self.wakes.clone(), seen }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Model")
    }
}

#[async_trait]
impl Store for Model {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        driver_rules::check(jobs)?;
        self.with(|channel, now| channel.push(now, jobs))
    }

    async fn join(&self) -> Result<Owner, StoreError> {
        Ok(self.with(Channel::join))
    }

    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError> {
        self.with(|channel, _| channel.counts_bytes |= limits.max_bytes.is_some());
        Ok(())
    }

    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        self.with(|channel, now| channel.turn(now, &turn))
    }

    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError> {
        self.with(|channel, now| channel.claim(now, owner, claims))
    }

    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError> {
        self.with(|channel, now| {
            channel.renew_lease(now, owner, seq)?;
            Ok(channel.held(owner))
        })
    }

    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        self.with(|channel, _| channel.fetch(owner, ids))
    }

    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError> {
        self.with(|channel, now| channel.take(now, owner, seq, id))
    }

    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError> {
        Ok(self.with(|channel, now| channel.masters(now)))
    }

    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError> {
        self.with(|channel, _| channel.leave(owner))
    }

    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError> {
        Ok(self.with(|channel, now| channel.reap(now, target)))
    }

    async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let mut wakes = self.wakes.subscribe();
        if let Ok(Ok(new)) = tokio::time::timeout(timeout, wakes.wait_for(|wakes| *wakes != seen)).await {
            self.seen.store(*new, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn status(&self) -> Result<JobCounts, StoreError> {
        Ok(self.with(|channel, now| channel.status(now)))
    }

    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        Ok(self.with(|channel, now| {
            let looked = channel.alerts.look(&look, now);
            let masters = channel.masters(now).iter().filter(|master| master.is_alive()).count() as u64;
            AlertLooked { masters, counts: channel.status(now), ..looked }
        }))
    }

    async fn alerts(&self) -> Result<AlertRecords, StoreError> {
        Ok(self.with(|channel, now| channel.alerts.records(now)))
    }

    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError> {
        Ok(self.with(|channel, now| channel.alerts.silence(rule, time, now)))
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        Ok(self.with(|channel, _| channel.get(id)))
    }

    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        Ok(self.with(|channel, _| channel.outputs.get(&id).cloned()))
    }

    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError> {
        Ok(self.with(|channel, now| channel.kept.page(now, after, limit)))
    }

    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        Ok(self.with(|channel, now| channel.kept.get(now, id)))
    }

    async fn trim_kept(&self) -> Result<KeptTrim, StoreError> {
        Ok(self.with(|channel, now| channel.kept.trim(now)))
    }

    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        Ok(self.with(|channel, now| channel.holder_of(key, now)))
    }

    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        Ok(self.with(|channel, _| channel.list(state, after, limit)))
    }

    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        Ok(self.with(|channel, now| channel.requeue(now, jobs)))
    }

    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        Ok(self.with(|channel, _| channel.discard(ids)))
    }

    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError> {
        Ok(self.with(|channel, _| channel.clear(which)))
    }

    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.with(|channel, now| channel.set_pause(now, time)))
    }

    async fn resume(&self) -> Result<bool, StoreError> {
        Ok(self.with(Channel::resume))
    }

    async fn durability(&self) -> Result<String, StoreError> {
        Ok("memory".to_owned())
    }
}
