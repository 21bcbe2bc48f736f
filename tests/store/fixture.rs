//! The driver interface of the suite, and helpers that state cases briefly.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::{JobId, JobMeta, JobRecord, NewJob, Payload, Priority, Start, UniqueUntil};
use aint_queue::store::{
    Claim, Clear, Cleared, Destination, JobState, JobView, KeyRelease, Leased, LimitDecision, OutputChange,
    Owner, SettleConflict, Settlement, Store, StoreError, Turn, TurnReply,
};
use async_trait::async_trait;

/// A private store of one test: opens handles on its channels and manipulates it as only tests do.
///
/// Dropping the driver removes the store.
#[async_trait]
pub trait Driver: Send + Sync {
    /// A new handle, with its own connections, on a channel of this store. Leases outlive every test, and the reaper trusts
    /// expired leases from the start.
    async fn open(&self, channel: &str) -> Arc<dyn Store>;

    /// Expires the lease of one owner now, by storing a past deadline.
    async fn expire_lease(&self, channel: &str, owner: &Owner);

    /// Advances the store's clock by at least `time`: moves it, or sleeps.
    async fn pass(&self, time: Duration);

    /// Steps the store's clock by microseconds, forward or back.
    async fn step_clock(&self, micros: i64);

    /// Overwrites the record of a job with `text`, which is not a record, as another program might.
    async fn corrupt_record(&self, channel: &str, id: JobId, text: &str);

    /// Removes the record of a job and nothing else.
    async fn delete_record(&self, channel: &str, id: JobId);

    /// Begins a clear and abandons it after its first step, as a process does that ends then. `None` when the rest is left to the
    /// next clear.
    async fn cut_clear(&self, _channel: &str, store: &Arc<dyn Store>, which: Clear) -> Option<Cleared> {
        Some(store.clear(which).await.unwrap())
    }

    /// Deletes the last assigned id, like a store that lost its latest writes.
    async fn forget_last_id(&self, channel: &str);
}

/// The channel of the cases.
pub const CHANNEL: &str = "test";

/// The environment of a case: an empty store, and a handle on [`CHANNEL`].
pub struct Fixture {
    pub driver: Box<dyn Driver>,
    pub store: Arc<dyn Store>,
}

/// Runs one case on a fresh store.
pub fn run<S, C>(start: impl FnOnce() -> S, case: impl FnOnce(Fixture) -> C)
where
    S: Future<Output = Box<dyn Driver>>,
    C: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = start().await;
        let store = driver.open(CHANNEL).await;
        let case = case(Fixture { driver, store });
        tokio::time::timeout(Duration::from_secs(60), case).await.expect("the case ends within a minute");
    });
}

impl Fixture {
    /// Another handle on the same channel, as another process would have.
    pub async fn another_handle(&self) -> Arc<dyn Store> {
        self.driver.open(CHANNEL).await
    }

    /// A new owner on the first handle.
    pub async fn master(&self) -> Master {
        Master::join(&self.store).await
    }

    /// Pushes jobs named `j0`, `j1`, … that may run now.
    pub async fn push(&self, count: usize) -> Vec<JobId> {
        let jobs: Vec<_> = (0..count).map(|n| job(&format!("j{n}"))).collect();
        self.push_all(&jobs).await
    }

    /// Pushes these jobs, in several batches if necessary.
    pub async fn push_all(&self, jobs: &[NewJob]) -> Vec<JobId> {
        let mut ids = Vec::new();
        for batch in jobs.chunks(aint_queue::store::MAX_BATCH) {
            ids.extend(self.store.push(batch).await.unwrap().into_iter().map(|pushed| pushed.id()));
        }
        ids
    }

    /// The counts, in the order of the status table: waiting, reserved, delayed, done, failed; and cleared.
    pub async fn counts(&self) -> [u64; 6] {
        let s = self.store.status().await.unwrap();
        [s.waiting, s.reserved, s.delayed, s.done, s.failed, s.cleared]
    }

    /// Every job of a state, in its order.
    pub async fn all(&self, state: JobState) -> Vec<JobView> {
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(state, after, 100).await.unwrap();
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                return jobs;
            }
        }
    }

    /// The ids of every job of a state, in its order.
    pub async fn ids(&self, state: JobState) -> Vec<JobId> {
        self.all(state).await.into_iter().map(|job| job.id).collect()
    }
}

/// An owner that counts its calls.
pub struct Master {
    pub store: Arc<dyn Store>,
    pub owner: Owner,
    pub seq: u64,
}

impl Master {
    pub async fn join(store: &Arc<dyn Store>) -> Self {
        let owner = store.join().await.unwrap();
        Self { store: Arc::clone(store), owner, seq: 0 }
    }

    /// The `seq` of the next call.
    pub fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub async fn turn(&mut self, settlements: &[Settlement], want: usize) -> Result<TurnReply, StoreError> {
        let seq = self.next();
        self.turn_as(seq, settlements, want).await
    }

    /// A turn with an explicit `seq`.
    pub async fn turn_as(
        &self,
        seq: u64,
        settlements: &[Settlement],
        want: usize,
    ) -> Result<TurnReply, StoreError> {
        let turn = Turn {
            owner: &self.owner,
            seq,
            settlements,
            releases: &[],
            want,
            max_bytes: usize::MAX,
            overdue: None,
            publish: None,
        };
        self.store.turn(turn).await
    }

    /// Leases up to `want` readable jobs.
    pub async fn lease(&mut self, want: usize) -> Vec<JobRecord> {
        self.turn(&[], want).await.unwrap().leased.into_iter().map(record).collect()
    }

    /// Leases exactly these, in this order.
    pub async fn lease_exactly(&mut self, ids: &[JobId]) -> Vec<JobRecord> {
        let leased = self.lease(ids.len()).await;
        assert_eq!(leased.iter().map(|r| r.id).collect::<Vec<_>>(), ids);
        leased
    }

    /// Settles and returns the conflicts.
    pub async fn settle(&mut self, settlements: &[Settlement]) -> Vec<(JobId, SettleConflict)> {
        self.turn(settlements, 0).await.unwrap().conflicts
    }

    /// Settles and releases without conflicts.
    pub async fn free(&mut self, settlements: &[Settlement], releases: &[KeyRelease]) {
        let seq = self.next();
        let turn = Turn {
            owner: &self.owner,
            seq,
            settlements,
            releases,
            want: 0,
            max_bytes: usize::MAX,
            overdue: None,
            publish: None,
        };
        assert_eq!(self.store.turn(turn).await.unwrap().conflicts, []);
    }

    /// Makes one claim.
    pub async fn claim(&self, claim: Claim) -> LimitDecision {
        let answers = self.store.claim(&self.owner, &[claim]).await.unwrap();
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    /// The ids that the store reports as held by this owner, ascending.
    pub async fn held(&mut self) -> Vec<JobId> {
        let seq = self.next();
        let mut held = self.store.held(&self.owner, seq).await.unwrap();
        held.sort_unstable();
        held
    }
}

/// A job without options that may run now.
pub fn job(name: &str) -> NewJob {
    NewJob::new(name, Payload::parse(format!("{{\"name\":\"{name}\"}}")).unwrap())
}

/// A job with this payload.
pub fn of_payload(name: &str, payload: &str) -> NewJob {
    NewJob::new(name, Payload::parse(payload).unwrap())
}

/// A delayed job.
pub fn later(name: &str, delay: Duration) -> NewJob {
    NewJob { start: Start::After(delay), ..job(name) }
}

/// A job with a unique key.
pub fn unique(name: &str, key: &str) -> NewJob {
    let mut job = job(name);
    job.meta.unique = Some(key.to_owned());
    job
}

/// A job with a unique key held until its start.
pub fn unique_until_start(name: &str, key: &str) -> NewJob {
    let mut job = unique(name, key);
    job.meta.unique_until = UniqueUntil::Start;
    job
}

/// A job with a timed hold on a unique key.
pub fn unique_for(name: &str, key: &str, time: Duration) -> NewJob {
    let mut job = unique(name, key);
    job.meta.unique_for_ms = Some(time.as_millis() as u64);
    job
}

/// The job with this priority.
pub fn of(priority: Priority, mut job: NewJob) -> NewJob {
    job.meta.priority = priority;
    job
}

/// The record of a readable leased job.
pub fn record(leased: Leased) -> JobRecord {
    match leased {
        Leased::Job(record) => record,
        Leased::Malformed { id, why } => panic!("job {id} cannot be read: {why}"),
    }
}

/// A settlement of `record`.
pub fn end(record: &JobRecord, to: impl FnOnce(JobMeta) -> Destination) -> Settlement {
    Settlement {
        id: record.id,
        unique: record.meta.unique.clone(),
        to: to(record.meta.clone()),
        output: OutputChange::Keep,
    }
}

/// A settlement to done.
pub fn done(record: &JobRecord) -> Settlement {
    end(record, |_| Destination::Done)
}

/// A settlement to done by id.
pub fn done_id(id: JobId) -> Settlement {
    Settlement { id, unique: None, to: Destination::Done, output: OutputChange::Keep }
}

/// A settlement to failed after one attempt.
pub fn failed(record: &JobRecord) -> Settlement {
    end(record, |mut meta| {
        meta.attempts += 1;
        meta.failed = Some(aint_queue::job::FailReason::Exhausted);
        Destination::Failed(meta)
    })
}
