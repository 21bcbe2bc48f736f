//! Runs jobs in this process, one after the other, without a master and without workers.
//!
//! A [`Runner`] leases jobs from any store and treats them as a master and a worker would: same handlers and middleware,
//! same rules for attempts, time limits, expiry and failed callbacks. It renews its lease while a job runs, settles each
//! run before the next one, and returns its jobs when it leaves.
//!
//! There is no process isolation: a handler that exits ends this process, and a blocking handler that exceeds its time limit
//! is asked to end, then waited for.

mod run_requests;
mod sync_driver;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::config::PushDestinations;
use crate::executor::{self, CancelHandle, HandlerSet, PreparedHandler, Started};
use crate::job::{
    AppState, Context, ContextParts, FailReason, JobId, JobMeta, JobRecord, Outcome, Payload, Registry,
    Timestamp, install_panic_hook,
};
use crate::limits::Breakers;
use crate::log_macros::debug;
use crate::retry::{Policy, RunTerms, SettlementFacts, StartDecision, release_before_start};
use crate::store::{
    self, CrossChannelPush, Destination, KeyRelease, LEASE, Leased, MAX_BATCH_BYTES, OutputChange, Owner,
    Settlement, Store, StoreError, Turn, TurnReply,
};
use run_requests::RunRequests;
pub use sync_driver::queue;

/// Time for a cancelled handler to end by itself; an asynchronous one is dropped after a third of it.
const CANCEL_GRACE: Duration = Duration::from_millis(300);

/// The handlers of one channel, shared by its runners.
pub struct ChannelHandlers {
    handler_set: HandlerSet,
    state: AppState,
    pub policy: Policy,
    /// Time limit of runs that set none.
    pub max_execute: Option<Duration>,
    breakers: Mutex<Breakers>,
    runs: AtomicU64,
    /// A pair of times of the store's clock and of the process, to convert one into the other: breakers follow the store's clock,
    /// which tests move.
    clock: OnceLock<(Timestamp, Instant)>,
}

/// The source of jobs and the handlers that run them.
#[derive(Clone)]
pub struct RunnerSetup {
    pub channel: Arc<str>,
    pub store: Arc<dyn Store>,
    pub handlers: Arc<ChannelHandlers>,
    /// Receives the pushes of jobs, those into the run's own channel included.
    pub pushes: Arc<dyn CrossChannelPush>,
    /// The channels that jobs may push into.
    pub may_push: PushDestinations,
}

/// An owner in this process.
pub struct Runner {
    setup: RunnerSetup,
    owner: Owner,
    seq: u64,
    /// The store's time in its last reply, and the time of that reply.
    clock: (Timestamp, Instant),
}

/// A settled run.
#[derive(Debug)]
pub struct CompletedRun {
    pub id: JobId,
    pub job: String,
    pub attempt: u32,
    /// Whether the failed callback ran instead of the job.
    pub callback: bool,
    /// The destination of the job.
    pub to: Destination,
    /// The error, unless the run succeeded.
    pub error: Option<String>,
}

/// The result of asking for a job.
pub enum NextRun {
    /// A job was leased, run and settled.
    Ran(Box<CompletedRun>),
    /// No job is ready; the next one is due after this time.
    Nothing { next_due: Option<Duration> },
}

impl ChannelHandlers {
    /// Prepares the handlers; the error names a shared state that cannot be made.
    pub fn of(registry: &Registry, policy: Policy, max_execute: Option<Duration>) -> Result<Self, String> {
        install_panic_hook();
        Ok(Self {
            handler_set: HandlerSet::of(registry),
            state: registry.state()?,
            policy,
            max_execute,
            breakers: Mutex::default(),
            runs: AtomicU64::new(0),
            clock: OnceLock::new(),
        })
    }

    /// Converts a time of the store's clock.
    fn instant(&self, time: Timestamp) -> Instant {
        let (first, at) = self.clock.get_or_init(|| (time, Instant::now()));
        *at + time.since(*first)
    }
}

impl Runner {
    /// Joins the store as a new owner.
    pub async fn join(setup: RunnerSetup) -> Result<Self, StoreError> {
        let owner = setup.store.join().await?;
        let mut runner = Self { setup, owner, seq: 0, clock: (Timestamp(0), Instant::now()) };
        runner.turn(&[], &[], 0).await?;
        Ok(runner)
    }

    /// Returns held jobs and ends the owner.
    pub async fn leave(self) -> Result<(), StoreError> {
        self.setup.store.leave(&self.owner).await.map(drop)
    }

    /// Leases, runs and settles the next job of the channel.
    pub async fn run_next(&mut self) -> Result<NextRun, StoreError> {
        let reply = self.turn(&[], &[], 1).await?;
        match reply.leased.into_iter().next() {
            Some(leased) => Ok(NextRun::Ran(Box::new(self.run(leased).await?))),
            None => Ok(NextRun::Nothing { next_due: reply.next_due }),
        }
    }

    /// Leases, runs and settles one job by id; `None` when it is not in the store.
    pub async fn run_by_id(&mut self, id: JobId) -> Result<Option<CompletedRun>, StoreError> {
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
        releases: &[KeyRelease],
        want: usize,
    ) -> Result<TurnReply, StoreError> {
        self.seq += 1;
        let (owner, seq) = (&self.owner, self.seq);
        let turn = Turn {
            owner,
            seq,
            settlements,
            releases,
            want,
            max_bytes: MAX_BATCH_BYTES,
            overdue: None,
            publish: None,
        };
        let reply = self.setup.store.turn(turn).await?;
        self.clock = (reply.now, Instant::now());
        Ok(reply)
    }

    /// Runs and settles a held job.
    async fn run(&mut self, leased: Leased) -> Result<CompletedRun, StoreError> {
        let now = self.clock.0;
        let JobRecord { id, meta, payload } = match leased {
            Leased::Job(record) => record,
            Leased::Malformed { id, why } => {
                let meta = JobMeta::malformed(now, &why);
                let ran = CompletedRun::of(id, &meta, Destination::Failed(meta.clone()), Some(why));
                return self.settle(ran, None, Vec::new()).await;
            }
        };
        let handlers = Arc::clone(&self.setup.handlers);
        let service = handlers.handler_set.get(&meta.job);
        let options = service.map(PreparedHandler::options).unwrap_or_default();
        let mut releases = Vec::new();
        let outcome = match handlers.policy.begin(id, &meta, options, handlers.max_execute, now) {
            StartDecision::Expired => None,
            StartDecision::NoCallback => Some(Outcome::Done),
            StartDecision::Run(terms) => {
                if let Some(free) = release_before_start(id, &meta) {
                    self.turn(&[], &[free], 0).await?;
                }
                let (outcome, locks) = self.deliver(id, &meta, payload, terms).await?;
                releases = locks;
                Some(outcome)
            }
        };
        let now = self.clock.0.after(self.clock.1.elapsed());
        let (unique, before) = (meta.unique.clone(), meta.clone());
        let (error, to) = match outcome {
            None => (None, Policy::expire(meta, options, now)),
            Some(outcome) => {
                let error = error_of(&outcome);
                (
                    error,
                    handlers.policy.end(
                        meta,
                        outcome,
                        SettlementFacts { id, options, now, chance: chance() },
                    ),
                )
            }
        };
        self.settle(CompletedRun::of(id, &before, to, error), unique, releases).await
    }

    async fn settle(
        &mut self,
        ran: CompletedRun,
        unique: Option<String>,
        releases: Vec<KeyRelease>,
    ) -> Result<CompletedRun, StoreError> {
        let settlement = Settlement { id: ran.id, unique, to: ran.to.clone(), output: OutputChange::Keep };
        let reply = self.turn(&[settlement], &releases, 0).await?;
        #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "used in a log line only"))]
        for (id, exception) in reply.conflicts {
            debug!(job = id.0, ?exception, "job removed or taken over during its run: dropping the result");
        }
        Ok(ran)
    }

    /// Runs a handler, or a failed callback, to its end. Returns the outcome and the keys to release.
    pub async fn deliver(
        &mut self,
        id: JobId,
        meta: &JobMeta,
        payload: Payload,
        terms: RunTerms,
    ) -> Result<(Outcome, Vec<KeyRelease>), StoreError> {
        let handlers = Arc::clone(&self.setup.handlers);
        let service = handlers.handler_set.get(&meta.job);
        let run = handlers.runs.fetch_add(1, Ordering::Relaxed);
        let asks = RunRequests::new(self.setup.clone(), self.owner.clone(), id, run, self.clock);
        let RunTerms { attempt, max_attempts, timeout, failure } = terms;
        let ctx = Context::new(ContextParts {
            id,
            job: meta.job.as_str().into(),
            channel: Arc::clone(&self.setup.channel),
            attempt,
            max_attempts,
            timeout,
            headers: meta.headers.clone(),
            state: handlers.state.clone(),
            host: Box::new(Arc::clone(&asks)),
        });
        let (report, ended) = oneshot::channel();
        // If this future was dropped, the outcome has no receiver; the job returns when the lease expires.
        let report = move |outcome| drop(report.send(outcome));
        let span = executor::span(&ctx);
        let outcome =
            match executor::start(service, executor::RunInput { payload, failure, ctx }, span, report) {
                Started::Ended(outcome) => outcome,
                Started::Running(cancel) => self.wait(ended, &cancel, timeout).await?,
            };
        let releases = asks.end(&outcome).await;
        Ok((outcome, releases))
    }

    /// Waits for the end of a run; enforces its time limit and renews the lease.
    async fn wait(
        &mut self,
        mut ended: oneshot::Receiver<Outcome>,
        cancel: &CancelHandle,
        limit: Option<Duration>,
    ) -> Result<Outcome, StoreError> {
        let begun = Instant::now();
        let mut deadline = limit.map(|limit| begun + limit);
        let mut renewal = begun + LEASE / 3;
        let mut passed = None;
        loop {
            let timer = deadline.map_or(renewal, |deadline| deadline.min(renewal));
            if let Ok(outcome) = timeout_at(timer, &mut ended).await {
                // The sender is dropped without a report when the runtime shuts down.
                let outcome = outcome.unwrap_or(Outcome::Interrupted);
                return Ok(match (passed, outcome) {
                    (Some(limit), outcome) if outcome != Outcome::Done => {
                        Outcome::TimedOut { limit, how: String::new() }
                    }
                    (_, outcome) => outcome,
                });
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                cancel.cancel(CANCEL_GRACE);
                (deadline, passed) = (None, limit);
            }
            if renewal <= Instant::now() {
                if let Err(error) = self.turn(&[], &[], 0).await {
                    cancel.cancel(CANCEL_GRACE);
                    return Err(error);
                }
                renewal = Instant::now() + LEASE / 3;
            }
        }
    }
}

impl CompletedRun {
    fn of(id: JobId, before: &JobMeta, to: Destination, error: Option<String>) -> Self {
        let callback = before.failing.is_some();
        let attempt = if callback { before.attempts } else { before.attempts.saturating_add(1) };
        Self { id, job: before.job.clone(), attempt, callback, to, error }
    }

    /// The reason and the last error of a permanent failure, also before its failed callback has run.
    pub fn failed(&self) -> Option<(FailReason, String)> {
        let (Destination::Failed(meta) | Destination::Front(meta)) = &self.to else { return None };
        let reason = meta.failed.or(meta.failing)?;
        Some((reason, meta.last_error().to_owned()))
    }
}

/// A random number from 0 to 1, for jitter.
#[expect(clippy::cast_precision_loss, reason = "the lower bits do not matter")]
fn chance() -> f64 {
    store::random() as f64 / u64::MAX as f64
}

fn error_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Failed { error, .. } => Some(error.clone()),
        Outcome::TimedOut { limit, .. } => Some(format!("ran longer than {limit:?}")),
        _ => None,
    }
}
