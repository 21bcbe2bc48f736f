//! Runs: from a leased job to a slot, and from the end of a run to a settlement.

use std::time::Duration;

use aint_queue_core::durations::millis;
use aint_queue_core::otel::RunFacts;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, info};

use super::actor::Channel;
use super::done_runs::DoneRun;
use super::held_jobs::StartedRun;
use super::job_lines::JobLine;
use super::kept_runs::KeptRun;
use crate::config::JobLogLevel;
use crate::job::{FailReason, Isolation, JobId, JobMeta, JobOptions, Outcome, Timestamp, TraceId};
use crate::pool::{EndedRun, Run, RunOutput, RunProcess};
use crate::retry::{Policy, RunTerms, SettlementFacts, StartDecision};
use crate::store::{Destination, KeptJob, OutputChange, Settlement};
use crate::wire::RunId;

/// Time after its push within which a run belongs to the trace of the push.
const SOON: Duration = Duration::from_secs(3_600);

impl Channel {
    /// Moves ready jobs into free slots.
    pub(super) fn dispatch(&mut self, now: Instant) {
        if self.shutdown.is_some() || self.store_calls.lease_may_be_lost(now) {
            return self.pool.yield_exclusive_turn();
        }
        // A few jobs at most need a worker of their own at a time. In a pool of programs they share the places with all others,
        // and a backlog of those would leave them none.
        while self.held_jobs.ready_exclusive() > 0 && self.pool.can_dispatch_exclusive(now) {
            self.dispatch_next(Isolation::Master, now);
        }
        if self.held_jobs.ready_exclusive() == 0 {
            self.pool.yield_exclusive_turn();
        }
        while self.held_jobs.ready_alone() > 0 && self.pool.can_dispatch_alone(now) {
            self.dispatch_next(Isolation::Worker, now);
        }
        // The capacity changes with each job: large payloads may fill the socket of a worker before its slots.
        while self.held_jobs.ready() > 0 && self.pool.capacity(now) > 0 {
            self.dispatch_next(Isolation::None, now);
        }
    }

    fn dispatch_next(&mut self, isolation: Isolation, now: Instant) {
        let store_time = self.store_time(now);
        let Some(StartedRun { run, id, meta, payload }) = self.held_jobs.start_next(isolation) else {
            return;
        };
        let options = self.pool.job_options(&meta.job);
        let terms = match self.settings.policy.begin(id, meta, options, self.settings.max_execute, store_time)
        {
            StartDecision::Run(terms) => terms,
            StartDecision::Expired => return self.expire(id, run, options, now),
            StartDecision::NoCallback => return self.end_run(id, run, Outcome::Done, options, None, now),
        };
        let RunTerms { attempt, max_attempts, timeout, failure } = terms;
        self.prefetch.dispatched(now);
        let headers = self.run_traces.begin(
            run,
            &RunFacts {
                channel: &self.name,
                id,
                job: &meta.job,
                attempt,
                max_attempts,
                is_soon: store_time.since(meta.pushed_at(id)) < SOON,
                headers: &meta.headers,
            },
        );
        let run =
            Run { run, id, job: meta.job.clone(), attempt, max_attempts, timeout, headers, failure, payload };
        match isolation {
            Isolation::None => self.pool.dispatch(run, now),
            Isolation::Worker => self.pool.dispatch_alone(run, now),
            Isolation::Master => self.pool.dispatch_exclusive(run, now),
        }
    }

    /// Counts the runs that have begun. A start that the system refuses is no run, however often it is tried.
    pub(super) fn on_begun(&mut self, now: Instant) {
        let store_time = self.store_time(now);
        for id in self.pool.take_begun() {
            let (Some(meta), Some(run)) = (self.held_jobs.meta(id), self.held_jobs.run(id)) else { continue };
            self.metrics.dispatched(store_time.since(meta.ready_at(id)));
            if self.settings.job_log.level != JobLogLevel::Off {
                let trace_id = self.run_traces.trace_id(run).map(display);
                let attempt = meta.attempts.saturating_add(1);
                debug!(channel = %self.name, job = id.0, name = %meta.job, attempt, trace_id, "job started");
            }
        }
    }

    /// Settles the jobs of runs that have ended.
    pub(super) fn on_ended(&mut self, ended: Vec<EndedRun>, now: Instant) {
        for EndedRun { run, id, outcome, has_begun, took, process, output } in ended {
            let was_run = has_begun || outcome != Outcome::Interrupted;
            self.prefetch.ended(&outcome, took);
            self.job_requests.run_ended(run, &outcome, now);
            let meta = self.held_jobs.meta(id);
            if was_run {
                self.metrics.run_ended(meta.map_or("", |meta| &meta.job), outcome.word(), took);
            }
            let options = meta.map(|meta| self.pool.job_options(&meta.job)).unwrap_or_default();
            let trace_id = self.run_traces.end(run, &outcome, process.pid);
            let ran = was_run.then_some(RanProcess { took, process, output, trace_id });
            self.end_run(id, run, outcome, options, ran, now);
        }
    }

    /// Settles the job of one run; `options` are those of the handler. `ran` is absent when nothing has run.
    fn end_run(
        &mut self,
        id: JobId,
        run: RunId,
        outcome: Outcome,
        options: JobOptions,
        ran: Option<RanProcess>,
        now: Instant,
    ) {
        let Some(meta) = self.held_jobs.end(id, run) else {
            debug!(channel = %self.name, job = id.0, "run ended after its lease was lost: dropping the result");
            return;
        };
        self.cancellations.run_ended(id, &outcome, now);
        if let (Outcome::Interrupted | Outcome::Lost, Some(shutdown)) = (&outcome, &mut self.shutdown) {
            shutdown.returned += 1;
            shutdown.interrupted += usize::from(ran.is_some());
        }
        let is_callback = meta.failing.is_some();
        let may_have_output = !meta.errors.is_empty() || meta.suspect || meta.lost > 0;
        self.scope.ended(id, &outcome, is_callback);
        let unique = meta.unique.clone();
        let ended = EndedJob {
            id,
            name: meta.job.clone(),
            ready_at: meta.ready_at(id),
            attempt: meta.attempts.saturating_add(1),
            took_ms: ran.as_ref().map(|ran| millis(ran.took)),
            trace_id: ran.as_ref().and_then(|ran| ran.trace_id),
        };
        let store_time = self.store_time(now);
        let facts = SettlementFacts { id, options, now: store_time, chance: fastrand::f64() };
        let mut to = self.settings.policy.end(meta, outcome.clone(), facts);
        if let Some(process) = ran.as_ref().and_then(|ran| ran.process.stored(now, store_time))
            && let Some(meta) = to.meta_mut()
        {
            meta.describe_process(store_time, process);
        }
        if matches!(outcome, Outcome::Done | Outcome::Released { .. }) {
            if let Some(line) = self.job_lines.next(self.settings.job_log, now) {
                log_line(&self.name, &ended, outcome.word(), line);
            }
        } else {
            log_end(&self.name, &ended, &outcome, &to);
        }
        let mut output = OutputChange::Keep;
        match (ran, &to) {
            (Some(ran), Destination::Done) => {
                if may_have_output {
                    output = OutputChange::Drop;
                }
                let run = ended.done(&ran, store_time);
                if let Some(kept) = self.kept(&run, &ran.output) {
                    to = Destination::Kept(Box::new(kept));
                }
                self.done_runs.add(run, ran.output);
            }
            (Some(ran), _) if is_failure(&outcome) && !is_callback => {
                let kept = ran.output.kept(ended.attempt).filter(|_| self.settings.keep_output);
                output = match kept {
                    Some(kept) => OutputChange::Set(Box::new(kept)),
                    // The lines of an earlier attempt would pass for those of this one.
                    None if may_have_output => OutputChange::Drop,
                    None => OutputChange::Keep,
                };
            }
            _ => {}
        }
        self.settle(Settlement { id, unique, to, output }, is_callback);
    }

    /// The settlement that keeps a done run in the store, if this channel keeps such runs. Lines go with it only where the store
    /// may have those of a failed run.
    fn kept(&self, run: &DoneRun, output: &RunOutput) -> Option<KeptJob> {
        let limits = self.settings.keep_done?;
        let output = output.kept(run.attempt).filter(|_| self.settings.keep_output);
        KeptRun { run: run.clone(), output }.keep(limits)
    }

    /// Settles a job that was not started in time.
    fn expire(&mut self, id: JobId, run: RunId, options: JobOptions, now: Instant) {
        let Some(meta) = self.held_jobs.end(id, run) else { return };
        info!(channel = %self.name, job = id.0, name = %meta.job, "job expired: not started in time");
        let unique = meta.unique.clone();
        let to = Policy::expire(meta, options, self.store_time(now));
        self.settle(Settlement { id, unique, to, output: OutputChange::Keep }, false);
    }

    fn settle(&mut self, settlement: Settlement, is_callback: bool) {
        if let Destination::Failed(JobMeta { failed: Some(reason), .. }) = &settlement.to {
            self.metrics.job_failed(*reason);
        }
        self.scope.settles(settlement.id, &settlement.to, is_callback);
        self.held_jobs.settle(settlement);
    }

    /// Returns prefetched jobs when the slots stay busy longer than expected.
    pub(super) fn return_stale(&mut self, now: Instant) {
        if self.held_jobs.ready() > 0 && self.prefetch.return_at() <= now {
            let jobs = self.held_jobs.ready();
            debug!(channel = %self.name, jobs, "no slot became free: returning prefetched jobs");
            self.prefetch.returned(now);
            self.return_ready();
        }
    }

    /// Returns the jobs that wait for a slot to the front of waiting, in their order and uncounted.
    pub(super) fn return_ready(&mut self) {
        let ready = self.held_jobs.take_ready();
        if ready.is_empty() {
            return;
        }
        // None of these jobs starts now: each keeps its unique key, unless a turn has released it already.
        self.job_requests.keep_unique_keys(&ready.iter().map(|(id, _)| *id).collect());
        for (id, meta) in ready {
            let unique = meta.unique.clone();
            let to = Destination::Front(meta);
            self.held_jobs.settle(Settlement { id, unique, to, output: OutputChange::Keep });
            self.shutdown.iter_mut().for_each(|shutdown| shutdown.returned += 1);
        }
    }
}

/// The process of a run that has ended, and what the run printed.
struct RanProcess {
    took: Duration,
    process: RunProcess,
    output: RunOutput,
    trace_id: Option<TraceId>,
}

/// A job whose run has ended, for the log.
struct EndedJob {
    id: JobId,
    name: String,
    /// The time at which the job could run.
    ready_at: Timestamp,
    attempt: u32,
    took_ms: Option<u64>,
    trace_id: Option<TraceId>,
}

impl EndedJob {
    /// The run of a job that is done.
    fn done(self, ran: &RanProcess, at: Timestamp) -> DoneRun {
        DoneRun {
            id: self.id,
            job: self.name,
            attempt: self.attempt,
            at,
            wait_ms: Some(millis(at.since(self.ready_at).saturating_sub(ran.took))),
            took_ms: millis(ran.took),
            pid: ran.process.pid,
            rss_peak: ran.process.rss_peak,
            asked: ran.process.asked_at.is_some(),
        }
    }
}

/// Whether the last lines of a run with this outcome tell why it did not succeed.
fn is_failure(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Done | Outcome::Released { .. } | Outcome::Interrupted)
}

/// Logs a job that is done or released.
fn log_line(channel: &str, ended: &EndedJob, outcome: &str, line: JobLine) {
    let EndedJob { id: JobId(job), name, attempt, took_ms, trace_id, .. } = ended;
    let trace_id = trace_id.map(display);
    let unlisted = line.unlisted;
    if line.is_debug {
        debug!(%channel, job, %name, attempt, took_ms, trace_id, unlisted, "job {outcome}");
    } else {
        info!(%channel, job, %name, attempt, took_ms, trace_id, unlisted, "job {outcome}");
    }
}

/// Logs a job whose run has ended in another way.
fn log_end(channel: &str, ended: &EndedJob, outcome: &Outcome, to: &Destination) {
    let EndedJob { id: JobId(job), name, attempt, took_ms, trace_id, .. } = ended;
    let trace_id = trace_id.map(display);
    let next = next(to);
    match outcome {
        Outcome::Failed { error, .. } => {
            info!(%channel, job, %name, attempt, took_ms, trace_id, error, next, "job failed")
        }
        Outcome::TimedOut { limit, how } => {
            info!(%channel, job, %name, attempt, took_ms, trace_id, ?limit, how, next, "job timed out")
        }
        Outcome::Cancelled { killed } => {
            info!(%channel, job, %name, attempt, took_ms, trace_id, killed, next, "job cancelled")
        }
        // The error is a field because fields are quoted: it ends with lines that the program wrote.
        Outcome::Crashed { how } => {
            info!(%channel, job, %name, attempt, took_ms, trace_id, error = how, next, "job crashed: its worker died")
        }
        Outcome::Lost => {
            info!(%channel, job, %name, attempt, took_ms, trace_id, next, "job lost: the guardian of its worker died while it ran");
        }
        Outcome::Interrupted if took_ms.is_none() => debug!(%channel, job, %name, next, "job not started"),
        other => debug!(%channel, job, %name, attempt, took_ms, trace_id, "job {}", other.word()),
    }
}

/// The consequence of an outcome, for the log: a job that is retried reads differently from a job that has failed for good.
fn next(to: &Destination) -> String {
    match to {
        Destination::Done | Destination::Kept(_) => "done".to_owned(),
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
