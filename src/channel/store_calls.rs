//! The channel's calls to its store: one at a time, in the right order, never sent twice.
//!
//! A call whose reply was lost is not repeated. The next thing asked is what we hold ([`Call::Held`]), and the answer
//! tells which settlements were heard and which jobs were leased to us without our knowing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::job::JobId;
use crate::job::error_chain;
use crate::store::{
    KeyRelease, LEASE, Leased, MAX_BATCH, MAX_BATCH_BYTES, Owner, Reap, Settlement, Store, StoreError, Turn,
    TurnReply,
};

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Free what an owner held that is known to be dead.
    Free(Owner),
    /// Become an owner.
    Join,
    /// Ask what we hold.
    Held,
    /// Get the records of jobs we hold without knowing them.
    Fetch(Vec<JobId>),
    /// Lease one job by id.
    Take(JobId),
    /// Renew, settle, lease.
    Turn {
        /// How many to lease.
        want: usize,
    },
    /// Free what owners held whose lease has run out.
    Reap,
    /// Give everything back and end the owner.
    Leave,
}

/// The end of a call.
#[derive(Debug)]
pub(super) enum CallResult {
    Freed(Owner, Result<u64, StoreError>),
    Joined(Result<Owner, StoreError>),
    Held(Result<Vec<JobId>, StoreError>),
    Fetched(Result<Vec<Leased>, StoreError>),
    Taken(Result<Option<Leased>, StoreError>),
    Turned {
        settlements: Vec<Settlement>,
        releases: Vec<KeyRelease>,
        want: usize,
        result: Result<TurnReply, StoreError>,
    },
    Reaped(Result<u64, StoreError>),
    Left(Result<u64, StoreError>),
}

type InFlight = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// The state of the conversation with the store.
pub(super) struct StoreCalls {
    store: Arc<dyn Store>,
    /// The channel's name, for the log.
    channel: Arc<str>,
    pub(super) owner: Option<Owner>,
    seq: u64,
    in_flight: Option<InFlight>,
    /// When the call in flight, or the last one that renewed the lease, began.
    renewed: Instant,
    began: Instant,
    /// Not before this time, after an error.
    retry_at: Option<Instant>,
    backoff: ExponentialBackoff,
    /// Since when the store has answered without error.
    reachable_since: Instant,
    reap_at: Instant,
    error_text: Option<String>,
}

impl StoreCalls {
    pub(super) fn new(store: Arc<dyn Store>, channel: Arc<str>) -> Self {
        let now = Instant::now();
        Self {
            store,
            channel,
            owner: None,
            seq: 0,
            in_flight: None,
            renewed: now,
            began: now,
            retry_at: None,
            backoff: backoff(),
            reachable_since: now,
            reap_at: now + LEASE / 3,
            error_text: None,
        }
    }

    /// Whether a call may be started now.
    pub(super) fn can_start(&self) -> bool {
        self.in_flight.is_none() && self.retry_at.is_none_or(|at| at <= Instant::now())
    }

    /// Whether the lease should be renewed although there is nothing else to say.
    pub(super) fn renewal_is_due(&self) -> bool {
        self.owner.is_some() && self.renewed.elapsed() >= LEASE / 3
    }

    /// Whether the lease may have run out without our knowing: the store was away, or we were not running.
    pub(super) fn lease_may_be_lost(&self) -> bool {
        self.renewed.elapsed() >= LEASE
    }

    /// Whether it is time to look for dead owners: regularly, and only by a master whose own
    /// connection has held for a while, for it might be the one that is cut off.
    pub(super) fn reap_is_due(&self) -> bool {
        Instant::now() >= self.reap_at && self.reachable_since.elapsed() >= LEASE / 3
    }

    /// When a call may or should be started next, if nothing happens; `turn_at` is when the channel wants one.
    pub(super) fn next_timer(&self, turn_at: Option<Instant>) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        if let Some(retry) = self.retry_at.filter(|at| *at > Instant::now()) {
            return Some(retry);
        }
        self.owner.as_ref()?;
        let renewal = self.renewed + LEASE / 3;
        let reap = self.reap_at.max(self.reachable_since + LEASE / 3);
        [Some(renewal), Some(reap), turn_at].into_iter().flatten().min()
    }

    /// What is wrong with the store now, for people.
    pub(super) fn error_text(&self) -> Option<&str> {
        self.error_text.as_deref()
    }

    /// Starts a call. `settlements` and `releases` go with a turn.
    pub(super) fn start(&mut self, call: Call, settlements: Vec<Settlement>, releases: Vec<KeyRelease>) {
        let store = Arc::clone(&self.store);
        let owner = self.owner.clone();
        self.seq += 1;
        let seq = self.seq;
        self.began = Instant::now();
        let mine = move || owner.expect("these calls are made by an owner");
        self.in_flight = Some(Box::pin(async move {
            match call {
                Call::Free(dead) => {
                    let result = store.reap(Reap::Owner(&dead)).await;
                    CallResult::Freed(dead, result)
                }
                Call::Join => CallResult::Joined(store.join().await),
                Call::Held => CallResult::Held(store.held(&mine(), seq).await),
                Call::Fetch(ids) => CallResult::Fetched(store.fetch(&mine(), &ids).await),
                Call::Take(id) => CallResult::Taken(store.take(&mine(), seq, id).await),
                Call::Turn { want } => {
                    let want = want.min(MAX_BATCH);
                    let owner = mine();
                    let turn = Turn {
                        owner: &owner,
                        seq,
                        settlements: &settlements,
                        releases: &releases,
                        want,
                        max_bytes: MAX_BATCH_BYTES,
                    };
                    let result = store.turn(turn).await;
                    CallResult::Turned { settlements, releases, want, result }
                }
                Call::Reap => CallResult::Reaped(store.reap(Reap::Expired).await),
                Call::Leave => CallResult::Left(store.leave(&mine()).await),
            }
        }));
    }

    /// The end of the call in flight; never, when there is none.
    pub(super) async fn done(&mut self) -> CallResult {
        match &mut self.in_flight {
            Some(call) => {
                let done = call.await;
                self.in_flight = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// How long the last call took.
    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long the call that is under way has been; `None` when there is none.
    pub(super) fn call_duration(&self) -> Option<Duration> {
        self.in_flight.as_ref().map(|_| self.began.elapsed())
    }

    /// A call worked.
    pub(super) fn succeeded(&mut self, renewed: bool) {
        if renewed {
            // Counted from before the call: the store renewed at some moment after that.
            self.renewed = self.began;
        }
        if self.error_text.take().is_some() {
            tracing::info!(channel = %self.channel, "the store answers again");
            self.reachable_since = Instant::now();
        }
        self.retry_at = None;
        self.backoff = backoff();
    }

    /// A call did not work; answers whether this is news.
    pub(super) fn failed(&mut self, error: &StoreError) -> bool {
        let delay = self.backoff.next().unwrap_or(Duration::from_secs(1));
        self.retry_at = Some(Instant::now() + delay);
        self.reachable_since = Instant::now();
        let text = error_chain(error);
        let news = self.error_text.as_ref() != Some(&text);
        self.error_text = Some(text);
        news
    }

    /// We are an owner now.
    pub(super) fn joined(&mut self, owner: Owner) {
        self.owner = Some(owner);
        self.seq = 0;
        self.succeeded(true);
    }

    /// A look for dead owners has ended; `more` when it freed something.
    pub(super) fn reaped(&mut self) {
        // Spread a little, so that several masters do not look at the same moment.
        self.reap_at = Instant::now() + (LEASE / 3).mul_f64(1.0 + fastrand::f64() / 5.0);
    }
}

impl fmt::Debug for StoreCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCalls")
            .field("owner", &self.owner)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// From 50 ms to 1 s: a store that is back is noticed within two seconds.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .build()
}
