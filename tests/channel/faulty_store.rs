//! A store that fails on demand: the call is lost before the store applies it, or the reply is lost after.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use aint_queue::job::{JobId, JobMeta, JobOutput, NewJob, Timestamp};
use aint_queue::store::model::Model;
use aint_queue::store::{
    AlertLook, AlertLooked, AlertRecords, ChannelLimits, Claim, Clear, Cleared, Cursor, JobCounts, JobState,
    JobView, KeptPage, KeptTrim, KeptView, Leased, LimitDecision, Owner, OwnerView, Page, PushError, Pushed,
    Reap, Store, StoreError, Turn, TurnReply,
};
use async_trait::async_trait;

/// The fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call succeeds.
    None,
    /// The call takes this long to reach the store.
    Slow(Duration),
    /// The call does not reach the store.
    Lost,
    /// The store applies the call, and the reply is lost.
    ReplyLost,
}

/// Chooses the fault of each call by its name.
pub type Plan = Box<dyn FnMut(&str) -> Fault + Send>;

#[derive(Clone)]
pub struct FaultyStore {
    pub model: Arc<Model>,
    plan: Arc<Mutex<Plan>>,
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl FaultyStore {
    pub fn new(model: Model, plan: impl FnMut(&str) -> Fault + Send + 'static) -> Self {
        Self { model: Arc::new(model), plan: Arc::new(Mutex::new(Box::new(plan))) }
    }

    async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let unavailable = || StoreError::Unavailable {
            place: "the faulty store".into(),
            doing: name,
            source: "fault injected by the test".into(),
        };
        let fault = (self.plan.lock().unwrap())(name);
        match fault {
            Fault::Lost => Err(unavailable()),
            Fault::None => call.await,
            Fault::Slow(time) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Fault::ReplyLost => {
                call.await?;
                Err(unavailable())
            }
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        self.model.push(jobs).await
    }
    async fn join(&self) -> Result<Owner, StoreError> {
        self.call("join", self.model.join()).await
    }
    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError> {
        self.model.record_limits(limits).await
    }
    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        self.call("turn", self.model.turn(turn)).await
    }
    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError> {
        self.call("claim", self.model.claim(owner, claims)).await
    }
    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError> {
        self.call("held", self.model.held(owner, seq)).await
    }
    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        self.call("fetch", self.model.fetch(owner, ids)).await
    }
    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError> {
        self.call("take", self.model.take(owner, seq, id)).await
    }
    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError> {
        self.model.masters().await
    }
    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError> {
        self.call("leave", self.model.leave(owner)).await
    }
    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError> {
        self.model.reap(target).await
    }
    async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        self.call("wait", self.model.wait(timeout)).await
    }
    async fn status(&self) -> Result<JobCounts, StoreError> {
        self.model.status().await
    }
    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        self.call("look_at_alerts", self.model.look_at_alerts(look)).await
    }
    async fn alerts(&self) -> Result<AlertRecords, StoreError> {
        self.model.alerts().await
    }
    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError> {
        self.model.silence(rule, time).await
    }
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        self.model.get(id).await
    }
    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        self.model.output(id).await
    }
    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError> {
        self.model.kept(after, limit).await
    }
    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        self.model.kept_job(id).await
    }
    async fn trim_kept(&self) -> Result<KeptTrim, StoreError> {
        self.model.trim_kept().await
    }
    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        self.model.holder(key).await
    }
    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.model.list(state, after, limit).await
    }
    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        self.model.requeue(jobs).await
    }
    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        self.model.discard(ids).await
    }
    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError> {
        self.model.clear(which).await
    }
    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        self.model.pause(time).await
    }
    async fn resume(&self) -> Result<bool, StoreError> {
        self.model.resume().await
    }
    async fn durability(&self) -> Result<String, StoreError> {
        self.model.durability().await
    }
}
