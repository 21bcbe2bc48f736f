//! The calls of the channel to its store: one at a time, in order, and no call is sent a second time.
//!
//! Owns: the call in flight, the owner this master is in the store, its lease, the health of the store, and the
//! store's clock. A call whose reply was lost is not sent again. The next call asks which jobs this master holds
//! ([`Call::Held`]); the answer tells which settlements were recorded, and which jobs the lost reply had leased.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::kept_runs::KeptCleanUp;
use super::store_health::StoreHealth;
use crate::job::{JobId, Timestamp};
use crate::store::{
    ChannelLimits, ClockWatch, KeyRelease, LEASE, Leased, LowerPriorities, MAX_BATCH_BYTES, Owner, Reap,
    Settlement, Store, StoreError, Summary, Turn, TurnReply,
};

/// Age at which a lease is renewed, even without jobs to settle or to lease.
const RENEW_AFTER: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Average time between two searches for expired leases; a master searches only while its own connection has held
/// for as long, because a master that was cut off must not reap others on its return.
const REAP_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Largest random extension of [`REAP_INTERVAL`], as its part, so that masters do not search at the same moment.
const REAP_SPREAD: f64 = 0.2;

/// Records each owner that a channel becomes, where the next master of this machine finds it.
pub struct OnJoin(pub Box<dyn FnMut(&Owner) + Send>);

impl fmt::Debug for OnJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnJoin")
    }
}

/// A call to the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    /// Return the jobs of an owner that is known to be dead.
    ReapOwner(Owner),
    /// Become an owner.
    Join,
    /// List the jobs that this master holds.
    Held,
    /// Read the records of jobs that were leased in a lost reply.
    Fetch(Vec<JobId>),
    /// Lease one job by id.
    Take(JobId),
    /// Renew the lease, settle, lease.
    Turn(TurnRequest),
    /// Return the jobs of owners whose lease has expired.
    ReapExpired,
    /// Return all jobs and end the owner.
    Leave,
}

/// The content of a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TurnRequest {
    /// Number of jobs to lease.
    pub(super) want: usize,
    /// Lower priorities whose front job goes first; `None` without `priority_max_wait`.
    pub(super) overdue: Option<LowerPriorities>,
    pub(super) settlements: Vec<Settlement>,
    pub(super) releases: Vec<KeyRelease>,
    /// The summary to publish.
    pub(super) publish: Option<Summary>,
}

/// The reply to a call.
#[derive(Debug)]
pub(super) enum CallReply {
    OwnerReaped(Owner, u64),
    Joined(Owner),
    Held(Vec<JobId>),
    Fetched(Vec<Leased>),
    Taken(Option<Box<Leased>>),
    Turned(TurnRequest, TurnReply),
    ExpiredReaped(u64),
    Left,
}

/// A call without a reply. The store may have acted on it.
#[derive(Debug)]
pub(super) struct FailedCall {
    pub(super) error: StoreError,
    /// The content of the turn, if the call was one.
    pub(super) request: TurnRequest,
}

impl From<StoreError> for FailedCall {
    fn from(error: StoreError) -> Self {
        Self { error, request: TurnRequest::default() }
    }
}

/// The end of a call.
pub(super) type CallResult = Result<CallReply, FailedCall>;

struct InFlight {
    began: Instant,
    future: Pin<Box<dyn Future<Output = CallResult> + Send>>,
}

/// The call in flight to the store, and the state that replies have left.
pub(super) struct StoreCalls {
    store: Arc<dyn Store>,
    on_join: OnJoin,
    /// The limits to record at a join; `None` leaves those of the store.
    limits: Option<ChannelLimits>,
    /// This master in the store; `None` before it has joined and after it has left or lost its lease.
    owner: Option<Owner>,
    /// Number of the last call of this owner: the store ignores calls that arrive out of order.
    seq: u64,
    in_flight: Option<InFlight>,
    /// The removal of what an interrupted clear has left behind.
    clear_finish: JoinSet<()>,
    kept_clean_up: KeptCleanUp,
    /// Start of the last call that renewed the lease: the store renewed at some moment after that.
    renewed: Instant,
    /// When to search for expired leases.
    reap_at: Instant,
    pub(super) health: StoreHealth,
    /// The store's clock as the turns have shown it.
    pub(super) clock: ClockWatch,
}

impl StoreCalls {
    pub(super) fn new(store: Arc<dyn Store>, on_join: OnJoin, now: Instant) -> Self {
        Self {
            store,
            on_join,
            limits: None,
            owner: None,
            seq: 0,
            in_flight: None,
            clear_finish: JoinSet::new(),
            kept_clean_up: KeptCleanUp::new(),
            renewed: now,
            reap_at: now + REAP_INTERVAL,
            health: StoreHealth::new(now),
            clock: ClockWatch::default(),
        }
    }

    /// Records these limits in the store at each join.
    pub(super) fn recording(self, limits: ChannelLimits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// This master in the store, while it is an owner.
    pub(super) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Whether a call may start now.
    pub(super) fn can_start(&self, now: Instant) -> bool {
        self.in_flight.is_none() && self.health.retry_at(now).is_none()
    }

    /// Whether the lease must be renewed now.
    pub(super) fn renewal_is_due(&self, now: Instant) -> bool {
        self.owner.is_some() && self.renewed + RENEW_AFTER <= now
    }

    /// Whether the lease may have expired unnoticed: the store was unavailable, or this process was suspended. Nothing is dispatched until a call has renewed it.
    pub(super) fn lease_may_be_lost(&self, now: Instant) -> bool {
        now >= self.renewed + LEASE
    }

    /// Whether to search for expired leases now.
    pub(super) fn reap_is_due(&self, now: Instant) -> bool {
        self.reap_at() <= now
    }

    fn reap_at(&self) -> Instant {
        self.reap_at.max(self.health.reachable_for(REAP_INTERVAL))
    }

    /// When the next call may or must start if nothing happens; `turn_at` is when the channel needs a turn.
    pub(super) fn next_call_at(&self, turn_at: Option<Instant>, now: Instant) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        if let Some(retry_at) = self.health.retry_at(now) {
            return Some(retry_at);
        }
        self.owner.as_ref()?;
        turn_at.into_iter().chain([self.renewed + RENEW_AFTER, self.reap_at()]).min()
    }

    /// The store's clock, extrapolated by the local clock; `None` before the first turn.
    pub(super) fn store_time(&self, now: Instant) -> Option<Timestamp> {
        self.clock.time(now)
    }

    /// Starts a call. The caller has asked [`StoreCalls::can_start`].
    pub(super) fn start(&mut self, call: Call, now: Instant) {
        if matches!(call, Call::ReapExpired) {
            self.finish_clear();
        }
        let store = Arc::clone(&self.store);
        let owner = self.owner.clone();
        let limits = self.limits;
        self.seq += 1;
        let seq = self.seq;
        let owner = move || owner.expect("only an owner makes this call");
        let future = Box::pin(async move {
            Ok(match call {
                Call::ReapOwner(dead) => {
                    let jobs = store.reap(Reap::Owner(&dead)).await?;
                    CallReply::OwnerReaped(dead, jobs)
                }
                Call::Join => {
                    if let Some(limits) = limits {
                        store.record_limits(limits).await?;
                    }
                    CallReply::Joined(store.join().await?)
                }
                Call::Held => CallReply::Held(store.held(&owner(), seq).await?),
                Call::Fetch(ids) => CallReply::Fetched(store.fetch(&owner(), &ids).await?),
                Call::Take(id) => CallReply::Taken(store.take(&owner(), seq, id).await?.map(Box::new)),
                Call::Turn(request) => {
                    let owner = owner();
                    let turn = Turn {
                        owner: &owner,
                        seq,
                        settlements: &request.settlements,
                        releases: &request.releases,
                        want: request.want,
                        max_bytes: MAX_BATCH_BYTES,
                        overdue: request.overdue,
                        publish: request.publish.as_ref(),
                    };
                    match store.turn(turn).await {
                        Ok(reply) => CallReply::Turned(request, reply),
                        Err(error) => return Err(FailedCall { error, request }),
                    }
                }
                Call::ReapExpired => CallReply::ExpiredReaped(store.reap(Reap::Expired).await?),
                Call::Leave => {
                    store.leave(&owner()).await?;
                    CallReply::Left
                }
            })
        });
        self.in_flight = Some(InFlight { began: now, future });
    }

    /// Has the store finish an interrupted clear: its jobs would count in the limits of the channel until the next clear. In a task
    /// of its own, because many jobs take longer than the lease may wait.
    fn finish_clear(&mut self) {
        while self.clear_finish.try_join_next().is_some() {}
        if self.clear_finish.is_empty() {
            let store = Arc::clone(&self.store);
            self.clear_finish.spawn(async move {
                // An error of the store is met by the next turn, which reports it.
                let _ = store.finish_clear().await;
            });
        }
    }

    /// Has the store remove kept jobs that have become too old, if that is due; `keeps` tells whether the channel keeps any.
    pub(super) fn trim_kept(&mut self, keeps: bool, now: Instant) {
        self.kept_clean_up.start(&self.store, keeps, now);
    }

    /// The end of the call in flight, and when the call began; pending while there is none.
    pub(super) async fn next(&mut self) -> (CallResult, Instant) {
        match &mut self.in_flight {
            Some(call) => {
                let (result, began) = (call.future.as_mut().await, call.began);
                self.in_flight = None;
                (result, began)
            }
            None => std::future::pending().await,
        }
    }

    /// Duration of the call in flight; `None` when there is none.
    pub(super) fn in_flight_for(&self, now: Instant) -> Option<Duration> {
        self.in_flight.as_ref().map(|call| now.saturating_duration_since(call.began))
    }

    /// Records a renewal of the lease by a call that began at `began`.
    pub(super) fn renewed(&mut self, began: Instant) {
        self.renewed = began;
    }

    /// Records that this master is an owner since a call that began at `began`.
    pub(super) fn joined(&mut self, owner: Owner, began: Instant) {
        (self.on_join.0)(&owner);
        self.owner = Some(owner);
        self.seq = 0;
        self.renewed = began;
    }

    /// Records that this master is no owner any more: it has left, or its lease is lost.
    pub(super) fn left(&mut self) {
        self.owner = None;
    }

    /// Schedules the next search for expired leases.
    pub(super) fn expired_reaped(&mut self, now: Instant) {
        self.reap_at = next_reap(now, fastrand::f64());
    }
}

/// When to search again for expired leases; `random` is in 0..1.
fn next_reap(now: Instant, random: f64) -> Instant {
    now + REAP_INTERVAL.mul_f64(1.0 + random * REAP_SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::Model;

    const T0: Timestamp = Timestamp(1_790_000_000_000_000);

    fn calls(now: Instant) -> StoreCalls {
        StoreCalls::new(Arc::new(Model::ticking(T0)), OnJoin(Box::new(|_| {})), now)
    }

    async fn joined(now: Instant) -> StoreCalls {
        let mut calls = calls(now);
        calls.start(Call::Join, now);
        let (Ok(CallReply::Joined(owner)), began) = calls.next().await else {
            panic!("a model store accepts")
        };
        calls.joined(owner, began);
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_is_in_flight_at_a_time() {
        let now = Instant::now();
        let mut calls = calls(now);
        assert!(calls.can_start(now));
        calls.start(Call::Join, now);
        assert!(!calls.can_start(now) && calls.next_call_at(Some(now), now).is_none());
        assert_eq!(calls.in_flight_for(now + Duration::from_secs(3)), Some(Duration::from_secs(3)));
        let _ = calls.next().await;
        assert!(calls.can_start(now) && calls.in_flight_for(now).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn owner_renews_at_a_third_of_the_lease_counted_from_the_call() {
        let began = Instant::now();
        let mut calls = joined(began).await;
        assert!(!calls.renewal_is_due(began + LEASE / 3 - Duration::from_millis(1)));
        assert!(calls.renewal_is_due(began + LEASE / 3));
        assert_eq!(calls.next_call_at(None, began), Some(began + LEASE / 3));
        let later = began + LEASE / 2;
        calls.renewed(later);
        assert!(!calls.renewal_is_due(later + LEASE / 3 - Duration::from_millis(1)));
        assert!(calls.renewal_is_due(later + LEASE / 3));
    }

    #[test]
    fn lease_is_renewed_and_doubtful_at_its_end() {
        let start = Instant::now();
        let mut calls = calls(start);
        let later = start + LEASE / 2;
        calls.renewed(later);
        assert!(!calls.lease_may_be_lost(later + LEASE - Duration::from_millis(1)));
        assert!(calls.lease_may_be_lost(later + LEASE));
    }

    #[test]
    fn searches_of_several_masters_are_spread() {
        let now = Instant::now();
        assert_eq!(next_reap(now, 0.0), now + REAP_INTERVAL);
        assert_eq!(next_reap(now, 1.0), now + REAP_INTERVAL.mul_f64(1.2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_nothing_starts_before_the_retry_time() {
        let now = Instant::now();
        let mut calls = joined(now).await;
        calls.health.failed("refused".to_owned(), now);
        assert!(!calls.can_start(now));
        let retry_at = calls.next_call_at(Some(now), now).unwrap();
        assert!(retry_at > now && calls.can_start(retry_at));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_leases_are_reaped_only_by_a_well_connected_master() {
        let now = Instant::now();
        let mut calls = joined(now).await;
        let later = now + 2 * REAP_INTERVAL;
        assert!(calls.reap_is_due(later));
        calls.health.failed("refused".to_owned(), later);
        calls.health.succeeded(later);
        assert!(!calls.reap_is_due(later) && calls.reap_is_due(later + REAP_INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn store_time_follows_the_local_clock() {
        let now = Instant::now();
        let mut calls = calls(now);
        assert_eq!(calls.store_time(now), None);
        calls.clock.observe(T0, now, now);
        assert_eq!(calls.store_time(now + Duration::from_secs(5)), Some(T0.after(Duration::from_secs(5))));
    }
}
