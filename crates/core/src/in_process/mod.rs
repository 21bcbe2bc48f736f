//! Jobs run in this process, one after the other, without a master and without workers.
//!
//! A [`Runner`] takes jobs from any store and runs them as a master and a worker would between them: the same handlers
//! with the same middleware, the same rules for attempts, time limits, expiry and failed callbacks. It keeps its lease
//! while a job runs, settles each run before it begins the next, and gives back what it holds when it leaves.
//!
//! What a process of its own would give is missing: a handler that ends the process ends this one, and a blocking handler
//! that passes its limit is asked to end, and waited for.

mod run_requests;
mod sync_driver;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::breaker::Breakers;
use crate::executor::{self, CancelHandle, HandlerSet, PreparedHandler, Started};
use crate::job::{
    AppState, Context, ContextParts, FailReason, JobId, JobMeta, JobRecord, Outcome, Payload, Registry,
    Timestamp, install_panic_hook,
};
use crate::log_macros::debug;
use crate::retry::{Policy, RunTerms, StartDecision, release_before_start};
use crate::store::{
    self, CrossChannelPush, Destination, KeyRelease, LEASE, Leased, MAX_BATCH_BYTES, Owner, Settlement,
    Store, StoreError, Turn, TurnReply,
};
use run_requests::RunRequests;
pub use sync_driver::queue;

/// How long a handler that is asked to end has to do so by itself; it is dropped after a third of it, where it can be.
const CANCEL_GRACE: Duration = Duration::from_millis(300);

/// What runs the jobs of one channel, shared by its runners.
pub struct ChannelHandlers {
    handler_set: HandlerSet,
    state: AppState,
    pub policy: Policy,
    /// The limit of runs for which nobody says another.
    pub max_execute: Option<Duration>,
    breakers: Mutex<Breakers>,
    runs: AtomicU64,
    /// Where the store's clock stood at a moment of ours: breakers follow the store's, which a test may move.
    clock: OnceLock<(Timestamp, std::time::Instant)>,
}

/// Where a runner gets its jobs, and what runs them.
#[derive(Clone)]
pub struct RunnerSetup {
    pub channel: Arc<str>,
    pub store: Arc<dyn Store>,
    pub handlers: Arc<ChannelHandlers>,
    /// Where everything goes that jobs push, also into their own channel.
    pub pushes: Arc<dyn CrossChannelPush>,
}

/// An owner in this process.
pub struct Runner {
    setup: RunnerSetup,
    owner: Owner,
    seq: u64,
    /// The store's clock at its last answer, and when that was.
    clock: (Timestamp, Instant),
}

/// What became of one job that was held.
#[derive(Debug)]
pub struct CompletedRun {
    pub id: JobId,
    pub job: String,
    pub attempt: u32,
    /// Whether it was not the job itself, but its failed callback.
    pub callback: bool,
    /// Where it went.
    pub to: Destination,
    /// What the run ended with, when it was no success.
    pub error: Option<String>,
}

/// What a runner found.
pub enum NextRun {
    /// A job, which was run.
    Ran(Box<CompletedRun>),
    /// Nothing that may run now; something may, after this long.
    Nothing { next_due: Option<Duration> },
}

impl ChannelHandlers {
    /// The error says which state cannot be made.
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

    /// A time of the store's clock as one of ours.
    fn instant(&self, time: Timestamp) -> std::time::Instant {
        let (first, at) = self.clock.get_or_init(|| (time, std::time::Instant::now()));
        *at + time.since(*first)
    }
}

impl Runner {
    /// Becomes an owner of the store.
    pub async fn join(setup: RunnerSetup) -> Result<Self, StoreError> {
        let owner = setup.store.join().await?;
        let mut runner = Self { setup, owner, seq: 0, clock: (Timestamp(0), Instant::now()) };
        runner.turn(&[], &[], 0).await?;
        Ok(runner)
    }

    /// Gives back what is held, if anything, and ends the owner.
    pub async fn leave(self) -> Result<(), StoreError> {
        self.setup.store.leave(&self.owner).await.map(drop)
    }

    /// Runs the next job of the channel.
    pub async fn next(&mut self) -> Result<NextRun, StoreError> {
        let reply = self.turn(&[], &[], 1).await?;
        match reply.leased.into_iter().next() {
            Some(leased) => Ok(NextRun::Ran(Box::new(self.run(leased).await?))),
            None => Ok(NextRun::Nothing { next_due: reply.next_due }),
        }
    }

    /// Runs this job, wherever it is; `None` when it is not there.
    pub async fn only(&mut self, id: JobId) -> Result<Option<CompletedRun>, StoreError> {
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
        let turn = Turn { owner, seq, settlements, releases, want, max_bytes: MAX_BATCH_BYTES };
        let reply = self.setup.store.turn(turn).await?;
        self.clock = (reply.now, Instant::now());
        Ok(reply)
    }

    /// Runs a job that is held, and settles it.
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
                (error, handlers.policy.end(meta, outcome, options, now, chance()))
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
        let settlement = Settlement { id: ran.id, unique, to: ran.to.clone() };
        let reply = self.turn(&[settlement], &releases, 0).await?;
        #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are only told"))]
        for (id, exception) in reply.conflicts {
            debug!(job = id.0, ?exception, "a job was taken away while it ran: its result is dropped");
        }
        Ok(ran)
    }

    /// Runs a handler, or a failed callback, to its end. Answers what the run no longer holds.
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
            host: asks.host(),
        });
        let (report, ended) = oneshot::channel();
        // Nobody hears the end when this future was dropped, and then the lease runs out.
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

    /// Waits for the end of a run, keeps its time limit and the lease.
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
                // No report comes when the runtime goes away.
                let outcome = outcome.unwrap_or(Outcome::Interrupted);
                return Ok(match (passed, outcome) {
                    (Some(limit), outcome) if outcome != Outcome::Done => Outcome::TimedOut { limit },
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

    /// Why the job has failed for good with this run, and the last thing that went wrong before its failed callback.
    pub fn failed(&self) -> Option<(FailReason, String)> {
        let (Destination::Failed(meta) | Destination::Front(meta)) = &self.to else { return None };
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
