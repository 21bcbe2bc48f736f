//! Frames and hang-ups of workers, and their effect on the pool.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::job::{JobId, Response, truncated};
use crate::pool::job_requests::{ReplyTo, RequestKind, RunRequest};
use crate::pool::messages::{ReceivedFrame, RequestMemory};
use crate::pool::runs::ActiveRun;
use crate::pool::workers::state::{Hello, WorkerState};
use crate::wire::{self, FromMaster, FromWorker, ReadFrame, RequestId, RunId, WireError};

/// Protocol violations after which a worker is killed.
const MAX_VIOLATIONS: u32 = 10;
/// Longest text of an error in an answer, in bytes.
const MAX_ERROR_ANSWER: usize = 512;
/// Longest time between the end of a worker's socket and its exit.
const HANGUP_GRACE: Duration = Duration::from_secs(1);

impl Pool {
    /// Takes a frame as far as it can be read, with the memory of a request.
    pub(in crate::engine::pool) fn on_received(
        &mut self,
        child: ChildId,
        received: ReceivedFrame,
        now: Instant,
    ) {
        let memory = received.memory.unwrap_or_default();
        match received.frame {
            ReadFrame::Whole(frame) => self.on_frame(child, frame, memory, now),
            ReadFrame::Damaged(frame, why) => {
                self.warn_of_damage(child, &why, now);
                self.on_frame(child, frame, memory, now);
            }
            ReadFrame::Refused { run, ask, why } => {
                self.warn_of_damage(child, &why, now);
                if self.check_request(child, run, now).is_some()
                    && let Some(worker) = self.workers.get_mut(child)
                {
                    worker.open_request();
                    let reply = ReplyTo { child, request: ask, memory: memory.answer };
                    self.respond(reply, Response::Error(why));
                }
            }
            ReadFrame::Dropped(why) => self.warn_of_damage(child, &why, now),
        }
    }

    fn warn_of_damage(&mut self, child: ChildId, why: &str, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        worker.damaged_frames = worker.damaged_frames.saturating_add(1);
        worker.log().damage(worker.damaged_frames, why, now);
    }

    /// A line that is no frame. A worker whose hello cannot be read never becomes ready, so it is not waited for.
    pub(super) fn on_unreadable_line(&mut self, child: ChildId, error: &WireError, now: Instant) {
        let is_booting = self.workers.get(child).is_some_and(|worker| worker.state.is_booting());
        if is_booting && matches!(error, WireError::UnreadableHello { .. }) {
            error!(channel = %self.generations.spec().channel, "worker unusable: {error}");
            self.discard(child, &error.to_string(), now);
        } else {
            self.on_violation(child, &error.to_string(), now);
        }
    }

    fn on_frame(&mut self, child: ChildId, frame: FromWorker, memory: RequestMemory, now: Instant) {
        match frame {
            FromWorker::Ended { run, outcome } => {
                if self.runs.of(child, run).is_some() {
                    self.on_outcome(child, run, outcome, now);
                } else {
                    // Late, repeated or made up. Run numbers are never reused, so no other run can end by it.
                    self.on_violation(child, &format!("it answered run {run}, which it does not have"), now);
                }
            }
            FromWorker::Hello { protocol, slots, jobs } => {
                if protocol == wire::PROTOCOL_VERSION {
                    self.on_hello(child, Hello { slots, jobs }, now);
                } else {
                    self.on_other_protocol(child, protocol, now);
                }
            }
            FromWorker::Progress { run, percent } => {
                if let Some(id) = self.runs.set_progress(child, run, percent) {
                    debug!(channel = %self.generations.spec().channel, job = id.0, percent, "progress");
                }
            }
            FromWorker::Log { run, level, message } => {
                if let Some(worker) = self.workers.get(child) {
                    let of_run = run.and_then(|run| self.runs.of(child, run)).map(ActiveRun::tag);
                    worker.log().frame(of_run.as_ref(), &level, &message);
                }
            }
            FromWorker::Push { run, ask, channel, jobs } => {
                self.on_request(child, (run, ask), RequestKind::Push { channel, jobs }, memory, now);
            }
            FromWorker::Claim { run, ask, claim } => {
                self.on_request(child, (run, ask), RequestKind::Claim(claim), memory, now);
            }
        }
    }

    /// The worker's end of the socket is closed. Usually the process is ending, and its exit status follows; a worker that
    /// lives on without its socket is of no use.
    pub(super) fn on_hangup(&mut self, child: ChildId, now: Instant) {
        if let Some(worker) = self.workers.get_mut(child).filter(|worker| worker.state.is_staying()) {
            worker.hangup_deadline = Some(now + HANGUP_GRACE);
        }
    }

    fn on_other_protocol(&mut self, child: ChildId, protocol: u32, now: Instant) {
        let why = format!(
            "it speaks protocol {protocol}, this master speaks {}: restart the master, or update the worker",
            wire::PROTOCOL_VERSION
        );
        error!(channel = %self.generations.spec().channel, "worker unusable: {why}");
        self.discard(child, &why, now);
    }

    pub(super) fn on_hello(&mut self, child: ChildId, hello: Hello, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        let (has_pid, generation) = (worker.pid().is_some(), worker.origin.generation);
        let WorkerState::Booting { early_hello, .. } = &mut worker.state else {
            return self.on_violation(child, "it sent a second hello", now);
        };
        if !has_pid {
            // The guardian's report is on its way. Without the process id, memory limits and logs know nothing of it.
            *early_hello = Some(hello);
            return;
        }
        if !self.fits_at_hello(child, now) {
            return;
        }
        let Some(worker) = self.workers.get(child) else { return };
        let planned = if worker.origin.role.is_beside_plan() {
            1
        } else {
            self.generations.spec_of(generation).plan.slots
        };
        let (slots, jobs) = (hello.slots.clamp(1, planned), hello.jobs.len());
        self.backoff.ready(worker.origin.started_at, now);
        debug!(channel = %self.generations.spec().channel, pid = worker.pid(), slots, jobs, "worker ready");
        for run in worker.runs() {
            self.runs.begin(*run);
            self.runs.start_clock(*run, now);
        }
        self.workers.set_ready(child, slots, now);
        self.sampler.activity(now);
        self.generations.set_handlers(generation, hello.jobs);
        self.promote_canary(child, now);
        // A worker that is being replaced stops at once: no more workers serve than there may be.
        self.reconcile(now);
    }

    fn on_request(
        &mut self,
        child: ChildId,
        (run, number): (RunId, RequestId),
        request: RequestKind,
        memory: RequestMemory,
        now: Instant,
    ) {
        let Some(id) = self.check_request(child, run, now) else { return };
        let Some(worker) = self.workers.get_mut(child) else { return };
        let RequestMemory { jobs: memory, answer } = memory;
        let reply = ReplyTo { child, request: number, memory: answer };
        let (open, slots) = (worker.open_request(), worker.slots);
        if open > wire::MAX_OPEN_REQUESTS * slots {
            let why = format!("this worker has {} requests open; wait for their responses", open - 1);
            return self.respond(reply, Response::Error(why));
        }
        self.requests.push(RunRequest { run, id, reply, request, memory });
    }

    /// The job of a run that may make a request now. Anything else is a violation.
    fn check_request(&mut self, child: ChildId, run: RunId, now: Instant) -> Option<JobId> {
        let Some(id) = self.runs.of(child, run).map(|run| run.id) else {
            let what = format!("it sent a request for run {run}, which it does not have");
            self.on_violation(child, &what, now);
            return None;
        };
        Some(id)
    }

    /// The requests since the last call.
    pub fn take_requests(&mut self) -> Vec<RunRequest> {
        std::mem::take(&mut self.requests)
    }

    /// Answers a request. The worker may have ended.
    pub fn respond(&mut self, to: ReplyTo, response: Response) {
        let ReplyTo { child, request, memory } = to;
        let Some(worker) = self.workers.get_mut(child) else { return };
        worker.close_request();
        if worker.end().is_some() {
            // Nothing reads it.
            return;
        }
        let answer = match response {
            Response::Error(why) => Response::Error(truncated(&why, MAX_ERROR_ANSWER).to_owned()),
            other => other,
        };
        worker.keep_until_read(memory);
        self.workers.send(child, &FromMaster::Answer { ask: request, answer });
    }

    /// The worker keeps memory from others for too long.
    pub(super) fn on_stalled(&mut self, child: ChildId, why: &str, now: Instant) {
        let Some(worker) = self.workers.get(child).filter(|worker| !worker.state.is_dying()) else { return };
        let channel = &self.generations.spec().channel;
        warn!(%channel, pid = worker.pid(), "worker broke the protocol: {why}");
        self.discard(child, &format!("it broke the worker protocol: {why}"), now);
    }

    pub(super) fn on_violation(&mut self, child: ChildId, what: &str, now: Instant) {
        let Some(worker) = self.workers.get_mut(child) else { return };
        worker.violations += 1;
        if worker.violations == 1 && !worker.state.is_dying() {
            let channel = &self.generations.spec().channel;
            warn!(%channel, pid = worker.pid(), "worker broke the protocol: {what}");
        }
        if worker.violations >= MAX_VIOLATIONS {
            self.discard(child, &format!("it broke the worker protocol: {what}"), now);
        }
    }
}
