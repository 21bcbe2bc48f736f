//! Opens the store on first use. Until that succeeds every call returns `Unavailable` or the error of the open, so callers' normal
//! back-off applies.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::job::{JobId, JobMeta, JobOutput, NewJob, Timestamp};
use crate::store::{
    AlertLook, AlertLooked, AlertRecords, ChannelLimits, Claim, Clear, Cleared, Cursor, JobCounts, JobState,
    JobView, KeptPage, KeptTrim, KeptView, Leased, LimitDecision, Owner, OwnerView, Page, PushError, Pushed,
    Reap, Store, StoreError, StoreIdentity, Turn, TurnReply,
};

/// An attempt to open a store.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>, StoreError>> + Send>>;

/// A store that its first call opens.
pub(crate) struct LazyStore {
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    store: OnceCell<Arc<dyn Store>>,
    failed: Mutex<Failed>,
}

/// The failed attempts to open the store.
#[derive(Default)]
struct Failed {
    attempts: u64,
    /// The error of the last attempt.
    last: Option<StoreError>,
}

impl LazyStore {
    /// A store that `open` opens on first use.
    pub(crate) fn new(open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        Self { open: Box::new(open), store: OnceCell::new(), failed: Mutex::default() }
    }

    /// The opened store. Concurrent callers share one attempt and its error: while a store does not respond an attempt takes
    /// long, and one attempt per caller, one after the other, would delay the last caller by all of them.
    async fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        let before = self.failed().attempts;
        let opening = || async {
            // An attempt that failed after this call began is the one this caller has waited for.
            if let Failed { attempts, last: Some(error) } = &*self.failed()
                && *attempts > before
            {
                return Err(error.again());
            }
            let opened = (self.open)().await;
            if let Err(error) = &opened {
                let mut failed = self.failed();
                *failed = Failed { attempts: failed.attempts + 1, last: Some(error.again()) };
            }
            opened
        };
        self.store.get_or_try_init(opening).await
    }

    fn failed(&self) -> MutexGuard<'_, Failed> {
        lock(&self.failed)
    }
}

impl fmt::Debug for LazyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyStore").field("store", &self.store.get()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for LazyStore {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        self.store().await?.push(jobs).await
    }
    async fn join(&self) -> Result<Owner, StoreError> {
        self.store().await?.join().await
    }
    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError> {
        self.store().await?.record_limits(limits).await
    }
    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        self.store().await?.turn(turn).await
    }
    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError> {
        self.store().await?.claim(owner, claims).await
    }
    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError> {
        self.store().await?.held(owner, seq).await
    }
    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        self.store().await?.fetch(owner, ids).await
    }
    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError> {
        self.store().await?.take(owner, seq, id).await
    }
    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError> {
        self.store().await?.masters().await
    }
    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError> {
        self.store().await?.leave(owner).await
    }
    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError> {
        self.store().await?.reap(target).await
    }
    async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        self.store().await?.wait(timeout).await
    }
    async fn status(&self) -> Result<JobCounts, StoreError> {
        self.store().await?.status().await
    }
    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        self.store().await?.look_at_alerts(look).await
    }
    async fn alerts(&self) -> Result<AlertRecords, StoreError> {
        self.store().await?.alerts().await
    }
    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError> {
        self.store().await?.silence(rule, time).await
    }
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        self.store().await?.get(id).await
    }
    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        self.store().await?.output(id).await
    }
    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError> {
        self.store().await?.kept(after, limit).await
    }
    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        self.store().await?.kept_job(id).await
    }
    async fn trim_kept(&self) -> Result<KeptTrim, StoreError> {
        self.store().await?.trim_kept().await
    }
    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        self.store().await?.holder(key).await
    }
    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.store().await?.list(state, after, limit).await
    }
    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        self.store().await?.requeue(jobs).await
    }
    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        self.store().await?.discard(ids).await
    }
    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError> {
        self.store().await?.clear(which).await
    }
    async fn finish_clear(&self) -> Result<(), StoreError> {
        self.store().await?.finish_clear().await
    }
    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        self.store().await?.pause(time).await
    }
    async fn resume(&self) -> Result<bool, StoreError> {
        self.store().await?.resume().await
    }
    async fn unlisted(&self) -> Result<u64, StoreError> {
        self.store().await?.unlisted().await
    }
    async fn durability(&self) -> Result<String, StoreError> {
        self.store().await?.durability().await
    }
    fn identity(&self) -> Option<StoreIdentity> {
        self.store.get()?.identity()
    }
    fn damage(&self) -> Option<String> {
        self.store.get()?.damage()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::job::error_chain;
    use crate::store::model::Model;

    fn unavailable() -> StoreError {
        StoreError::Unavailable {
            place: "here".into(),
            doing: "opening it",
            source: "connection refused".into(),
        }
    }

    #[tokio::test]
    async fn waiters_share_a_failed_open_attempt() {
        let (attempts, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, release) = (Arc::clone(&attempts), Arc::clone(&answers));
        let store = LazyStore::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let release = Arc::clone(&release);
            Box::pin(async move {
                release.acquire().await.unwrap().forget();
                Err(unavailable())
            })
        });
        let mut calls: Vec<_> = (0..20).map(|_| Box::pin(store.status())).collect();
        // All calls wait before the attempt ends.
        for call in &mut calls {
            assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
        }
        answers.add_permits(calls.len() + 1);
        for call in calls {
            let why = call.await.unwrap_err();
            assert_eq!(error_chain(&why), error_chain(&unavailable()));
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
        // A later call makes a new attempt.
        assert!(store.status().await.is_err());
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn every_call_retries_opening_until_success() {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let store = LazyStore::new(move || {
            let is_down = counted.fetch_add(1, Ordering::Relaxed) < 2;
            Box::pin(async move {
                if is_down {
                    return Err(unavailable());
                }
                Ok(Arc::new(Model::ticking(Timestamp(1))) as Arc<dyn Store>)
            })
        });
        assert_eq!(attempts.load(Ordering::Relaxed), 0, "no call, no attempt");
        assert!(matches!(store.join().await, Err(StoreError::Unavailable { .. })));
        assert!(matches!(store.status().await, Err(StoreError::Unavailable { .. })));
        let owner = store.join().await.unwrap();
        assert_eq!(store.held(&owner, 1).await.unwrap(), []);
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
    }
}
