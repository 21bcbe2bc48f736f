//! One channel's actor: what happens to a job, end to end.
//!
//! ```text
//!  store ── turn: leased ──► table: ready ── dispatch ──► pool ── ended ──► retry: settlement ──► table ── turn ──► store
//! ```
//! Duties: hold a lease and keep it, lease as many jobs as there are free slots, hand them to the pool, decide what
//! every ending means, tell the store. One call to the store is in flight at a time; what happens meanwhile travels with the
//! next one. A channel knows nothing of other channels: its store may fail and its workers may crash without touching them.
//!
//! It ends when told to: see [`Command::Stop`] and the ladder in `stop`.

mod cancel;
mod cancel_unheld;
mod commands;
mod demand;
mod held_jobs;
mod job_requests;
mod prefetch;
mod quiet;
mod reload;
mod runs;
mod shutdown;
mod status;
mod store_calls;
mod turns;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::job::{JobId, Outcome, Timestamp};
use crate::metrics::ChannelMetrics;
use crate::pool::Pool;
pub use crate::store::CrossChannelPush;
use crate::store::{Owner, Store};
use crate::wire::RunId;
use cancel::Cancellations;
pub use cancel::{CancelMethod, HeldCancel};
pub use cancel_unheld::{UnheldCancel, cancel_unheld};
pub use commands::Command;
use held_jobs::HeldJobs;
use job_requests::JobRequests;
use prefetch::Prefetch;
pub use quiet::QuietReply;
use reload::PendingReload;
pub use reload::{ChannelSettings, ReloadReply, ReloadSpec};
use shutdown::Shutdown;
pub use shutdown::Stopped;
pub use status::{ChannelDetails, ChannelStatus, Heartbeat, HeldJobStatus};
use store_calls::StoreCalls;
use turns::Turns;

/// What a channel needs to run.
#[derive(Debug)]
pub struct Setup {
    /// The channel's name.
    pub name: Arc<str>,
    /// Where its jobs are.
    pub store: Arc<dyn Store>,
    /// Its workers.
    pub pool: Pool,
    /// What it decides by.
    pub settings: ChannelSettings,
    /// Owners known to be dead, whose jobs are freed before the first lease.
    pub dead: Vec<Owner>,
    /// Told of every new owner before it leases anything.
    pub on_join: OnJoin,
    /// What to run.
    pub scope: Scope,
    /// Whether it begins quiet.
    pub quiet: bool,
    /// Where jobs of other channels go that runs push; `None` when there is no other.
    pub cross_channel: Option<Arc<dyn CrossChannelPush>>,
    /// Where it counts.
    pub metrics: ChannelMetrics,
}

/// Writes down the owner a channel has become, where the next master of this machine finds it.
pub struct OnJoin(pub Box<dyn FnMut(&Owner) + Send>);

impl std::fmt::Debug for OnJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnJoin")
    }
}

/// Which jobs a channel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, until told to stop.
    All,
    /// The next one, or none when nothing waits.
    Next,
    /// This one, wherever it is.
    Only(JobId),
}

/// A channel's running state.
#[derive(Debug)]
pub struct Channel {
    name: Arc<str>,
    store: Arc<dyn Store>,
    pool: Pool,
    settings: ChannelSettings,
    /// How its workers hand over to others, while they do.
    reloading: Option<PendingReload>,
    metrics: ChannelMetrics,
    on_join: OnJoin,
    cross_channel: Option<Arc<dyn CrossChannelPush>>,
    job_requests: JobRequests,
    cancellations: Cancellations,
    /// Owners to free before the first lease.
    dead: Vec<Owner>,
    held_jobs: HeldJobs,
    store_calls: StoreCalls,
    turns: Turns,
    scope: ScopeProgress,
    prefetch: Prefetch,
    /// No jobs are taken; see `quiet`.
    quiet: bool,
    /// When a job was last handed to a slot.
    last_dispatch: Instant,
    stopping: Option<Shutdown>,
    next_run: RunId,
    /// The store's clock at a moment of ours.
    clock: (Timestamp, Instant),
}

/// How far a channel with a scope is.
#[derive(Debug)]
struct ScopeProgress {
    scope: Scope,
    /// The store was asked for the job.
    asked: bool,
    job: Option<JobId>,
    outcome: Option<Outcome>,
}

/// How long a channel without work rests when its store cannot tell it of any.
const MIN_WAIT_RETRY: Duration = Duration::from_millis(100);
const MAX_WAIT_RETRY: Duration = Duration::from_secs(1);

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Channel {
    /// A channel that has not begun.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            store_calls: StoreCalls::new(Arc::clone(&setup.store), Arc::clone(&setup.name)),
            name: setup.name,
            store: setup.store,
            pool: setup.pool,
            settings: setup.settings,
            reloading: None,
            metrics: setup.metrics,
            on_join: setup.on_join,
            cross_channel: setup.cross_channel,
            job_requests: JobRequests::default(),
            cancellations: Cancellations::default(),
            dead: setup.dead,
            held_jobs: HeldJobs::default(),
            turns: Turns::default(),
            scope: ScopeProgress { scope: setup.scope, asked: false, job: None, outcome: None },
            prefetch: Prefetch::default(),
            quiet: setup.quiet,
            last_dispatch: Instant::now(),
            stopping: None,
            next_run: 1,
            clock: (Timestamp(0), Instant::now()),
        }
    }

    /// Runs until told to stop, or until the scope is done.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Stopped {
        let mut waiting: Option<Waiting> = None;
        loop {
            self.dispatch();
            self.start_call();
            if let Some(stopped) = self.stopped() {
                return stopped;
            }
            if self.quiet {
                // What wakes us would be missed by a master that takes jobs.
                waiting = None;
            }
            if waiting.is_none() && self.is_out_of_work() {
                waiting = Some(self.wait_for_work());
            }
            let timer = self.next_timer();
            tokio::select! {
                ended = self.pool.next() => {
                    // A run asks before it ends.
                    let asked = self.pool.take_requests();
                    self.on_asked(asked);
                    self.on_ended(ended);
                    self.hand_back_when_degraded();
                    self.end_reload();
                }
                answers = self.job_requests.next() => self.on_answers(answers),
                done = self.store_calls.done() => self.on_call(done),
                () = work(&mut waiting) => {
                    waiting = None;
                    (self.turns.work_expected, self.turns.woken) = (true, true);
                }
                Some(command) = commands.recv() => self.on_command(command),
                () = sleep_until(timer) => {
                    self.interrupt_at_deadline();
                    self.return_stale_prefetch();
                }
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().and_then(Shutdown::next_timer);
        let stale = (self.held_jobs.ready() > 0).then(|| self.last_dispatch + prefetch::PREFETCH_MAX_WAIT);
        [stop, stale, self.store_calls.next_timer(self.next_turn_at())].into_iter().flatten().min()
    }

    /// Whether the store had nothing for us when we last looked.
    fn is_out_of_work(&self) -> bool {
        !self.turns.work_expected && !self.quiet && self.stopping.is_none() && self.store_calls.can_start()
    }

    /// A wait for work that ends early when there may be some.
    fn wait_for_work(&self) -> Waiting {
        let (store, sleep) = (Arc::clone(&self.store), self.settings.sleep);
        Box::pin(async move {
            if store.wait(sleep).await.is_err() {
                // The next turn meets the same trouble and reports it; here it only must not spin, nor sleep past
                // the end of the trouble.
                tokio::time::sleep(sleep.clamp(MIN_WAIT_RETRY, MAX_WAIT_RETRY)).await;
            }
        })
    }

    /// The store's clock, as far as we know it.
    fn now(&self) -> Timestamp {
        self.clock.0.after(self.clock.1.elapsed())
    }
}

async fn sleep_until(timer: Option<Instant>) {
    match timer {
        Some(timer) => tokio::time::sleep_until(timer.into()).await,
        None => std::future::pending().await,
    }
}

async fn work(waiting: &mut Option<Waiting>) {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}
