//! Runs: from a leased job to a slot, and from the end of a run to a settlement.

use std::time::Instant;

use tracing::{debug, info};

use super::{Channel, Scope, prefetch};
use crate::job::{FailReason, JobId, JobMeta, JobOptions, Outcome};
use crate::pool::{EndedRun, Run};
use crate::retry::{Policy, RunTerms, StartDecision};
use crate::store::{Destination, Settlement};
use crate::wire::RunId;

impl Channel {
    /// Hands ready jobs to free slots.
    pub(super) fn dispatch(&mut self) {
        if self.stopping.is_some() || self.store_calls.lease_may_be_lost() {
            return;
        }
        // Asked again each time: large payloads may fill a worker's socket before its slots.
        while self.held_jobs.ready() > 0 && self.pool.capacity(tokio::time::Instant::now()) > 0 {
            self.dispatch_next(false);
        }
        while self.held_jobs.ready_alone() > 0 && self.pool.can_dispatch_alone(tokio::time::Instant::now()) {
            self.dispatch_next(true);
        }
    }

    fn dispatch_next(&mut self, alone: bool) {
        let run = self.next_run;
        let now = self.now();
        let Some((id, meta, payload)) = self.held_jobs.next_ready(alone, run) else { return };
        let options = self.pool.job_options(&meta.job);
        let terms = match self.settings.policy.begin(id, meta, options, self.settings.max_execute, now) {
            StartDecision::Run(terms) => terms,
            StartDecision::Expired => return self.expire(id, run, options),
            StartDecision::NoCallback => return self.end_run(id, run, Outcome::Done, options),
        };
        let RunTerms { attempt, max_attempts, timeout, failure } = terms;
        self.next_run += 1;
        self.last_dispatch = Instant::now();
        let delivery = Run {
            run,
            id,
            job: meta.job.clone(),
            attempt,
            max_attempts,
            timeout,
            headers: meta.headers.clone(),
            failure,
            payload,
        };
        if alone {
            self.pool.dispatch_alone(delivery, tokio::time::Instant::now());
        } else {
            self.pool.dispatch(delivery, tokio::time::Instant::now());
        }
    }

    /// Hands back what was leased ahead when the slots stay busy after all.
    pub(super) fn return_stale_prefetch(&mut self) {
        if self.held_jobs.ready() > 0 && self.last_dispatch.elapsed() >= prefetch::PREFETCH_MAX_WAIT {
            debug!(channel = %self.name, jobs = self.held_jobs.ready(), "handing back jobs that no slot is free for");
            // What runs has already taken this long, which ends the leasing ahead until it is shorter again.
            self.prefetch.blocked();
            self.hand_back_ready();
            self.last_dispatch = Instant::now();
        }
    }

    /// Decides what each ending means.
    pub(super) fn on_ended(&mut self, ended: Vec<EndedRun>) {
        for EndedRun { run, id, outcome, took } in ended {
            self.metrics.run_ended(outcome.word(), took);
            self.prefetch.ended(&outcome, took);
            self.job_requests.end(run, &outcome);
            let options =
                self.held_jobs.meta(id).map(|meta| self.pool.job_options(&meta.job)).unwrap_or_default();
            self.end_run(id, run, outcome, options);
        }
    }

    /// Settles a run that has ended; `options` are what the job's handler wants.
    fn end_run(&mut self, id: JobId, run: RunId, outcome: Outcome, options: JobOptions) {
        let Some(meta) = self.held_jobs.end(id, run) else {
            debug!(channel = %self.name, job = id.0, "a run ended after its lease was lost: its result is dropped");
            return;
        };
        self.cancellations.ended(id, &outcome);
        if outcome != Outcome::Done {
            self.count_handed_back(&outcome);
        }
        let callback = meta.failing.is_some();
        if self.scope.scope != Scope::All && !callback {
            (self.scope.job, self.scope.outcome) = (Some(id), Some(outcome.clone()));
        }
        let (unique, now) = (meta.unique.clone(), self.now());
        let before = (meta.job.clone(), meta.attempts);
        let to = self.settings.policy.end(meta, outcome.clone(), options, now, fastrand::f64());
        if outcome != Outcome::Done {
            log_ending(&self.name, id, before, &outcome, &to);
        }
        self.settle(id, unique, to, callback);
    }

    /// A job that was not started in time.
    fn expire(&mut self, id: JobId, run: RunId, options: JobOptions) {
        let Some(meta) = self.held_jobs.end(id, run) else { return };
        info!(channel = %self.name, job = id.0, name = %meta.job, "a job has expired");
        let unique = meta.unique.clone();
        let to = Policy::expire(meta, options, self.now());
        self.settle(id, unique, to, false);
    }

    /// Tells the store where a job goes after a run of it, or of its failed callback.
    fn settle(&mut self, id: JobId, unique: Option<String>, to: Destination, callback: bool) {
        if self.scope.scope != Scope::All
            && !callback
            && matches!(&to, Destination::Front(meta) if meta.failing.is_some())
        {
            // Whoever was to run this one job, or the next one, which was this, also runs its callback.
            (self.scope.scope, self.scope.asked) = (Scope::Only(id), false);
        }
        self.held_jobs.settle(Settlement { id, unique, to });
    }
}

fn log_ending(
    channel: &str,
    id: JobId,
    (name, attempts): (String, u32),
    outcome: &Outcome,
    to: &Destination,
) {
    let (job, attempt, next) = (id.0, attempts.saturating_add(1), next(to));
    match outcome {
        Outcome::Failed { error, .. } => info!(%channel, job, %name, attempt, error, next, "a job failed"),
        Outcome::TimedOut { limit } => info!(%channel, job, %name, attempt, ?limit, next, "a job timed out"),
        Outcome::Cancelled { killed } => {
            info!(%channel, job, %name, attempt, killed, next, "a job was cancelled")
        }
        // As a field, which is quoted: it ends with what the program wrote, in as many lines as that had.
        Outcome::Crashed { how } => {
            info!(%channel, job, %name, attempt, error = how, next, "a job's worker died")
        }
        other => debug!(%channel, job, %name, attempt, "a job was {}", other.word()),
    }
}

/// What follows, so that a line of the log tells a job that is tried again from one that has failed for good.
fn next(to: &Destination) -> String {
    match to {
        Destination::Done => "done".to_owned(),
        Destination::Front(JobMeta { failing: Some(reason), .. }) => {
            format!("failed callback, then failed: {}", reason.as_str())
        }
        Destination::Front(_) | Destination::Back(_) => "waiting".to_owned(),
        Destination::Delayed(wait, _) => format!("again in {:.1}s", wait.as_secs_f64()),
        Destination::Failed(meta) => format!("failed: {}", meta.failed.map_or("", FailReason::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn log_line_states_the_consequence() {
        let meta = || JobMeta::named("x");
        assert_eq!(next(&Destination::Delayed(Duration::from_millis(1240), meta())), "again in 1.2s");
        let failed = JobMeta { failed: Some(FailReason::Exhausted), ..meta() };
        assert_eq!(next(&Destination::Failed(failed)), "failed: exhausted");
        let failing = JobMeta { failing: Some(FailReason::Timeout), ..meta() };
        assert_eq!(next(&Destination::Front(failing)), "failed callback, then failed: timeout");
    }
}
