//! Results of calls to the store, and the changes that follow from them.

use std::collections::HashSet;

use aint_queue_core::otel::TurnFacts;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::actor::Channel;
use super::held_jobs::Reconciliation;
use super::isolated_backlog::MAX_WAITING_ISOLATED;
use super::store_calls::{CallReply, CallResult, FailedCall, TurnRequest};
use crate::job::{Isolation, JobId, JobMeta, JobRecord, error_chain};
use crate::retry::release_before_start;
use crate::store::{
    ClockStep, Destination, KeyRelease, Leased, OutputChange, SettleConflict, Settlement, StoreError,
    TurnReply,
};

/// Most jobs that one log line names.
const MAX_LISTED_JOBS: usize = 10;

impl Channel {
    /// Takes the result of a call that began at `began`.
    pub(super) fn on_call_result(&mut self, result: CallResult, began: Instant, now: Instant) {
        let reply = match result {
            Ok(reply) => reply,
            Err(FailedCall { error, request }) => {
                self.held_jobs.reply_lost(request.settlements);
                self.job_requests.release(request.releases);
                return self.on_error(&error, now);
            }
        };
        if self.store_calls.health.succeeded(now) {
            info!(channel = %self.name, "store available again");
        }
        let call = if matches!(reply, CallReply::Turned(..)) { "turn" } else { "other" };
        self.metrics.store_call(call, now.saturating_duration_since(began));
        match reply {
            CallReply::OwnerReaped(owner, jobs) => {
                self.turns.owner_reaped(&owner);
                self.metrics.reaped(jobs);
                if jobs > 0 {
                    info!(channel = %self.name, jobs, "previous master is dead: returned its jobs to waiting");
                }
            }
            CallReply::Joined(owner) => {
                self.store_calls.joined(owner, began);
                self.turns.reset();
                self.publication.reset();
            }
            CallReply::Turned(request, reply) => {
                self.store_calls.renewed(began);
                let took = now.saturating_duration_since(began);
                self.prefetch.turned(took);
                let (settled, leased) = (request.settlements.len(), reply.leased.len());
                if leased > 0 {
                    self.work_wait.found_jobs();
                }
                self.run_traces.turned(&self.name, TurnFacts { settled, leased, took });
                self.on_turn(&request, reply, began, now);
                self.update_demand(now);
                self.end_scope(now);
            }
            CallReply::Held(ids) => self.on_held(&ids.into_iter().collect(), now),
            CallReply::Fetched(leased) => {
                self.turns.fetched();
                self.on_leased(leased, now);
                self.update_demand(now);
            }
            CallReply::Taken(leased) => {
                self.store_calls.renewed(began);
                self.scope.asked();
                self.on_leased(leased.into_iter().map(|leased| *leased).collect(), now);
                self.update_demand(now);
                self.end_scope(now);
            }
            CallReply::ExpiredReaped(jobs) => {
                self.store_calls.expired_reaped(now);
                self.metrics.reaped(jobs);
                if jobs > 0 {
                    warn!(channel = %self.name, jobs, "leases of other masters expired: returned their jobs to waiting");
                    self.turns.expect_work();
                }
            }
            CallReply::Left => self.store_calls.left(),
        }
    }

    fn on_turn(&mut self, request: &TurnRequest, reply: TurnReply, began: Instant, now: Instant) {
        match self.store_calls.clock.observe(reply.now, began, now) {
            Some(ClockStep::Back(step)) => {
                let seconds = step.as_secs_f64();
                warn!(channel = %self.name, seconds, "store clock was set back: jobs, pauses and keys that wait for a time may be late by this");
            }
            Some(ClockStep::Forward(step)) => {
                let seconds = step.as_secs_f64();
                info!(channel = %self.name, seconds, "store clock went forward: it was set, or this machine was suspended");
            }
            None => {}
        }
        for release in &request.releases {
            if let KeyRelease::Unique { id, .. } = release {
                self.held_jobs.key_released(*id);
            }
        }
        for (id, conflict) in &reply.conflicts {
            let reason = match conflict {
                SettleConflict::Stale => "stale",
                SettleConflict::Cleared => "cleared",
            };
            debug!(channel = %self.name, job = id.0, reason, "settlement refused: the job is not held any more");
            self.metrics.exception(reason);
        }
        warn_of_cleared_jobs(&self.name, &reply.conflicts);
        self.held_jobs.settled(&request.settlements);
        self.cancellations.settled(&request.settlements, &reply.conflicts);
        self.turns.turned(request.want, &reply, now);
        if request.want > 0 {
            self.scope.asked();
        }
        if request.overdue.is_some() {
            self.priority_wait.turned(&reply.leased, reply.lower_waiting, now);
        }
        self.on_leased(reply.leased, now);
        self.turns.compare_counts(reply.held, self.held_jobs.len(), now);
    }

    /// Adds leased jobs; settles records that cannot be parsed to failed.
    fn on_leased(&mut self, leased: Vec<Leased>, now: Instant) {
        self.metrics.leased(leased.len());
        let store_time = self.store_time(now);
        if !leased.is_empty() {
            // Also a job that was leased in a lost reply is the job of the scope.
            self.scope.asked();
        }
        let mut put_off = 0_usize;
        for job in leased {
            match job {
                Leased::Job(record) if !self.has_place(record.meta.isolation()) => {
                    put_off += 1;
                    self.put_off(record, now);
                }
                Leased::Job(record) => {
                    let release = release_before_start(record.id, &record.meta);
                    self.held_jobs.lease(record, release.is_some());
                    self.job_requests.release(release);
                }
                Leased::Malformed { id, why } => {
                    error!(channel = %self.name, job = id.0, why, "malformed record: moving the job to failed");
                    let to = Destination::Failed(JobMeta::malformed(store_time, &why));
                    self.held_jobs.settle(Settlement { id, unique: None, to, output: OutputChange::Keep });
                }
            }
        }
        self.isolated_backlog.leased(put_off);
        if put_off > 0 {
            debug!(channel = %self.name, jobs = put_off, "jobs need workers of their own, which are busy: delaying the jobs");
        }
        if self.shutdown.is_some() || self.takes_no_jobs() {
            // The call was under way when the command arrived.
            self.return_ready();
        }
    }

    /// Whether the channel may hold another job of this isolation. Jobs that need a worker of their own come in great numbers,
    /// when a worker or a guardian dies with many runs, and run a few at a time.
    fn has_place(&self, isolation: Isolation) -> bool {
        let shares_plan = match isolation {
            Isolation::None => true,
            Isolation::Worker => self.pool.runs_are_alone(),
            Isolation::Master => false,
        };
        let returns_all = self.shutdown.is_some() || self.takes_no_jobs();
        shares_plan || returns_all || self.held_jobs.waiting_with(isolation) < MAX_WAITING_ISOLATED
    }

    /// Gives a job back until a worker of its own may be free, uncounted: at the front of waiting it would keep others from free slots.
    fn put_off(&mut self, record: JobRecord, now: Instant) {
        let JobRecord { id, meta, .. } = record;
        let delay = self.isolated_backlog.delay(now, fastrand::f64());
        let unique = meta.unique.clone();
        let to = Destination::Delayed(delay, meta);
        self.held_jobs.settle(Settlement { id, unique, to, output: OutputChange::Keep });
    }

    /// Brings the held jobs in line with those that the store lists.
    fn on_held(&mut self, ids: &HashSet<JobId>, now: Instant) {
        let Reconciliation { confirmed, revoked, unfetched } = self.held_jobs.reconcile(ids);
        self.cancellations.settled(&confirmed, &[]);
        if !revoked.is_empty() {
            warn!(channel = %self.name, runs = revoked.len(), "jobs cleared or lost: cancelling their runs");
        }
        for run in revoked {
            self.pool.cancel(run, now);
        }
        self.cancellations.retain(|id| ids.contains(&id));
        self.turns.reconciled(unfetched);
    }

    fn on_error(&mut self, error: &StoreError, now: Instant) {
        self.metrics.store_error(error);
        if let StoreError::Lost = error {
            return self.on_lease_lost(now);
        }
        if self.store_calls.owner().is_some() {
            // The store may have acted on the call: the held jobs are compared before anything else.
            self.turns.reconcile();
        }
        let error = error_chain(error);
        if self.store_calls.health.failed(error.clone(), now) {
            warn!(channel = %self.name, error, "store unavailable: retrying");
        }
    }

    /// Gives up all jobs: other owners hold them now, and results of runs here must not count.
    fn on_lease_lost(&mut self, now: Instant) {
        let jobs = self.held_jobs.len();
        warn!(channel = %self.name, jobs, "lease lost: killing running jobs, joining as a new owner");
        self.pool.kill_all(true, now);
        self.held_jobs.clear();
        self.job_requests.lease_lost(now);
        self.run_traces.clear();
        self.cancellations.retain(|_| false);
        self.store_calls.left();
        self.turns.reset();
    }

    /// Stops a channel whose scope is done: its job has ended or did not exist.
    fn end_scope(&mut self, now: Instant) {
        if self.scope.is_done(self.held_jobs.len()) {
            self.stop(false, now);
        }
    }
}

/// Warns of jobs that were cleared while they ran: the log may have called them done.
fn warn_of_cleared_jobs(channel: &str, conflicts: &[(JobId, SettleConflict)]) {
    let is_cleared = |(_, conflict): &&(JobId, SettleConflict)| *conflict == SettleConflict::Cleared;
    let cleared: Vec<_> = conflicts.iter().filter(is_cleared).map(|(id, _)| id.to_string()).collect();
    if cleared.is_empty() {
        return;
    }
    let jobs = cleared[..cleared.len().min(MAX_LISTED_JOBS)].join(", ");
    warn!(%channel, number = cleared.len(), %jobs, "jobs cleared while they ran: the end of their runs is not recorded");
}
