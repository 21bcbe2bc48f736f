//! Jobs run in this process, one after the other, without a master and without workers.
//!
//! A [`Runner`] takes jobs from any store and runs them as a master and a worker would between them: the same handlers
//! with the same middleware, the same rules for attempts, time limits, expiry and failed callbacks. It keeps its lease
//! while a job runs, settles each run before it begins the next, and gives back what it holds when it leaves.
//!
//! What a process of its own would give is missing: a handler that ends the process ends this one, and a blocking handler
//! that passes its limit is asked to end, and waited for.

mod link;
mod sync;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::breaker::Breakers;
use crate::job::{
    About, Context, FailReason, JobId, Meta, Outcome, Payload, Record, Registry, State, Timestamp,
    remember_panics,
};
use crate::retry::{Begin, Policy, Terms, frees_first};
use crate::run::{self, Cancel, Service, Services, Started};
use crate::store::{
    self, CrossChannelPush, Free, LEASE, Leased, MAX_BATCH_BYTES, Owner, Place, Settlement, Store,
    StoreError, Turn, TurnReply,
};
use crate::trace::debug;
use link::Asks;
pub(crate) use sync::queue;

/// How long a handler that is asked to end has to do so by itself; it is dropped after a third of it, where it can be.
const GRACE: Duration = Duration::from_millis(300);

/// What runs the jobs of one channel, shared by its runners.
pub(crate) struct Handlers {
    services: Services,
    state: State,
    pub(crate) policy: Policy,
    /// The limit of runs for which nobody says another.
    pub(crate) max_execute: Option<Duration>,
    breakers: Mutex<Breakers>,
    runs: AtomicU64,
    /// Where the store's clock stood at a moment of ours: breakers follow the store's, which a test may move.
    clock: OnceLock<(Timestamp, std::time::Instant)>,
}

/// Where a runner gets its jobs, and what runs them.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) channel: Arc<str>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) handlers: Arc<Handlers>,
    /// Where everything goes that jobs push, also into their own channel.
    pub(crate) pushes: Arc<dyn CrossChannelPush>,
}

/// An owner in this process.
pub(crate) struct Runner {
    setup: Setup,
    owner: Owner,
    seq: u64,
    /// The store's clock at its last answer, and when that was.
    clock: (Timestamp, Instant),
}

/// What became of one job that was held.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) id: JobId,
    pub(crate) job: String,
    pub(crate) attempt: u32,
    /// Whether it was not the job itself, but its failed callback.
    pub(crate) callback: bool,
    /// Where it went.
    pub(crate) to: Place,
    /// What the run ended with, when it was no success.
    pub(crate) error: Option<String>,
}

/// What a runner found.
pub(crate) enum Found {
    /// A job, which was run.
    Ran(Box<Ran>),
    /// Nothing that may run now; something may, after this long.
    Nothing { next_due: Option<Duration> },
}

impl Handlers {
    /// The error says which state cannot be made.
    pub(crate) fn of(
        registry: &Registry,
        policy: Policy,
        max_execute: Option<Duration>,
    ) -> Result<Self, String> {
        remember_panics();
        Ok(Self {
            services: Services::of(registry),
            state: registry.state()?,
            policy,
            max_execute,
            breakers: Mutex::default(),
            runs: AtomicU64::new(0),
            clock: OnceLock::new(),
        })
    }

    /// A time of the store's clock as one of ours.
    fn instant(&self, time: Timestamp) -> std::time::Instant {
        let (first, at) = self.clock.get_or_init(|| (time, std::time::Instant::now()));
        *at + time.since(*first)
    }
}

impl Runner {
    /// Becomes an owner of the store.
    pub(crate) async fn join(setup: Setup) -> Result<Self, StoreError> {
        let owner = setup.store.join().await?;
        let mut runner = Self { setup, owner, seq: 0, clock: (Timestamp(0), Instant::now()) };
        runner.turn(&[], &[], 0).await?;
        Ok(runner)
    }

    /// Gives back what is held, if anything, and ends the owner.
    pub(crate) async fn leave(self) -> Result<(), StoreError> {
        self.setup.store.leave(&self.owner).await.map(drop)
    }

    /// Runs the next job of the channel.
    pub(crate) async fn next(&mut self) -> Result<Found, StoreError> {
        let reply = self.turn(&[], &[], 1).await?;
        match reply.leased.into_iter().next() {
            Some(leased) => Ok(Found::Ran(Box::new(self.run(leased).await?))),
            None => Ok(Found::Nothing { next_due: reply.next_due }),
        }
    }

    /// Runs this job, wherever it is; `None` when it is not there.
    pub(crate) async fn only(&mut self, id: JobId) -> Result<Option<Ran>, StoreError> {
        self.turn(&[], &[], 0).await?;
        self.seq += 1;
        match self.setup.store.take(&self.owner, self.seq, id).await? {
            Some(leased) => Ok(Some(self.run(leased).await?)),
            None => Ok(None),
        }
    }

    async fn turn(
        &mut self,
        settlements: &[Settlement],
        frees: &[Free],
        want: usize,
    ) -> Result<TurnReply, StoreError> {
        self.seq += 1;
        let (owner, seq) = (&self.owner, self.seq);
        let turn = Turn { owner, seq, settlements, frees, want, max_bytes: MAX_BATCH_BYTES };
        let reply = self.setup.store.turn(turn).await?;
        self.clock = (reply.now, Instant::now());
        Ok(reply)
    }

    /// Runs a job that is held, and settles it.
    async fn run(&mut self, leased: Leased) -> Result<Ran, StoreError> {
        let now = self.clock.0;
        let Record { id, meta, payload } = match leased {
            Leased::Job(record) => record,
            Leased::Malformed { id, why } => {
                let meta = Meta::malformed(now, &why);
                let ran = Ran::of(id, &meta, Place::Failed(meta.clone()), Some(why));
                return self.settle(ran, None, Vec::new()).await;
            }
        };
        let handlers = Arc::clone(&self.setup.handlers);
        let service = handlers.services.get(&meta.job);
        let options = service.map(Service::options).unwrap_or_default();
        let mut frees = Vec::new();
        let outcome = match handlers.policy.begin(id, &meta, options, handlers.max_execute, now) {
            Begin::Expired => None,
            Begin::NoCallback => Some(Outcome::Done),
            Begin::Run(terms) => {
                if let Some(free) = frees_first(id, &meta) {
                    self.turn(&[], &[free], 0).await?;
                }
                let (outcome, locks) = self.deliver(id, &meta, payload, terms).await?;
                frees = locks;
                Some(outcome)
            }
        };
        let now = self.clock.0.after(self.clock.1.elapsed());
        let (unique, before) = (meta.unique.clone(), meta.clone());
        let (error, to) = match outcome {
            None => (None, Policy::expire(meta, options, now)),
            Some(outcome) => {
                let error = error_of(&outcome);
                (error, handlers.policy.end(meta, outcome, options, now, chance()))
            }
        };
        self.settle(Ran::of(id, &before, to, error), unique, frees).await
    }

    async fn settle(
        &mut self,
        ran: Ran,
        unique: Option<String>,
        frees: Vec<Free>,
    ) -> Result<Ran, StoreError> {
        let settlement = Settlement { id: ran.id, unique, to: ran.to.clone() };
        let reply = self.turn(&[settlement], &frees, 0).await?;
        #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are only told"))]
        for (id, exception) in reply.exceptions {
            debug!(job = id.0, ?exception, "a job was taken away while it ran: its result is dropped");
        }
        Ok(ran)
    }

    /// Runs a handler, or a failed callback, to its end. Answers what the run no longer holds.
    pub(crate) async fn deliver(
        &mut self,
        id: JobId,
        meta: &Meta,
        payload: Payload,
        terms: Terms,
    ) -> Result<(Outcome, Vec<Free>), StoreError> {
        let handlers = Arc::clone(&self.setup.handlers);
        let service = handlers.services.get(&meta.job);
        let run = handlers.runs.fetch_add(1, Ordering::Relaxed);
        let asks = Asks::new(self.setup.clone(), self.owner.clone(), id, run, self.clock);
        let Terms { attempt, max_attempts, timeout, failure } = terms;
        let ctx = Context::new(About {
            id,
            job: meta.job.as_str().into(),
            channel: Arc::clone(&self.setup.channel),
            attempt,
            max_attempts,
            timeout,
            headers: meta.headers.clone(),
            state: handlers.state.clone(),
            link: asks.link(),
        });
        let (report, ended) = oneshot::channel();
        // Nobody hears the end when this future was dropped, and then the lease runs out.
        let report = move |outcome| drop(report.send(outcome));
        let span = run::span(&ctx);
        let outcome = match run::start(service, run::Start { payload, failure, ctx }, span, report) {
            Started::Ended(outcome) => outcome,
            Started::Aboard(cancel) => self.wait(ended, &cancel, timeout).await?,
        };
        let frees = asks.end(&outcome).await;
        Ok((outcome, frees))
    }

    /// Waits for the end of a run, keeps its time limit and the lease.
    async fn wait(
        &mut self,
        mut ended: oneshot::Receiver<Outcome>,
        cancel: &Cancel,
        limit: Option<Duration>,
    ) -> Result<Outcome, StoreError> {
        let begun = Instant::now();
        let mut deadline = limit.map(|limit| begun + limit);
        let mut renewal = begun + LEASE / 3;
        let mut passed = None;
        loop {
            let timer = deadline.map_or(renewal, |deadline| deadline.min(renewal));
            if let Ok(outcome) = timeout_at(timer, &mut ended).await {
                // No report comes when the runtime goes away.
                let outcome = outcome.unwrap_or(Outcome::Interrupted);
                return Ok(match (passed, outcome) {
                    (Some(limit), outcome) if outcome != Outcome::Done => Outcome::TimedOut { limit },
                    (_, outcome) => outcome,
                });
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                cancel.cancel(GRACE);
                (deadline, passed) = (None, limit);
            }
            if renewal <= Instant::now() {
                if let Err(error) = self.turn(&[], &[], 0).await {
                    cancel.cancel(GRACE);
                    return Err(error);
                }
                renewal = Instant::now() + LEASE / 3;
            }
        }
    }
}

impl Ran {
    fn of(id: JobId, before: &Meta, to: Place, error: Option<String>) -> Self {
        let callback = before.failing.is_some();
        let attempt = if callback { before.attempts } else { before.attempts.saturating_add(1) };
        Self { id, job: before.job.clone(), attempt, callback, to, error }
    }

    /// Why the job has failed for good with this run, and the last thing that went wrong before its failed callback.
    pub(crate) fn failed(&self) -> Option<(FailReason, String)> {
        let (Place::Failed(meta) | Place::Front(meta)) = &self.to else { return None };
        let reason = meta.failed.or(meta.failing)?;
        Some((reason, meta.last_error().to_owned()))
    }
}

/// A number from 0 to 1 for the jitter of waits.
#[expect(clippy::cast_precision_loss, reason = "the lower bits do not matter")]
fn chance() -> f64 {
    store::random() as f64 / u64::MAX as f64
}

fn error_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Failed { error, .. } => Some(error.clone()),
        Outcome::TimedOut { limit } => Some(format!("ran longer than {limit:?}")),
        _ => None,
    }
}
