//! The actor of a channel: joins the components and is the only reader of the clock.

use std::sync::Arc;

use aint_queue_core::otel::RunTracing;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::cancellations::Cancellations;
use super::commands::{CancelMethod, Command, HeldCancel, QuietReply, ReloadReply, ReloadSpec};
use super::done_runs::DoneRuns;
use super::held_jobs::HeldJobs;
use super::isolated_backlog::IsolatedBacklog;
use super::job_lines::JobLines;
use super::job_requests::{CompletedRequest, JobRequests, Reply};
use super::prefetch::Prefetch;
use super::priority_wait::PriorityWait;
use super::run_traces::RunTraces;
use super::scope::{Scope, ScopeProgress};
use super::settings::ChannelSettings;
use super::shutdown::{Shutdown, Stopped};
use super::store_calls::{Call, CallResult, OnJoin, StoreCalls};
use super::summary::{MasterIdentity, Publication, SummaryInputs};
use super::turns::{CallInputs, Turns};
use super::work_wait::WorkWait;
use crate::job::{JobId, Timestamp};
use crate::metrics::ChannelMetrics;
use crate::pool::{Demand, EndedRun, Pool, RolloutError};
use crate::retry::Policy;
use crate::store::{
    CrossChannelPush, MAX_BATCH, MAX_BATCH_BYTES, OutputChange, Owner, Settlement, Store, Summary,
};

/// The parts of a channel.
#[derive(Debug)]
pub struct Setup {
    /// Name of the channel.
    pub name: Arc<str>,
    /// The process, as other machines name it.
    pub identity: MasterIdentity,
    /// The store of its jobs.
    pub store: Arc<dyn Store>,
    /// The workers of the channel.
    pub pool: Pool,
    /// Settings that its decisions follow.
    pub settings: ChannelSettings,
    /// Owners known to be dead: their jobs are returned before the first lease.
    pub dead: Vec<Owner>,
    /// Records each new owner before it leases anything.
    pub on_join: OnJoin,
    /// The jobs to run.
    pub scope: Scope,
    /// Whether the channel starts quiet.
    pub quiet: bool,
    /// Access to other channels for jobs that runs push; `None` when there are none.
    pub cross_channel: Option<Arc<dyn CrossChannelPush>>,
    /// The metrics of the channel.
    pub metrics: ChannelMetrics,
}

/// A channel: the actor and its components.
pub struct Channel {
    pub(super) name: Arc<str>,
    pub(super) settings: ChannelSettings,
    pub(super) metrics: ChannelMetrics,
    pub(super) pool: Pool,
    pub(super) store_calls: StoreCalls,
    pub(super) turns: Turns,
    pub(super) held_jobs: HeldJobs,
    pub(super) isolated_backlog: IsolatedBacklog,
    pub(super) prefetch: Prefetch,
    pub(super) job_lines: JobLines,
    pub(super) done_runs: DoneRuns,
    pub(super) priority_wait: PriorityWait,
    pub(super) job_requests: JobRequests,
    pub(super) run_traces: RunTraces,
    pub(super) cancellations: Cancellations,
    pub(super) scope: ScopeProgress,
    pub(super) publication: Publication,
    pub(super) shutdown: Option<Shutdown>,
    /// Whether `queue:quiet` is in effect on this master: it leases no jobs; running jobs end normally, leases are renewed and
    /// workers follow the usual rules. A pause, in contrast, is a state of the store and holds for every master.
    pub(super) is_quiet: bool,
    /// Until when the master waits at most for the end of running jobs before a re-exec; see [`Command::HoldBack`].
    pub(super) held_back_until: Option<Instant>,
    /// The reload that is under way: the settings to come, and who waits for its result.
    reload: Option<(ChannelSettings, ReloadReply)>,
    pub(super) work_wait: WorkWait,
}

/// The reason for which the actor woke.
enum Event {
    Pool(Vec<EndedRun>),
    RequestsCompleted(Vec<CompletedRequest>),
    CallEnded(CallResult, Instant),
    WorkAnnounced,
    Command(Command),
    Timer,
}

impl Channel {
    /// A channel that has not started.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let now = Instant::now();
        let requests = JobRequests::new(
            Arc::clone(&setup.name),
            Arc::clone(&setup.store),
            setup.cross_channel,
            setup.metrics.clone(),
        );
        let mut store_calls = StoreCalls::new(setup.store.clone(), setup.on_join, now);
        // A queue:run may follow a newer configuration than the master that serves the channel.
        if matches!(setup.scope, Scope::All) {
            store_calls = store_calls.recording(setup.settings.push_limit.limits());
        }
        Self {
            name: setup.name,
            settings: setup.settings,
            metrics: setup.metrics,
            pool: setup.pool,
            work_wait: WorkWait::new(setup.store),
            store_calls,
            turns: Turns::new(setup.dead),
            held_jobs: HeldJobs::default(),
            isolated_backlog: IsolatedBacklog::default(),
            prefetch: Prefetch::new(now),
            job_lines: JobLines::default(),
            done_runs: DoneRuns::default(),
            priority_wait: PriorityWait::default(),
            job_requests: requests,
            run_traces: RunTraces::default(),
            cancellations: Cancellations::default(),
            scope: ScopeProgress::new(setup.scope),
            publication: Publication::new(setup.identity),
            shutdown: None,
            is_quiet: setup.quiet,
            held_back_until: None,
            reload: None,
        }
    }

    /// This channel with the tracing of its runs.
    #[must_use]
    pub fn traced(self, tracing: RunTracing) -> Self {
        Self { run_traces: RunTraces::new(tracing), ..self }
    }

    /// Runs until a [`Command::Stop`], or until the scope is done.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Stopped {
        let mut now = Instant::now();
        loop {
            if let Some(stopped) = self.advance(now) {
                return stopped;
            }
            let timer = self.next_timer(now);
            let event = tokio::select! {
                ended = self.pool.next() => Event::Pool(ended),
                completed = self.job_requests.next() => Event::RequestsCompleted(completed),
                (result, began) = self.store_calls.next() => Event::CallEnded(result, began),
                () = self.work_wait.next() => Event::WorkAnnounced,
                Some(command) = commands.recv() => Event::Command(command),
                () = sleep_until(timer.unwrap_or(now)), if timer.is_some() => Event::Timer,
            };
            now = Instant::now();
            self.on_event(event, now);
        }
    }

    /// Does what can be done now: dispatches, calls the store, waits for work. Returns the end of the channel.
    fn advance(&mut self, now: Instant) -> Option<Stopped> {
        self.dispatch(now);
        self.on_begun(now);
        self.start_call(now);
        if let Some(stopped) = self.stopped(now) {
            return Some(stopped);
        }
        if self.takes_no_jobs() {
            self.work_wait.cancel();
        } else if !self.turns.expects_work() && self.shutdown.is_none() && self.store_calls.can_start(now) {
            self.work_wait.start(self.settings.sleep);
        }
        None
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Pool(ended) => {
                // A run makes its requests before it ends.
                let requests = self.pool.take_requests();
                let (traces, owner) = (&self.run_traces, self.store_calls.owner());
                let replies = self.job_requests.on_requests(requests, &self.settings, traces, owner, now);
                self.respond(replies);
                self.on_begun(now);
                self.on_ended(ended, now);
                if self.pool.is_degraded(now) && self.held_jobs.all_ready() > 0 {
                    // Jobs that no worker can start soon are left to other masters.
                    self.return_ready();
                }
                self.end_reload();
            }
            Event::RequestsCompleted(completed) => {
                let (held_jobs, pool) = (&self.held_jobs, &self.pool);
                let replies = self.job_requests.on_completed(
                    completed,
                    |id| held_jobs.run(id),
                    |run| pool.has_run(run),
                );
                self.respond(replies);
            }
            Event::CallEnded(result, began) => self.on_call_result(result, began, now),
            Event::WorkAnnounced => self.turns.wake(),
            Event::Command(command) => self.on_command(command, now),
            Event::Timer => {
                self.interrupt_when_due(now);
                self.return_stale(now);
            }
        }
    }

    fn next_timer(&self, now: Instant) -> Option<Instant> {
        let stop = self.shutdown.as_ref().and_then(Shutdown::next_step_at);
        let stale = (self.held_jobs.ready() > 0).then(|| self.prefetch.return_at());
        let turn_at = self.turns.next_turn_at(self.count_at(now));
        [stop, stale, self.store_calls.next_call_at(turn_at, now)].into_iter().flatten().min()
    }

    fn respond(&mut self, replies: Vec<Reply>) {
        for (to, response) in replies {
            self.pool.respond(to, response);
        }
    }

    /// Starts the next call, if one is needed and none is in flight.
    fn start_call(&mut self, now: Instant) {
        if !self.store_calls.can_start(now) {
            return;
        }
        let inputs = self.call_inputs(now);
        let Some(mut call) = self.turns.next_call(&inputs, now) else { return };
        if let Call::Turn(request) = &mut call {
            request.publish = self.summary(now);
            request.overdue = self.priority_wait.overdue(self.settings.priority_max_wait, now);
            request.releases = self.job_requests.take_releases();
            if self.job_requests.has_releases() {
                // More than one turn can carry. Nothing is leased or settled until all is released: a job that is leased
                // again could claim a lock that an earlier run of it had, and lose the lock to the release for that run.
                request.want = 0;
            } else {
                request.settlements = self.held_jobs.take_settlements(MAX_BATCH);
            }
        }
        if matches!(call, Call::ReapExpired) {
            self.store_calls.trim_kept(self.settings.keep_done.is_some(), now);
        }
        self.store_calls.start(call, now);
    }

    /// The summary that a turn publishes, if one is due.
    fn summary(&mut self, now: Instant) -> Option<Summary> {
        if !self.publication.is_due(now) {
            return None;
        }
        let (status, running) = (self.status(now), self.pool.running(now));
        let inputs = SummaryInputs {
            mode: self.settings.mode.as_str(),
            single_job: !self.scope.is_all(),
            status: &status,
            running: &running,
            totals: self.metrics.run_totals(),
            store_time: self.store_time(now),
        };
        self.publication.publish(&inputs, now)
    }

    fn call_inputs(&self, now: Instant) -> CallInputs {
        let is_stopping = self.shutdown.is_some();
        let may_take = !is_stopping && !self.held_jobs.has_settlements();
        CallInputs {
            is_owner: self.store_calls.owner().is_some(),
            knows_store_time: self.store_calls.store_time(now).is_some(),
            is_stopping,
            may_leave: is_stopping && self.pool.is_empty() && self.held_jobs.len() == 0,
            take: self.scope.job_to_take().filter(|_| may_take),
            want: self.want(now),
            has_pending_writes: self.held_jobs.has_settlements() || self.job_requests.has_releases(),
            count_at: self.count_at(now),
            renewal_is_due: self.store_calls.renewal_is_due(now),
            reap_is_due: self.store_calls.reap_is_due(now),
        }
    }

    /// Number of jobs to lease: the free slots, and the prefetch, that no job is leased for yet.
    fn want(&self, now: Instant) -> usize {
        let capacity = self.pool.capacity(now);
        if self.shutdown.is_some() || self.takes_no_jobs() || (self.pool.is_degraded(now) && capacity == 0) {
            return 0;
        }
        let has_room = self.held_jobs.ready_bytes() < MAX_BATCH_BYTES;
        let wanted = if self.scope.is_all() {
            let ahead = if has_room { self.prefetch.ahead(self.pool.slots(now)) } else { 0 };
            self.isolated_backlog.want((capacity + ahead).saturating_sub(self.waiting_for_plan()))
        } else {
            capacity
        };
        self.scope.limit(wanted)
    }

    /// Number of held jobs that wait for a slot of the plan. Jobs that need a worker beside the plan take no slot from others.
    fn waiting_for_plan(&self) -> usize {
        let suspects = if self.pool.runs_are_alone() { self.held_jobs.ready_alone() } else { 0 };
        self.held_jobs.ready() + suspects + self.held_jobs.awaiting_key()
    }

    /// When to count the waiting jobs although none can be leased: an elastic pool is sized by them.
    fn count_at(&self, now: Instant) -> Option<Instant> {
        let is_open = self.turns.expects_work() && !self.takes_no_jobs() && self.shutdown.is_none();
        let is_due = is_open && self.pool.is_elastic() && self.want(now) == 0;
        is_due.then(|| self.turns.count_at(self.pool.flex_interval(), now))
    }

    /// Tells the pool how much work is ahead. The jobs in the store are for other masters while this one is quiet.
    pub(super) fn update_demand(&mut self, now: Instant) {
        let in_store = if self.takes_no_jobs() { 0 } else { self.turns.waiting() };
        let ready = self.held_jobs.all_ready();
        self.pool.set_demand(Demand { waiting: in_store + ready as u64, job: self.prefetch.run_time() }, now);
    }

    /// The store's clock; the epoch before the first turn.
    pub(super) fn store_time(&self, now: Instant) -> Timestamp {
        self.store_calls.store_time(now).unwrap_or(Timestamp(0))
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        // Receivers of replies may have stopped waiting.
        match command {
            Command::Stop { force } => self.stop(force, now),
            Command::Scale(order, reply) => drop(reply.send(self.pool.scale(order, now))),
            Command::Cancel(id, reply) => self.cancel(id, false, reply, now),
            Command::Kill(id, reply) => self.cancel(id, true, reply, now),
            Command::EndWorker { pid, kill, reply } => drop(reply.send(self.end_worker(pid, kill, now))),
            Command::Quiet(reply) => drop(reply.send(self.quiet(now))),
            Command::Resume(reply) => drop(reply.send(self.resume())),
            Command::Reload(spec, reply) => self.start_reload(*spec, reply, now),
            Command::Status(reply) => drop(reply.send(self.status(now))),
            Command::Details(id, reply) => drop(reply.send(self.details(id, now))),
            Command::Runs(reply) => drop(reply.send(self.pool.running(now))),
            Command::Output(id, reply) => drop(reply.send(self.output(id, now))),
            Command::DoneRuns(before, limit, reply) => drop(reply.send(self.done_runs.page(before, limit))),
            Command::HoldBack(until) => self.hold_back(until, now),
            Command::Heartbeat(reply) => drop(reply.send(self.heartbeat(now))),
        }
    }

    fn start_reload(&mut self, ReloadSpec { pool, settings }: ReloadSpec, reply: ReloadReply, now: Instant) {
        if self.reload.is_some() {
            let _ = reply.send(Err(RolloutError::Failed("another reload is under way".to_owned())));
            return;
        }
        self.reload = Some((settings, reply));
        self.pool.reload(pool, now);
        self.end_reload();
    }

    /// Ends a reload whose rollout has ended: the new settings follow the new workers.
    fn end_reload(&mut self) {
        let Some(result) = self.pool.take_rollout_result() else { return };
        let Some((settings, reply)) = self.reload.take() else { return };
        if result.is_ok() {
            self.settings = settings;
        }
        let _ = reply.send(result);
    }

    fn quiet(&mut self, now: Instant) -> QuietReply {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let (running, handed_back) = (self.held_jobs.running(), self.held_jobs.waiting_for_slot());
        if !was_quiet {
            info!(channel = %self.name, running, handed_back, "quiet: taking no more jobs");
            self.return_ready();
            self.update_demand(now);
        }
        QuietReply { was_quiet, running, handed_back }
    }

    /// Whether this master leases no jobs of the channel for now.
    pub(super) fn takes_no_jobs(&self) -> bool {
        self.is_quiet || self.held_back_until.is_some()
    }

    fn hold_back(&mut self, until: Option<Instant>, now: Instant) {
        self.held_back_until = until;
        if until.is_some() {
            self.return_ready();
            self.update_demand(now);
        } else {
            // The store may have announced work while nothing listened.
            self.turns.wake();
        }
    }

    fn resume(&mut self) -> bool {
        let was_quiet = std::mem::take(&mut self.is_quiet);
        if was_quiet {
            info!(channel = %self.name, "no longer quiet: taking jobs again");
            // The store may have announced work while nothing listened.
            self.turns.wake();
        }
        was_quiet
    }

    /// Ends a held job: asks its run to end, or kills its worker. A job whose run has ended is left as it is: the store records its
    /// end, and the reply says how.
    fn cancel(&mut self, id: JobId, kill: bool, reply: oneshot::Sender<HeldCancel>, now: Instant) {
        if !self.held_jobs.holds(id) {
            let _ = reply.send(HeldCancel::NotHeld);
            return;
        }
        self.cancellations.add(id, reply, now);
        if let Some(meta) = self.held_jobs.take_one_ready(id) {
            info!(channel = %self.name, job = id.0, name = %meta.job, "job cancelled before it started");
            self.cancellations.ended(id, CancelMethod::NotBegun, now);
            let unique = meta.unique.clone();
            let to = Policy::cancel(meta, self.store_time(now));
            self.held_jobs.settle(Settlement { id, unique, to, output: OutputChange::Keep });
        } else if let Some(run) = self.held_jobs.run(id).filter(|_| kill) {
            info!(channel = %self.name, job = id.0, "job cancelled: killing its worker");
            self.pool.kill_run(run, now);
        } else if let Some(run) = self.held_jobs.run(id) {
            info!(channel = %self.name, job = id.0, "job cancelled: asking its run to end");
            self.pool.cancel(run, now);
        }
    }

    fn end_worker(&mut self, pid: i32, kill: bool, now: Instant) -> bool {
        let is_found = self.pool.end_worker(pid, kill, now);
        if is_found {
            info!(channel = %self.name, pid, kill, "worker ended by an operator");
        }
        is_found
    }

    pub(super) fn stop(&mut self, force: bool, now: Instant) {
        if self.shutdown.is_none() {
            info!(channel = %self.name, running = self.held_jobs.running(), "stopping");
            self.shutdown = Some(Shutdown::new(self.settings.stop_wait, now));
            self.return_ready();
            self.pool.close(now);
            self.end_reload();
        }
        if force {
            self.shutdown.iter_mut().for_each(Shutdown::force);
            self.pool.kill_all(false, now);
        }
    }

    fn interrupt_when_due(&mut self, now: Instant) {
        if self.shutdown.as_mut().is_some_and(|shutdown| shutdown.interrupts_now(now))
            && !self.pool.is_empty()
        {
            let running = self.held_jobs.running();
            warn!(channel = %self.name, running, "stop wait over: interrupting running jobs");
            self.pool.interrupt(now);
        }
    }

    /// The end of the channel, once it is reached.
    fn stopped(&mut self, now: Instant) -> Option<Stopped> {
        let shutdown = self.shutdown.as_mut()?;
        if !self.pool.is_empty() {
            return None;
        }
        let gives_up = shutdown.gives_up(now);
        let jobs_settled = self.held_jobs.len() == 0;
        // A dead owner whose jobs are not returned must stay recorded where the next master finds it.
        let settled = self.store_calls.owner().is_none() && jobs_settled && !self.turns.has_dead_owners();
        if !settled && !gives_up {
            return None;
        }
        if !settled {
            let unsettled = self.held_jobs.len();
            warn!(channel = %self.name, unsettled, "stopped without the store: the leases expire by themselves");
        }
        let (job, outcome) = self.scope.ended_run().unzip();
        Some(Stopped {
            handed_back: shutdown.returned,
            interrupted: shutdown.interrupted,
            settled,
            jobs_settled,
            quiet: self.is_quiet,
            manual_minimum: self.pool.manual_minimum(),
            outcome,
            job,
        })
    }
}
